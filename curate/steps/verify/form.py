"""The verifiers `length`, `form` and `schema`: whether a text is there, whole, of a sane shape, and of a given one.

    runaway("the " * 100)                                # True
    form()(VerifyBatch.of([{"text": " " * 40_000}]))["runaway"]      # [True]

A model that has lost its way says the same again and again until it is stopped: one character, white space, a few
words, a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.steps.verify.form_kernel import loops
from curate.text.columns import column as arrow
from curate.text.native import Ints
from curate.text.overlap import Hashed, as_sets, hashed_words, runs

# The longest period that is tried, the least length of a loop, and its least repeats.
_WORD_PERIOD, _WORD_LEAST, _WORD_TIMES = 100, 32, 4
_CHAR_PERIOD, _CHAR_LEAST, _CHAR_TIMES = 32, 256, 8
_RUN, _REPEATED = 5, 0.5  # words in a run, and the share of runs that were there before


def length(*, column: str = "text") -> Verifier:
    """How long a text is: `words` (of Unicode's annex 29) and `chars` (code points), int32; null for a null text."""

    def verify(batch: VerifyBatch) -> Columns:
        texts = batch.batch(column)
        words: Ints = np.diff(texts.words("uax29").offsets)
        chars = np.array([len(text) for text in texts.strings()], np.int32)
        return {"words": arrow(words.astype(np.int32), texts.valid), "chars": arrow(chars, texts.valid)}

    return verify


def form(*, column: str = "text", finish: str = "finish") -> Verifier:
    """Whether a text is one that a model finished.

    `empty` (bool): nothing but white space. `cut` (bool): it was stopped at its most tokens; null where rows have no
    column `finish`. `runaway` (bool): it loops, as `runaway` has it. `repeated` (float64): the share of its runs of
    5 words that were there before; 0 for fewer than 6 words. `loop` (int32): code points of the longest stretch that
    repeats itself with a period of up to 32. All are null for a null text.

    Args:
        column: the text.
        finish: the column that says why the model stopped; "length" means that it was cut off.
    """

    def verify(batch: VerifyBatch) -> Columns:
        given = batch.texts(column)
        texts = [text or "" for text in given]
        valid = np.array([text is not None for text in given], np.bool_)
        ended = batch.texts(finish) if finish in batch.rows.schema.names else [None] * len(texts)
        cut = [None if text is None or end is None else end == "length" for text, end in zip(given, ended, strict=True)]
        stretch, repeated, bad = _repeats(texts)
        return {
            "empty": arrow(np.array([not text.strip() for text in texts], np.bool_), valid),
            "cut": pa.array(cut, pa.bool_()),
            "runaway": arrow(bad, valid),
            "repeated": arrow(repeated, valid),
            "loop": arrow(stretch.astype(np.int32), valid),
        }

    return verify


def runaway(text: str) -> bool:
    """Whether a text loops.

    One of: a stretch of 32 words or more that is the same up to 100 words, 4 times or more; one of 256 characters or
    more that is the same up to 32 characters, 8 times or more (white space, rulers, words without spaces); or half of
    all runs of 5 words, in a text of 32 words or more, that were there before.
    """
    # 32 words have so many characters at least, and 256 of them are more.
    if len(text) < (2 * _WORD_LEAST - 1 if text.isascii() else _WORD_LEAST):
        return False
    return bool(_repeats([text])[2][0])


def schema(*, column: str, fits: dict[str, Plain] | str) -> Verifier:
    """Whether a text is JSON that fits a JSON schema (draft 2020-12).

    `valid` (bool), and `error` (string) that says what does not fit and where, null if it does. Both are null for a
    null text. A schema refers to nothing outside of itself.

    Args:
        column: the text.
        fits: the schema, or its JSON.

    Raises:
        ConfigError: the schema is not one, or refers to what it does not have.
    """
    checker = schema_checker(fits)

    def verify(batch: VerifyBatch) -> Columns:
        errors = [None if text is None else _misfit(checker, text) for text in batch.texts(column)]
        return {
            "valid": pa.array([None if error is None else not error for error in errors], pa.bool_()),
            "error": pa.array([error or None for error in errors], pa.string()),
        }

    return verify


def _repeats(texts: Sequence[str]) -> tuple[Ints, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Characters of the longest loop, the share of repeated runs of words, and whether it is too much."""
    words = hashed_words(texts)
    _, word_times = _loops(words.keys, words.at, _WORD_PERIOD, _WORD_LEAST)
    sizes = [len(text) for text in texts]
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    stretch, char_times = _loops(points, np.cumsum([0, *sizes]), _CHAR_PERIOD, _CHAR_LEAST)
    repeated = _repeated(words)
    bad = (word_times >= _WORD_TIMES) | (char_times >= _CHAR_TIMES)
    return stretch, repeated, bad | ((repeated > _REPEATED) & (words.sizes >= _WORD_LEAST))


def _loops(items: npt.NDArray[np.generic], at: Ints, periods: int, least: int) -> tuple[Ints, Ints]:
    longest, times = np.empty(len(at) - 1, np.int64), np.empty(len(at) - 1, np.int64)
    loops(items, at, periods, least, longest, times)
    return longest, times


def _repeated(words: Hashed) -> npt.NDArray[np.float64]:
    every = runs(words, _RUN)
    return (every.sizes - as_sets(every).sizes) / np.maximum(every.sizes, 1)


def schema_checker(schema: dict[str, Plain] | str) -> Draft202012Validator:
    """What checks values against a JSON schema (draft 2020-12), or its JSON.

    Raises:
        ConfigError: the schema is not one, or refers to what it does not have.
    """
    try:
        known = orjson.loads(schema) if isinstance(schema, str) else schema
        Draft202012Validator.check_schema(known)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"schema: is not JSON: {error}; give an object, or its JSON") from None
    except SchemaError as error:
        raise ConfigError(f"schema: is not a JSON schema: {error.message}; mend it") from None
    # With a registry of its own, which is empty, it fetches nothing.
    whole = DRAFT202012.create_resource(known)
    resolver = Registry().with_resource("", whole).resolver()
    for reference in _references(known):
        if not reference.startswith("#"):
            raise ConfigError(f"schema: refers to {reference}, which is not fetched; put it under $defs")
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ConfigError(f"schema: refers to {reference}, which it does not have; mend it") from None
    return Draft202012Validator(known, registry=Registry())


def _references(schema: Plain) -> Iterator[str]:
    """What a schema refers to."""
    for key, value in schema.items() if isinstance(schema, dict) else ():
        if key == "$ref" and isinstance(value, str):
            yield value
    values = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for each in values:
        yield from _references(each)


def _misfit(checker: Draft202012Validator, text: str) -> str:
    """What does not fit, in a line; empty where all does."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    found = best_match(checker.iter_errors(value))
    if found is None:
        return ""
    return f"{found.json_path}: {' '.join(found.message.split())}"[:500]
