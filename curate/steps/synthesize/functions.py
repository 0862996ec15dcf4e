r"""What templates and expressions may call: functions of what they are given and of the row's id, and of nothing else.

What they cannot work with is a ValueError that names the function; the row then fails with this reason.

combine({"length": ["short", "long"], "tone": ["dry", "warm"]}, 4, seed="7:row")
passages("First paragraph.\n\nSecond one.", 512)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence

import xxhash

from curate.core.digest import Plain

# What a token has of English text in UTF-8, about; where a limit is in tokens and no tokenizer is known.
BYTES_A_TOKEN = 4
# More than any answer could be asked for.
MOST_COMBINATIONS = 100_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def functions(seed: str) -> dict[str, Callable[..., object]]:
    """The functions for one row, whose choices follow from `seed`."""
    return {
        "combine": functools.partial(combine, seed=seed),
        "cut": cut,
        "flat": flat,
        "passages": passages,
        "pick": functools.partial(pick, seed=seed),
        "turns": turns,
    }


def shuffled(values: Sequence[Plain], seed: str) -> list[Plain]:
    """Values in an order that follows from the seed."""
    order = sorted(range(len(values)), key=lambda i: (xxhash.xxh3_64_intdigest(f"{seed}|{i}".encode()), i))
    return [values[i] for i in order]


def pick(values: Sequence[Plain], name: str = "", *, seed: str) -> Plain:
    """One of some values; another `name` picks for itself.

    Raises:
        ValueError: they are no list, or there are none.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"pick: expected a list, found {_shown(values)}")
    if not values:
        raise ValueError("pick: there is nothing to pick from")
    return values[xxhash.xxh3_64_intdigest(f"{seed}|{name}".encode()) % len(values)]


def combine(attributes: object, count: int, *, seed: str) -> list[Plain]:
    """A stratified sample of the combinations of attributes: every value of each comes as often as the others, +-1.

    Args:
        attributes: names and lists of values, or a list of objects with `name` and `values`.
        count: how many combinations.
        seed: of the shuffling.

    Raises:
        ValueError: the attributes are of another form, or the count is.
    """
    count = _whole("combine", count, 0)
    if count > MOST_COMBINATIONS:
        raise ValueError(f"combine: {count:,} combinations are too many; {MOST_COMBINATIONS:,} is the most")
    named = _named(attributes)
    columns = {}
    for name, values in named.items():
        rounds = -(-count // len(values))
        turns = [value for i in range(rounds) for value in shuffled(values, f"{seed}|{name}|{i}")][:count]
        columns[name] = shuffled(turns, f"{seed}|{name}")
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def _named(attributes: object) -> dict[str, list[Plain]]:
    pairs: list[tuple[object, object]] = []
    if isinstance(attributes, Mapping):
        pairs = list(attributes.items())
    elif isinstance(attributes, list):
        pairs = [(each.get("name"), each.get("values")) for each in attributes if isinstance(each, Mapping)]
    named = {str(name): list(values) for name, values in pairs if isinstance(values, list) and values}
    if not named or len(named) != len(pairs):
        raise ValueError("combine: wants names, each with a list of values")
    return named


def flat(answered: object) -> list[Plain]:
    """The answers of a stage that was asked for each of a list, one by one: `{item, answer, request}` for each.

    Raises:
        ValueError: it is no list of answers.
    """
    if not isinstance(answered, list) or not all(isinstance(each, Mapping) and "answer" in each for each in answered):
        raise ValueError("flat: wants the name of a stage that was asked for each of a list")
    found: list[Plain] = []
    for each in answered:
        answers = each["answer"] if isinstance(each["answer"], list) else [each["answer"]]
        found += [{**each, "answer": answer} for answer in answers]
    return found


def turns(exchanges: object) -> list[Plain]:
    """The turns of a conversation, from one exchange or a list of them, each what a role says by its name.

    >>> turns([{"user": "Hi", "assistant": "Hello"}])
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]

    Raises:
        ValueError: they are of another form.
    """
    several = exchanges if isinstance(exchanges, list) else [exchanges]
    found = [each for each in several if isinstance(each, Mapping)]
    if len(found) != len(several):
        raise ValueError("turns: wants what each role says, by its name")
    return [{"role": str(role), "content": content} for each in found for role, content in each.items()]


def cut(text: str, tokens: int) -> str:
    """The beginning of a text, of about so many tokens, up to the end of a word; of its first word a beginning.

    Raises:
        ValueError: no text, or no number of tokens.
    """
    data, most = _encoded("cut", text), _whole("cut", tokens, 0) * BYTES_A_TOKEN
    if len(data) <= most:
        return text
    head = data[:most].decode(errors="ignore")
    words = head.rsplit(None, 1)
    # White space before the first word is no word that could be left out.
    return words[0] if len(words) > 1 else head.rstrip()


def passages(text: str, tokens: int) -> list[Plain]:
    """A text in pieces of at most about so many tokens, cut between paragraphs, or else sentences, or else words.

    Raises:
        ValueError: no text, or no number of tokens.
    """
    most = _whole("passages", tokens, 1) * BYTES_A_TOKEN
    _encoded("passages", text)
    pieces: list[str] = []
    for part in _parts(text, most):
        if pieces and len(pieces[-1].encode()) + len(part.encode()) + 2 <= most:
            pieces[-1] = f"{pieces[-1]}\n\n{part}"
        else:
            pieces.append(part)
    return list(pieces)


def _parts(text: str, most: int) -> list[str]:
    """The paragraphs, those that are too long in pieces."""
    found: list[str] = []
    for paragraph in filter(None, (each.strip() for each in re.split(r"\n\s*\n", text))):
        if len(paragraph.encode()) <= most:
            found.append(paragraph)
            continue
        piece = ""
        for sentence in _SENTENCE.split(paragraph):
            while len(sentence.encode()) > most:
                head = cut(sentence, most // BYTES_A_TOKEN)
                found += [each for each in (piece, head) if each]
                piece, sentence = "", sentence[len(head) :].lstrip()
            joined = f"{piece} {sentence}".strip()
            if len(joined.encode()) > most:
                found.append(piece)
                joined = sentence
            piece = joined
        if piece:
            found.append(piece)
    return found


def _encoded(name: str, text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"{name}: expected a text, found {_shown(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: the text holds half a character (a lone surrogate); clean it first") from None


def _whole(name: str, number: object, least: int) -> int:
    """A whole number, which may be written as 512.0: a quotient is one of those."""
    if isinstance(number, int | float) and not isinstance(number, bool) and number >= least and number == number // 1:
        return int(number)
    raise ValueError(f"{name}: expected a whole number from {least} on, found {_shown(number)}")


def _shown(value: object) -> str:
    """A value for a message; of a name that is not there this raises what the template has to say of it."""
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
