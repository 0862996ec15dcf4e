from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import kenlm
import orjson
import pytest

from curate.core.errors import ConfigError, RunError
from curate.models.ngram.counts import count_shard
from curate.models.ngram.fit import fit_ngram
from curate.models.ngram.levels import FALLBACK, discounts_of
from curate.models.ngram.plan import Options
from curate.models.ngram.text_form import TextForm, read_form

FORM = TextForm("ccnet_spaced", "punct")
TEXTS = [
    "The tide came in before noon, and the boats went out.",
    "The tide went out before the boats came in.",
    "A gull, a gull! The boy saw a gull before the tide.",
    "Nothing came of it: the boats stayed in, the boy stayed out.",
    "",
    "The gull stayed. The gull went. The gull came in.",
]


def _fit(
    folder: Path, shards: list[list[str]], order: int = 3, form: TextForm = FORM, options: Options | None = None
) -> str:
    folder.mkdir()
    paths = [str(folder / f"{i}.parquet") for i in range(len(shards))]
    for path, texts in zip(paths, shards, strict=True):
        count_shard(texts, path, order=order, form=form)
    model = str(folder / "lm.arpa")
    fit_ngram(paths, model, options)
    return model


def _arpa(model: str) -> dict[str, tuple[float, float]]:
    """N-grams with their probability and back-off weight."""
    rows = [line.split("\t") for line in Path(model).read_text(encoding="utf-8").split("\n") if "\t" in line]
    return {row[1]: (10 ** float(row[0]), 10 ** float(row[2]) if len(row) > 2 else 1.0) for row in rows}


def _assert_sums_to_one(model: str, words: list[str], contexts: list[list[str]]) -> None:
    loaded = kenlm.Model(model)
    for context in contexts:
        state, after = kenlm.State(), kenlm.State()
        loaded.BeginSentenceWrite(state)
        for word in context:
            loaded.BaseScore(state, word, after)
            state, after = after, kenlm.State()
        total = sum(10 ** loaded.BaseScore(state, word, after) for word in [*words, "</s>", "<unk>"])
        assert total == pytest.approx(1.0, abs=1e-4)


def test_the_model_is_the_same_for_any_cut_into_shards_and_any_order(tmp_path: Path) -> None:
    whole = _fit(tmp_path / "whole", [TEXTS])
    for seed in range(3):
        texts = random.Random(seed).sample(TEXTS, len(TEXTS))
        cut = _fit(tmp_path / str(seed), [texts[:1], [], texts[1:4], texts[4:]])
        for name in ("", ".json"):
            assert Path(whole + name).read_bytes() == Path(cut + name).read_bytes()


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_model_is_the_same_however_many_ranges_it_is_made_in(tmp_path: Path, order: int) -> None:
    # The smallest are such that the n-grams of one last word lie in several ranges.
    texts = [*TEXTS, *(f"the {word} tide" for word in "abcdefgh")]
    for kind, options in (("all", Options()), ("some", Options(prune=(0, 0, 1)[:order], vocabulary=9))):
        models = [
            _fit(tmp_path / f"{kind}{rows}", [texts[:3], texts[3:]], order, options=replace(options, range_rows=rows))
            for rows in (10**6, 40, 9)
        ]
        for name in ("", ".json"):
            assert len({Path(model + name).read_bytes() for model in models}) == 1


def test_a_fit_leaves_nothing_but_the_model_and_its_metadata(tmp_path: Path) -> None:
    _fit(tmp_path / "m", [TEXTS])
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"0.parquet", "lm.arpa", "lm.arpa.json"}


def test_the_probabilities_after_any_words_sum_to_one(tmp_path: Path) -> None:
    model = _fit(tmp_path / "m", [TEXTS], order=4)
    words = sorted({word for text in TEXTS for word in FORM.tokens(text)})
    _assert_sums_to_one(model, words, [["the"], ["the", "tide"], ["a", "gull", "before"], ["never", "seen"], []])


def test_one_word_once_by_hand(tmp_path: Path) -> None:
    # "hi" and </s> are seen once each and keep half of it; the other half is shared by three words.
    found = _arpa(_fit(tmp_path / "m", [["hi"]], order=2))
    expected = {
        "<unk>": (1 / 6, 1.0), "<s>": (1.0, 0.5), "</s>": (5 / 12, 1.0), "hi": (5 / 12, 0.5),
        "<s> hi": (0.5 + 0.5 * 5 / 12, 1.0), "hi </s>": (0.5 + 0.5 * 5 / 12, 1.0),
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for ngram, values in expected.items():
        assert found[ngram] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("texts", "longest"),
    [(["hi"], 3), (["a b", "a"], 4), (["a " * 1_000_000], 5), (["the tide came in"] * 1000, 5), (["hi"] * 1000, 3)],
    ids=["one word", "short texts", "one word a million times", "all the same", "the same word"],
)
def test_odd_corpora_make_a_model_with_every_order_that_they_reach(
    tmp_path: Path, texts: list[str], longest: int
) -> None:
    model = _fit(tmp_path / "m", [texts], order=5)
    words = sorted(set(" ".join(texts).split()))
    assert 1 + max(ngram.count(" ") for ngram in _arpa(model)) == longest
    for ngram, (probability, backoff) in _arpa(model).items():
        assert 0 < probability <= 1 and 0 < backoff <= 1, ngram
    _assert_sums_to_one(model, words, [[], words[:1], words[:1] * 4, words, ["never", "seen"]])


def test_pruning_leaves_out_what_is_rare_and_gives_its_share_to_the_back_off(tmp_path: Path) -> None:
    whole = _arpa(_fit(tmp_path / "whole", [TEXTS]))
    model = _fit(tmp_path / "pruned", [TEXTS], options=Options(prune=(0, 0, 1)))
    pruned = _arpa(model)
    text = [" ".join(["<s>", "<s>", *FORM.tokens(text), "</s>"]) for text in TEXTS if text]
    for ngram in whole:
        often = sum(f" {line} ".count(f" {ngram} ") for line in text)
        assert (ngram in pruned) == (ngram.count(" ") < 2 or often > 1), ngram
    words = sorted({word for text in TEXTS for word in FORM.tokens(text)})
    _assert_sums_to_one(model, words, [["the"], ["the", "tide"], ["a", "gull"], ["boy", "saw"], []])
    assert orjson.loads(Path(model + ".json").read_bytes())["prune"] == [0, 0, 1]


def test_a_vocabulary_keeps_the_most_frequent_words_and_of_equals_the_first(tmp_path: Path) -> None:
    texts = ["b a c", "b d d", "b e"]
    model = _fit(tmp_path / "m", [texts], order=2, options=Options(vocabulary=3))
    assert {ngram for ngram in _arpa(model) if " " not in ngram} == {"<unk>", "<s>", "</s>", "b", "d", "a"}
    assert {ngram for ngram in _arpa(model) if " " in ngram} == {"<s> b", "b a", "b d", "d d", "d </s>"}
    _assert_sums_to_one(model, ["a", "b", "d"], [["b"], ["d"], ["c"], []])
    card = orjson.loads(Path(model + ".json").read_bytes())
    assert (card["vocabulary"], card["words"], card["ngrams"]) == (3, 8, [6, 5])


@pytest.mark.parametrize("prune", [(0, 2, 1), (0, 0, 0, 1), (-1,)])
def test_thresholds_that_would_leave_ngrams_without_their_parts_are_refused(
    tmp_path: Path, prune: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError, match="prune .* takes up to 3 thresholds"):
        _fit(tmp_path / "m", [TEXTS], options=Options(prune=prune))


def test_discounts_follow_equation_26_of_chen_and_goodman() -> None:
    y = 40 / (40 + 2 * 12)
    expected = (1 - 2 * y * 12 / 40, 2 - 3 * y * 5 / 12, 3 - 4 * y * 3 / 5)
    assert discounts_of([40, 12, 5, 3]) == pytest.approx(expected)


@pytest.mark.parametrize("n", [[2, 1, 0, 0], [10, 1, 5, 0], [0, 0, 0, 0]])
def test_too_few_or_odd_counts_fall_back_to_fixed_discounts(n: list[int]) -> None:
    assert discounts_of(n) == FALLBACK


def test_the_metadata_beside_the_model_says_how_the_text_was_prepared(tmp_path: Path) -> None:
    model = _fit(tmp_path / "m", [TEXTS], order=2, form=TextForm("ccnet", "whitespace"))
    assert read_form(model) == TextForm("ccnet", "whitespace")
    card = orjson.loads(Path(model + ".json").read_bytes())
    assert (card["order"], card["documents"], len(card["ngrams"])) == (2, 5, 2)
    assert card["tokens"] == sum(len(TextForm("ccnet", "whitespace").tokens(text)) for text in TEXTS)


def test_words_outside_ascii_come_back_from_the_file(tmp_path: Path) -> None:
    model = _fit(tmp_path / "m", [["Москва 東京 naïve", "東京 東京"]], form=TextForm("none", "whitespace"))
    loaded = kenlm.Model(model)
    assert "東京" in loaded and "Москва" in loaded and "naïve" in loaded
    assert math.isfinite(loaded.score("東京 Москва"))


def test_count_files_of_different_kinds_are_not_mixed(tmp_path: Path) -> None:
    count_shard(TEXTS, str(tmp_path / "a"), order=3, form=FORM)
    count_shard(TEXTS, str(tmp_path / "b"), order=2, form=FORM)
    with pytest.raises(RunError, match="another order or text form"):
        fit_ngram([str(tmp_path / "a"), str(tmp_path / "b")], str(tmp_path / "lm.arpa"))


def test_a_count_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    count_shard(TEXTS, str(path), order=3, form=FORM)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"a\.parquet: not a whole file"):
        fit_ngram([str(path)], str(tmp_path / "lm.arpa"))


def test_text_without_a_word_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not one word"):
        _fit(tmp_path / "m", [["", " \n"]])


@pytest.mark.parametrize("order", [0, 7])
def test_an_order_out_of_range_is_refused(tmp_path: Path, order: int) -> None:
    with pytest.raises(ConfigError, match="order 1 to 6"):
        count_shard(TEXTS, str(tmp_path / "a"), order=order, form=FORM)
