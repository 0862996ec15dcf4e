from __future__ import annotations

import math
import random
from pathlib import Path

import kenlm
import orjson
import pytest

from curate.errors import ConfigError, RunError
from curate.text.normalise import TextForm, read_form
from curate.train.ngram import FALLBACK, discounts_of, estimate, fit_ngram
from curate.train.ngram_counts import count_shard, merge_counts

FORM = TextForm("ccnet_spaced", "punct")
TEXTS = [
    "The tide came in before noon, and the boats went out.",
    "The tide went out before the boats came in.",
    "A gull, a gull! The boy saw a gull before the tide.",
    "Nothing came of it: the boats stayed in, the boy stayed out.",
    "",
    "The gull stayed. The gull went. The gull came in.",
]


def _fit(folder: Path, shards: list[list[str]], order: int = 3, form: TextForm = FORM) -> str:
    folder.mkdir()
    paths = [str(folder / f"{i}.parquet") for i in range(len(shards))]
    for path, texts in zip(paths, shards, strict=True):
        count_shard(texts, path, order=order, form=form)
    model = str(folder / "lm.arpa")
    fit_ngram(paths, model)
    return model


def test_the_model_is_the_same_for_any_cut_into_shards_and_any_order(tmp_path: Path) -> None:
    whole = _fit(tmp_path / "whole", [TEXTS])
    for seed in range(3):
        texts = random.Random(seed).sample(TEXTS, len(TEXTS))
        cut = _fit(tmp_path / str(seed), [texts[:1], [], texts[1:4], texts[4:]])
        for name in ("", ".json"):
            assert Path(whole + name).read_bytes() == Path(cut + name).read_bytes()


def test_the_probabilities_after_any_words_sum_to_one(tmp_path: Path) -> None:
    model = kenlm.Model(_fit(tmp_path / "m", [TEXTS], order=4))
    words = sorted({word for text in TEXTS for word in FORM.tokens(text)})
    for context in (["the"], ["the", "tide"], ["a", "gull", "before"], ["never", "seen"], []):
        state, after = kenlm.State(), kenlm.State()
        model.BeginSentenceWrite(state)
        for word in context:
            model.BaseScore(state, word, after)
            state, after = after, kenlm.State()
        total = sum(10 ** model.BaseScore(state, word, after) for word in [*words, "</s>", "<unk>"])
        assert total == pytest.approx(1.0, abs=1e-4)


def test_one_word_once_by_hand(tmp_path: Path) -> None:
    # "hi" and </s> are seen once each and keep half of it; the other half is shared by three words.
    path = str(tmp_path / "c.parquet")
    count_shard(["hi"], path, order=2, form=FORM)
    counts = merge_counts([path])
    one, two = estimate(counts)
    found = {counts.words[row[0]]: 10**p for row, p in zip(one.words, one.probability, strict=True)}
    assert found == pytest.approx({"<unk>": 1 / 6, "<s>": 1.0, "</s>": 5 / 12, "hi": 5 / 12})
    assert 10**two.probability == pytest.approx([0.5 + 0.5 * 5 / 12] * 2)
    after = {counts.words[row[0]]: 10**b for row, b in zip(one.words, one.backoff, strict=True)}
    assert after == pytest.approx({"<unk>": 1.0, "<s>": 0.5, "</s>": 1.0, "hi": 0.5})


def test_discounts_follow_equation_26_of_chen_and_goodman() -> None:
    counts = [1.0] * 40 + [2.0] * 12 + [3.0] * 5 + [4.0] * 3 + [9.0] * 7
    y = 40 / (40 + 2 * 12)
    assert discounts_of(counts) == pytest.approx((1 - 2 * y * 12 / 40, 2 - 3 * y * 5 / 12, 3 - 4 * y * 3 / 5))


@pytest.mark.parametrize("counts", [[1.0, 1.0, 2.0], [1.0] * 10 + [2.0] + [3.0] * 5, []])
def test_too_few_or_odd_counts_fall_back_to_fixed_discounts(counts: list[float]) -> None:
    assert discounts_of(counts) == FALLBACK


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
        merge_counts([str(tmp_path / "a"), str(tmp_path / "b")])


def test_a_count_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    count_shard(TEXTS, str(path), order=3, form=FORM)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"a\.parquet: not a whole file"):
        merge_counts([str(path)])


def test_text_without_a_word_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not one word"):
        _fit(tmp_path / "m", [["", " \n"]])


@pytest.mark.parametrize("order", [0, 7])
def test_an_order_out_of_range_is_refused(tmp_path: Path, order: int) -> None:
    with pytest.raises(ConfigError, match="order 1 to 6"):
        count_shard(TEXTS, str(tmp_path / "a"), order=order, form=FORM)
