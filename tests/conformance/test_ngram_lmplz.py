"""The n-gram models equal those of `lmplz -o N --discount_fallback` to 1e-4 in every value.

`fable.txt` was written for this test; `fable.lmplz.json` holds what lmplz (kenlm 0.3.0) made of it:

    python -m tests.conformance.test_ngram_lmplz      # writes it anew

Its keys say how: the order, then `/` and the thresholds of `--prune`, then `/` and the size of the vocabulary.

`lmplz` enters the last n-grams of its sort, those of the word that first occurs last, into the counts of
counts with their occurrences in place of their adjusted count. That depends on the order of the text and is
not reproduced, so the last word of each corpus here is one that occurs once, for which the two are equal.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from curate.models.ngram.counts import count_shard
from curate.models.ngram.fit import fit_ngram
from curate.models.ngram.plan import Options
from curate.models.ngram.text_form import TextForm
from tests.conformance import lmplz

DATA = Path(__file__).parent / "data"
FORM = TextForm("ccnet_spaced", "punct")
LAST = "sentinel"
CASES = ("1", "2", "3", "5", "3/0 0 1", "5/0 1 1 2", "1/1", "3/1", "3//60", "5/0 0 1/80")

Model = dict[str, tuple[float, float]]


def _options(case: str) -> tuple[int, list[int], int | None]:
    order, prune, vocabulary = (*case.split("/"), "", "")[:3]
    return int(order), [int(threshold) for threshold in prune.split()], int(vocabulary) if vocabulary else None


def _model(arpa: str) -> Model:
    """N-grams with their log10 probability and back-off."""
    found: Model = {}
    for line in arpa.split("\n"):
        parts = line.split("\t")
        if len(parts) > 1:
            found[parts[1]] = (float(parts[0]), float(parts[2]) if len(parts) > 2 else 0.0)
    return found


def _ours(folder: Path, texts: list[str], case: str) -> Model:
    order, prune, vocabulary = _options(case)
    paths = [str(folder / f"{i}.parquet") for i in range(3)]
    for i, path in enumerate(paths):
        count_shard(texts[i::3], path, order=order, form=FORM)
    fit_ngram(paths, str(folder / "lm.arpa"), Options(prune=tuple(prune), vocabulary=vocabulary))
    return _model((folder / "lm.arpa").read_text(encoding="utf-8"))


def _theirs(program: str, texts: list[str], case: str) -> Model:
    order, prune, vocabulary = _options(case)
    lines = _lines(texts)
    words = None
    if vocabulary is not None:
        many = Counter(word for line in lines for word in line.split())
        words = sorted(many, key=lambda word: (-many[word], word.encode()))[:vocabulary]
    return _model(lmplz.fit(program, lines, order, prune, words))


def _fable() -> list[str]:
    return [*(DATA / "fable.txt").read_text(encoding="utf-8").splitlines(), LAST]


def _lines(texts: list[str]) -> list[str]:
    return [" ".join(tokens) for tokens in map(FORM.tokens, texts) if tokens]


def _assert_equal(ours: Model, theirs: Model) -> None:
    assert ours.keys() == theirs.keys()
    differences = np.abs(np.array([ours[ngram] for ngram in theirs]) - np.array(list(theirs.values())))
    worst = list(theirs)[int(differences.max(axis=1).argmax())]
    assert differences.max() <= 1e-4, (worst, ours[worst], theirs[worst])


@pytest.mark.parametrize("case", CASES)
def test_every_value_equals_the_recorded_one(tmp_path: Path, case: str) -> None:
    recorded = orjson.loads((DATA / "fable.lmplz.json").read_bytes())[case]
    theirs = {ngram: (values[0], values[1]) for ngram, values in recorded.items()}
    _assert_equal(_ours(tmp_path, _fable(), case), theirs)


@pytest.fixture(scope="module")
def program() -> str:
    found = lmplz.find_or_build()
    if found is None:
        pytest.skip("lmplz is not here and cannot be built (cmake, a C++ compiler, boost, PyPI)")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", ["2", "3", "5", "6", "5/0 0 1", "3/0 1 3/2000", "4/2"])
def test_every_value_equals_lmplz_on_real_prose(tmp_path: Path, shared: Path, program: str, case: str) -> None:
    texts: list[str] = []
    with zstandard.open(shared / "data/hq_text.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        for line in stream:
            texts.append(orjson.loads(line)["text"])
            if sum(map(len, texts)) > 300_000:
                break
    texts.append(LAST)
    theirs = _theirs(program, texts, case)
    assert len(theirs) > 7_000
    _assert_equal(_ours(tmp_path, texts, case), theirs)


def _record() -> None:
    program = lmplz.find_or_build()
    assert program is not None, "lmplz cannot be built here"
    models = {case: _theirs(program, _fable(), case) for case in CASES}
    (DATA / "fable.lmplz.json").write_bytes(orjson.dumps(models, option=orjson.OPT_SORT_KEYS) + b"\n")


if __name__ == "__main__":
    _record()
