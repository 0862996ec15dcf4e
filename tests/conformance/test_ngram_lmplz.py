"""The n-gram models equal those of `lmplz -o N --discount_fallback` to 1e-4 in every value.

`fable.txt` was written for this test; `fable.lmplz.json` holds what lmplz (kenlm 0.3.0) made of it:

    python -m tests.conformance.test_ngram_lmplz      # writes it anew

`lmplz` enters the last n-grams of its sort, those of the word that first occurs last, into the counts of
counts with their occurrences in place of their adjusted count. That depends on the order of the text and is
not reproduced, so the last word of each corpus here is one that occurs once, for which the two are equal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from curate.text.normalise import TextForm
from curate.train.ngram import fit_ngram
from curate.train.ngram_counts import count_shard
from tests.conformance import lmplz

DATA = Path(__file__).parent / "data"
FORM = TextForm("ccnet_spaced", "punct")
LAST = "sentinel"
ORDERS = (1, 2, 3, 5)

Model = dict[str, tuple[float, float]]


def _model(arpa: str) -> Model:
    """N-grams with their log10 probability and back-off."""
    found: Model = {}
    for line in arpa.split("\n"):
        parts = line.split("\t")
        if len(parts) > 1:
            found[parts[1]] = (float(parts[0]), float(parts[2]) if len(parts) > 2 else 0.0)
    return found


def _ours(folder: Path, texts: list[str], order: int) -> Model:
    paths = [str(folder / f"{i}.parquet") for i in range(3)]
    for i, path in enumerate(paths):
        count_shard(texts[i::3], path, order=order, form=FORM)
    fit_ngram(paths, str(folder / "lm.arpa"))
    return _model((folder / "lm.arpa").read_text(encoding="utf-8"))


def _fable() -> list[str]:
    return [*(DATA / "fable.txt").read_text(encoding="utf-8").splitlines(), LAST]


def _lines(texts: list[str]) -> list[str]:
    return [" ".join(tokens) for tokens in map(FORM.tokens, texts) if tokens]


def _assert_equal(ours: Model, theirs: Model) -> None:
    assert ours.keys() == theirs.keys()
    differences = np.abs(np.array([ours[ngram] for ngram in theirs]) - np.array(list(theirs.values())))
    worst = list(theirs)[int(differences.max(axis=1).argmax())]
    assert differences.max() <= 1e-4, (worst, ours[worst], theirs[worst])


@pytest.mark.parametrize("order", ORDERS)
def test_every_value_equals_the_recorded_one(tmp_path: Path, order: int) -> None:
    recorded = orjson.loads((DATA / "fable.lmplz.json").read_bytes())[str(order)]
    theirs = {ngram: (values[0], values[1]) for ngram, values in recorded.items()}
    _assert_equal(_ours(tmp_path, _fable(), order), theirs)


@pytest.fixture(scope="module")
def program() -> str:
    found = lmplz.find_or_build()
    if found is None:
        pytest.skip("lmplz is not here and cannot be built (cmake, a C++ compiler, boost, PyPI)")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_every_value_equals_lmplz_on_real_prose(tmp_path: Path, shared: Path, program: str, order: int) -> None:
    texts: list[str] = []
    with zstandard.open(shared / "data/hq_text.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        for line in stream:
            texts.append(orjson.loads(line)["text"])
            if sum(map(len, texts)) > 300_000:
                break
    texts.append(LAST)
    theirs = _model(lmplz.fit(program, _lines(texts), order))
    assert len(theirs) > 30_000
    _assert_equal(_ours(tmp_path, texts, order), theirs)


def _record() -> None:
    program = lmplz.find_or_build()
    assert program is not None, "lmplz cannot be built here"
    models = {str(order): _model(lmplz.fit(program, _lines(_fable()), order)) for order in ORDERS}
    (DATA / "fable.lmplz.json").write_bytes(orjson.dumps(models, option=orjson.OPT_SORT_KEYS) + b"\n")


if __name__ == "__main__":
    _record()
