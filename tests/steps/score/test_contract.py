"""What every scorer in the table promises, whatever it measures."""

from __future__ import annotations

import math
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.models.encoder.head import Head, Settings, save_head
from curate.steps.score import CHAT_SCORERS, SCORERS
from curate.steps.score.scorer import Columns, ConversationScorer, Scorer
from curate.steps.score.step import score_batch
from curate.steps.train.dsir import log_weights
from curate.steps.train.dsir import write_model as write_dsir
from curate.text.batch import TextBatch
from curate.text.rules.hashed_ngrams import HashedNgrams

TEXTS = [
    "The garden was quiet.\nNobody knew that it would be back with the wind.\n\n- a point\n- another …",
    "",
    "Der Regen hatte aufgehört, und niemand wusste davon.",
    "日本語のテキストです。ภาษาไทย",
    "{ \x00 } \u200b\ufeff # # #",
    "word",
    "\n\n \n",
    "a " * 5000,
]
MODELS: dict[str, dict[str, str | int]] = {
    "causal_lm": {"model": "models/tiny-llama", "max_chars": 20_000, "stride": 1024},
    "language": {"model": "data/lid.176.ftz"},
    "quality": {"model": "data/lid.176.ftz", "label": "en"},
    "perplexity": {"model": "data/kenlm_test.arpa", "normaliser": "ccnet_spaced"},
}
Factory = Callable[[], Scorer]


@pytest.fixture(scope="session")
def models(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The arguments of each scorer that needs a model: a public one, or a small one made here."""
    known = {name: {k: str(shared / v) if k == "model" else v for k, v in MODELS[name].items()} for name in MODELS}
    ngrams = HashedNgrams("polynomial", 100)
    known["dsir"] = {"model": str(tmp_path_factory.mktemp("models") / "small.dsir")}
    counts = ngrams.count(TextBatch.of(TEXTS))
    write_dsir(known["dsir"]["model"], ngrams, log_weights(counts, np.ones_like(counts)))
    # A head over the small language model, as its training would write it.
    folder = tmp_path_factory.mktemp("models") / "classifier"
    save_head(str(folder), Head(np.linspace(-1, 1, 192), 2.5, Settings(0, 5, 3, 128)))
    shutil.copytree(shared / "models/tiny-llama", folder / "encoder", copy_function=shutil.copyfile)
    known["embedding"] = {"model": str(folder)}
    return known


@pytest.fixture(params=sorted(SCORERS))
def factory(request: pytest.FixtureRequest, models: dict[str, dict[str, str]]) -> Factory:
    return partial(SCORERS[request.param], **models.get(request.param, {}))


def plain(columns: Columns) -> dict[str, list[object]]:
    return {name: values.to_pylist() for name, values in columns.items()}


def test_one_value_a_row_and_never_nan(factory: Factory) -> None:
    for name, values in plain(factory()(TextBatch.of(TEXTS))).items():
        assert len(values) == len(TEXTS), name
        assert not any(isinstance(v, float) and not math.isfinite(v) for v in values), name


def test_an_empty_batch_has_the_same_columns_and_types(factory: Factory) -> None:
    scorer = factory()
    full, empty = scorer(TextBatch.of(TEXTS)), scorer(TextBatch.of([]))
    assert {n: v.type for n, v in full.items()} == {n: v.type for n, v in empty.items()}
    assert all(len(v) == 0 for v in empty.values())


def test_any_batching_gives_the_same_values(factory: Factory) -> None:
    scorer = factory()
    whole = plain(scorer(TextBatch.of(TEXTS)))
    for size in (1, 3):
        parts = [plain(scorer(TextBatch.of(TEXTS[i : i + size]))) for i in range(0, len(TEXTS), size)]
        assert whole == {name: [v for part in parts for v in part[name]] for name in whole}


def test_a_slice_of_an_array_and_both_string_widths_give_the_same_values(factory: Factory) -> None:
    scorer = factory()
    expected = plain(scorer(TextBatch.of(TEXTS[2:5])))
    for width in (pa.string(), pa.large_string()):
        assert plain(scorer(TextBatch(pa.array(TEXTS, width).slice(2, 3)))) == expected


def test_a_null_text_has_null_scores(factory: Factory) -> None:
    batch = pa.record_batch({"id": ["a", "b", "c"], "text": pa.array(["one word", None, "two words"])})
    row = score_batch({"s": factory()}, batch).to_pylist()[1]
    assert row.pop("id") == "b"
    assert set(row.values()) == {None}


def test_bytes_that_are_not_utf8_break_nothing(factory: Factory) -> None:
    broken = [b"caf\xe9 \xff\xfe", b"\xf0\x9f", b"\xe2\x80", b"fine", b"\x80\x80\x80 words \xc3"]
    texts = pa.array(broken, pa.binary()).view(pa.string())
    result = plain(factory()(TextBatch(texts)))
    assert all(len(values) == len(broken) for values in result.values())
    assert {n: v[3] for n, v in result.items()} == {
        n: v[0] for n, v in plain(factory()(TextBatch.of(["fine"]))).items()
    }


def test_a_factory_travels_to_workers(factory: Factory) -> None:
    again = pickle.loads(pickle.dumps(factory))
    assert plain(again()(TextBatch.of(TEXTS))) == plain(factory()(TextBatch.of(TEXTS)))


@pytest.mark.slow
def test_a_row_of_fifty_megabytes_is_scored(factory: Factory) -> None:
    text = "The quick brown fox jumps over the lazy dog, and that is all of it. " * 750_000
    result = plain(factory()(TextBatch.of(["short", text])))
    assert all(len(values) == 2 for values in result.values())


def test_no_splitter_runs_twice_over_a_batch_and_lines_are_found_once(models: dict[str, dict[str, str]]) -> None:
    batch = TextBatch.of(TEXTS)
    for name in SCORERS:
        SCORERS[name](**models.get(name, {}))(batch)
    assert batch.tokenisations["treebank"] == batch.tokenisations["lines"] == 1
    assert set(batch.tokenisations.values()) == {1}


CHATS = [
    [("user", "Name a colour."), ("assistant", "Blue is a colour.")],
    [],
    [("system", "Be brief."), ("user", "Wer ist da?"), ("assistant", "Niemand."), ("user", "漢?"), ("assistant", "é")],
    [("user", "Only asked.")],
    [("user", "A?"), ("assistant", "A")],
    [("user", "x"), ("assistant", " ")],
    [("user", "Say <|end|> <|pad|>"), ("assistant", "x")],
    [("assistant", "Hello, I begin."), ("tool", "{ \x00 }"), ("assistant", "# \u200b\ufeff")],
    [("user", "Go on."), ("assistant", "And on.")] * 100,
    [("user", "What comes next? " * 300), ("assistant", "A very long answer. " * 300)],
]
ChatFactory = Callable[[], ConversationScorer]


@pytest.fixture(params=sorted(CHAT_SCORERS))
def chat_factory(request: pytest.FixtureRequest, chat_models: dict[str, dict[str, str]]) -> ChatFactory:
    return partial(CHAT_SCORERS[request.param], **chat_models.get(request.param, {}))


@pytest.fixture(scope="session")
def chat_models(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The arguments of each scorer of conversations that needs a model."""
    tiny = str(shared / "models/tiny-llama")
    by_model = {name: {"model": tiny} for name in ("answer_loss", "ifd_loss", "ifd_ppl")}
    short = {"complexity_prompt": "{question}\n", "quality_prompt": "{question}\n{answer}\n"}
    deita = {"complexity": tiny, "quality": tiny, **short}
    return {
        **by_model,
        "deita": deita,
        "selectit": {"model": tiny, "prompts": ["{question}\n", "{question}\n{answer}\n"]},
        "reward": {"model": str(classifier(Path(tiny), tmp_path_factory.mktemp("reward")))},
    }


def classifier(lm: Path, folder: Path) -> Path:
    """A language model with a head that is all ones in place of its own."""
    import torch
    from transformers import AutoModelForSequenceClassification

    shutil.copytree(lm, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    torch.nn.init.ones_(model.score.weight)
    model.save_pretrained(folder)
    return folder


def test_the_two_tables_share_no_name() -> None:
    assert not SCORERS.keys() & CHAT_SCORERS.keys()


def test_a_conversation_has_finite_scores_or_none_with_a_reason(chat_factory: ChatFactory) -> None:
    found = plain(chat_factory()(ChatBatch.of(CHATS)))
    assert all(len(values) == len(CHATS) for values in found.values())
    assert not any(isinstance(v, float) and not math.isfinite(v) for values in found.values() for v in values)
    for i, score in enumerate(found[""]):
        assert (score is None) == (found.get("reason", [None] * len(CHATS))[i] is not None), CHATS[i]


def test_no_conversations_have_the_same_columns_and_types(chat_factory: ChatFactory) -> None:
    scorer = chat_factory()
    full, empty = scorer(ChatBatch.of(CHATS)), scorer(ChatBatch.of([]))
    assert {n: v.type for n, v in full.items()} == {n: v.type for n, v in empty.items()}
    assert all(len(v) == 0 for v in empty.values())


def test_any_batching_of_conversations_gives_the_same_values(chat_factory: ChatFactory) -> None:
    scorer = chat_factory()
    whole = plain(scorer(ChatBatch.of(CHATS)))
    for size in (1, 3):
        parts = [plain(scorer(ChatBatch.of(CHATS[i : i + size]))) for i in range(0, len(CHATS), size)]
        assert whole == {name: [v for part in parts for v in part[name]] for name in whole}
    assert plain(scorer(ChatBatch(ChatBatch.of(CHATS).column.slice(2, 3)))) == {n: v[2:5] for n, v in whole.items()}


def test_null_messages_count_as_no_turns(chat_factory: ChatFactory) -> None:
    null, empty = pa.array([None], MESSAGES), pa.array([[]], MESSAGES)
    assert plain(chat_factory()(ChatBatch(null))) == plain(chat_factory()(ChatBatch(empty)))


def test_a_factory_of_a_conversation_scorer_travels_to_workers(chat_factory: ChatFactory) -> None:
    again = pickle.loads(pickle.dumps(chat_factory))
    assert plain(again()(ChatBatch.of(CHATS[:3]))) == plain(chat_factory()(ChatBatch.of(CHATS[:3])))


def test_an_answer_of_a_megabyte_is_scored(chat_factory: ChatFactory) -> None:
    long = [("user", "Say it."), ("assistant", "The quick brown fox jumps over the lazy dog. " * 22_000)]
    found = plain(chat_factory()(ChatBatch.of([CHATS[0], long])))
    assert found[""][1] is not None or found["reason"][1] == "over-context"
    assert {n: v[0] for n, v in found.items()} == {
        n: v[0] for n, v in plain(chat_factory()(ChatBatch.of(CHATS[:1]))).items()
    }
