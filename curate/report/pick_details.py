"""What the manifest of a `select` step says of its pick, in words and short tables.

settings(pick)      # 'budget 1,000, seed 1'
reasons(pick)       # (('not selected', 9000),)
"""

from __future__ import annotations

from collections.abc import Iterator

from curate.core.digest import Plain
from curate.report.card import Table
from curate.report.picks import Pick
from curate.report.words import plain

# Details that the page says elsewhere.
_ELSEWHERE = ("selector", "budget", "taken", "last", "next")
_LINES = 50  # of a table


def settings(pick: Pick) -> str:
    """The budget, the quotas and the selector's arguments."""
    config = pick.dataset.manifest.config
    asked: dict[str, Plain] = {"budget": config.get("budget"), "quota": config.get("quota"), **pick.arguments}
    return ", ".join(f"{_words(name)} {_short(value)}" for name, value in asked.items() if value not in (None, [], {}))


def facts(pick: Pick) -> tuple[tuple[str, str], ...]:
    """The figures that the selector reports of the whole."""
    figures = [(name, each) for name, each in _details(pick) if isinstance(each, str | int | float)]
    return tuple((_words(name), plain(each)) for name, each in figures)


def tables(pick: Pick) -> tuple[Table, ...]:
    """The figures that it reports of each task or group: one of each, or several with names."""
    found = []
    for name, value in _details(pick):
        if isinstance(value, dict) and value:
            lines = {key: each if isinstance(each, dict) else {"rows": each} for key, each in value.items()}
            columns = list(dict.fromkeys(column for each in lines.values() for column in each))
            rows = tuple((key, *(plain(each.get(c)) for c in columns)) for key, each in list(lines.items())[:_LINES])
            found.append(Table("", (_words(name), *map(_words, columns)), rows))
    return tuple(found)


def reasons(pick: Pick) -> tuple[tuple[str, int], ...]:
    """Why the other rows were not taken, the commonest reason first."""
    counts = pick.dataset.manifest.counts
    found = {name.removeprefix("first:"): rows for name, rows in counts.items() if name.startswith("first:")}
    return tuple(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _details(pick: Pick) -> Iterator[tuple[str, Plain]]:
    yield from (pair for pair in pick.dataset.manifest.details.items() if pair[0] not in _ELSEWHERE)


def _words(name: str) -> str:
    return "might be taken" if name == "open" else name.replace("_", " ")


def _short(value: Plain) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_short(each)}" for key, each in value.items() if each not in (None, [], {}))
    return plain(value)
