"""What a `train` step made, as short tables and pictures of its card.

model = describe("proxy", dataset, {})
model.curve, model.tables[0].rows
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from curate.core import files
from curate.core.dataset import Dataset
from curate.report.card import Bar, CardValues, Described, Table, at, listed, mapping
from curate.report.charts import Line, curve_svg
from curate.report.finetuned import finetuned
from curate.report.words import number, plain

_DOMAINS = "domains.csv"
_ENDS = 10  # domains shown at each end
_MOST = 100  # rows of the whole card
_LISTED = 12  # items of a list in one row
# Arguments that stand in a card beside its `settings`.
_SETTINGS = ("hash", "buckets", "smoothing", "normaliser", "tokeniser", "vocabulary")
_DISCOUNTS = ("discount 1", "discount 2", "discount 3+")


@dataclass(frozen=True)
class Model:
    """A trained model for the page.

    Attributes:
        name: of the step.
        method: how it was trained.
        facts: the figures that matter first, by what they are called.
        curve: its loss, if it has a curve.
        tables: the rest of what is worth a look.
        settings: the arguments, in a line.
        card: every value of the card, by its path.
        more: how many values of the card are not in `card`.
        files: the hash of each.
    """

    name: str
    method: str
    facts: tuple[tuple[str, str], ...]
    curve: Markup
    tables: tuple[Table, ...]
    settings: str
    card: tuple[tuple[str, str], ...]
    more: int
    files: Mapping[str, str]


def describe(name: str, dataset: Dataset, makers: Mapping[str, str]) -> Model:
    """A model by its card; a card of an unknown method is shown as what it is, value by value.

    Args:
        name: of the step.
        dataset: that it left.
        makers: the steps of the run that trained a model, by its hash.
    """
    details = dataset.manifest.details
    card = details["card"] if isinstance(details.get("card"), dict) else details
    assert isinstance(card, dict)
    method = card.get("kind")
    tuned = functools.partial(finetuned, dataset=dataset, makers=makers)
    facts, tables = (tuned if method == "finetune" else _METHODS.get(str(method), _unknown))(card)
    if "correlations" in card:
        method = "perplexity_correlations"
        chosen, domains = _correlations(mapping(card, "correlations"), dataset)
        facts, tables = [*chosen, *facts], [*domains, *tables]
    settings = {**{key: card[key] for key in _SETTINGS if key in card}, **mapping(card, "settings")}
    known = bool(facts or tables)
    flat = list(flatten(card))
    return Model(
        name,
        str(method) if isinstance(method, str) else "",
        tuple(facts),
        _curve(card),
        tuple(table for table in tables if table.rows),
        ", ".join(f"{key} {value}" for key, value in flatten(settings)) if known else "",
        tuple(flat[:_MOST]),
        max(0, len(flat) - _MOST),
        dataset.manifest.files,
    )


def flatten(values: CardValues, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value by its path, numbers rounded; lists of numbers or words in one row.

    >>> list(flatten({"held_out": {"f1": 0.9756098}, "order": [1, 2]}))
    [('held_out · f1', '0.9756'), ('order', '1, 2')]
    """
    for key, value in values.items():
        here = f"{path} · {key}" if path else key
        if isinstance(value, dict):
            yield from flatten(value, here)
        elif isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
            yield from flatten({str(i): item for i, item in enumerate(value, 1)}, here)
        elif isinstance(value, list) and len(value) > _LISTED:
            yield here, f"{plain(value[:_LISTED])} and {len(value) - _LISTED:,} more"
        else:
            yield here, plain(value)


def _unknown(card: CardValues) -> Described:
    return [], []


def _fasttext(card: CardValues) -> Described:
    held, data = mapping(card, "held_out"), mapping(card, "data")
    measured = mapping(held, "texts")
    classes = Table(
        "Texts",
        ("class", "all", "held out"),
        tuple(
            (label, at(mapping(data, label), "texts"), at(measured, label))
            for label in (at(card, "positive"), at(card, "negative"))
        ),
    )
    facts = [("looks for", at(card, "positive")), *_measures(held)]
    return facts, [classes, _deciles(held)]


def _embedding(card: CardValues) -> Described:
    held, data = mapping(card, "held_out"), mapping(card, "data")
    facts = [
        *_measures(held),
        ("mean squared error", at(held, "mse")),
        ("of the mean alone", at(held, "mse_of_the_mean")),
        ("held-out rows", at(held, "rows")),
        ("of them positive", at(held, "positive")),
    ]
    counts = {label: count for label, count in mapping(data, "labels").items() if isinstance(count, int)}
    most = max(counts.values(), default=1)
    ranked = sorted(counts, key=lambda label: (len(counts) > 2 * _ENDS and -counts[label], _as_number(label), label))
    rows = [(label, Bar(0, 100 * counts[label] / most, "kept"), number(counts[label])) for label in ranked]
    shown = rows[: 2 * _ENDS]
    if len(rows) > len(shown):
        rest = sum(counts[label] for label in ranked[2 * _ENDS :])
        shown.append((f"{len(rows) - len(shown):,} others", Bar(0, 100 * min(1, rest / most), "kept"), number(rest)))
    return facts, [Table("Labels", ("label", "", "rows"), tuple(shown)), _deciles(held)]


def _ngram(card: CardValues) -> Described:
    facts = [(each, at(card, each)) for each in ("order", "words", "tokens", "documents")]
    prune, discounts = listed(card, "prune"), listed(card, "discounts")
    head: tuple[str, ...] = ("order", "n-grams", *(_DISCOUNTS if discounts else ()), *(("left out",) if prune else ()))
    rows = []
    for i, count in enumerate(listed(card, "ngrams")):
        row = [str(i + 1), plain(count)]
        if discounts:
            each = discounts[i] if i < len(discounts) else []
            found = [plain(value) for value in each] if isinstance(each, list) else []
            row += (found + [""] * len(_DISCOUNTS))[: len(_DISCOUNTS)]
        if prune:
            limit = prune[i] if i < len(prune) else prune[-1]
            row.append("nothing" if limit == 0 else f"seen ≤ {plain(limit)} times")
        rows.append(tuple(row))
    return facts, [Table("N-grams", head, tuple(rows))]


def _causal_lm(card: CardValues) -> Described:
    held, learnt = mapping(card, "held_out"), mapping(card, "learnt")
    return [
        ("parameters", at(card, "parameters")),
        ("tokens learnt", at(learnt, "tokens")),
        ("passes over the data", at(learnt, "epochs")),
        ("training loss", at(learnt, "loss")),
        ("held-out loss", at(held, "loss")),
        ("held-out bits per byte", at(held, "bits_per_byte")),
        ("held-out texts", at(held, "texts")),
    ], []


def _dsir(card: CardValues) -> Described:
    facts = [("divergence", at(card, "divergence"))]
    data = mapping(card, "data")
    sides = tuple(
        (side, *(at(mapping(data, side), each) for each in ("texts", "ngrams", "buckets")))
        for side in ("target", "raw")
    )
    return facts, [Table("The two sides", ("side", "texts", "n-grams", "buckets in use"), sides)]


def _correlations(card: CardValues, dataset: Dataset) -> Described:
    domains, tokens = mapping(card, "domains"), mapping(card, "tokens")
    facts = [
        ("estimator", at(card, "estimator")),
        ("models", at(card, "models")),
        ("domains", at(domains, "known")),
        ("included", at(domains, "included")),
        ("excluded", at(domains, "excluded")),
        ("tokens taken", at(tokens, "taken")),
        ("tokens known", at(tokens, "known")),
    ]
    text = files.read_bytes(files.join(dataset.folder, _DOMAINS)).decode()
    ranked = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["gamma"]]
    most = max((abs(float(row["gamma"])) for row in ranked), default=0.0) or 1.0
    rows: list[tuple[str | Bar, ...]] = []
    for i, row in enumerate(ranked):
        if _ENDS <= i < len(ranked) - _ENDS:
            if i == _ENDS:
                rows.append((f"{len(ranked) - 2 * _ENDS:,} between", "", "", "", "", ""))
            continue
        gamma = float(row["gamma"])
        half = 50 * abs(gamma) / most
        bar = Bar(50 if gamma >= 0 else 50 - half, half, "kept" if row["included"] == "yes" else "dropped")
        counts = (number(int(row["documents"])), number(int(row["tokens"])))
        rows.append((row["domain"], bar, number(gamma), row["included"], *counts))
    head = ("domain", "", "gamma", "included", "documents", "tokens")
    return facts, [Table("Domains, the highest and the lowest gamma", head, tuple(rows))]


_METHODS: Mapping[str, Callable[[CardValues], Described]] = {
    "causal_lm": _causal_lm,
    "dsir": _dsir,
    "embedding": _embedding,
    "fasttext": _fasttext,
    "ngram": _ngram,
}


def _measures(held: CardValues) -> list[tuple[str, str]]:
    names = {"precision": "precision", "recall": "recall", "f1": "F1"}
    where = f" at {at(held, 'threshold')}"
    return [(says + where, at(held, each)) for each, says in names.items()] + [("AUROC", at(held, "auroc"))]


def _deciles(held: CardValues) -> Table:
    """The score below which each tenth of the held-out texts lies."""
    marks = listed(held, "deciles")
    head = ("texts below", *(f"{10 * i} %" for i in range(1, len(marks) + 1)))
    return Table("Deciles of the held-out scores", head, (("score", *map(plain, marks)),) if marks else ())


def _curve(card: CardValues) -> Markup:
    points = [point for point in listed(card, "curve") if isinstance(point, dict)]
    lines = []
    for key, kind in (("train_loss", "train"), ("held_out_loss", "held-out")):
        pairs = [(point.get("tokens"), point.get(key)) for point in points]
        lines.append(
            Line(kind, [(x, y) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)])
        )
    return curve_svg(lines, "tokens learnt")


def _as_number(label: str) -> float:
    return float(label) if label.replace(".", "", 1).lstrip("-").isdigit() else float("inf")
