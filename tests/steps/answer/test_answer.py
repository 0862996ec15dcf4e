"""The `answer` step: what a local model says to the last question, the same in any company."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from curate.core.chat.messages import Conversation, Turn
from curate.core.config import BadValue, validate
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.errors import ConfigError
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.models.lm.chat_encode import Refused
from curate.models.lm.chat_model import ChatModel, load_chat_model
from curate.steps.answer import step as module
from curate.steps.answer.step import VERSION, AnswerConfig, answer, question, run
from tests.helpers import rows, tree
from tests.steps.select.pools import beside, dolly, flan, pool

HI, HELLO, BYE = Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Bye")


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models" / "tiny-llama")


@pytest.fixture(scope="module")
def chat(folder: str) -> ChatModel:
    return load_chat_model(folder, template=None, context=None, device="cpu")


def answered(
    at: Path,
    inputs: dict[str, Dataset],
    model: str,
    workers: int = 1,
    *,
    keep_going: bool = False,
    piece_rows: int = module.PIECE_ROWS,
    **config: object,
) -> Dataset:
    """The output of an `answer` step."""
    value = {"from": [*inputs], "model": model, "max_tokens": 8, **config}
    parsed = validate(AnswerConfig, value, ("steps", "answers", "answer"))  # type: ignore[arg-type]
    roles = {role: inputs[name] for role, name in parsed.inputs().items()}
    made = functools.partial(run, config=parsed, piece_rows=piece_rows)
    step = Step("answers", "answer", VERSION, parsed.identity(), roles, {"model": model}, made)
    return execute(step, str(at / "run"), LocalEngine(), Resources(workers, keep_going=keep_going), Progress("quiet"))


def said(chat: ChatModel, asked: Conversation, most: int) -> str:
    """The token with the top logprob, and again, by one pass over the whole text for each: no cache, batch or padding."""
    ids = chat.encode.prompt(asked)
    assert not isinstance(ids, Refused)
    text = torch.from_numpy(ids.astype(np.int64))[None]
    begin = text.shape[1]
    for _ in range(most):
        with torch.no_grad():
            following = chat.lm.model(input_ids=text).logits[0, -1].argmax()
        if int(following) in chat.encode.special:
            break
        text = torch.cat([text, following[None, None]], dim=1)
    return str(chat.encode.tokenizer.decode(text[0, begin:].tolist())).strip()  # type: ignore[attr-defined]


def test_an_answer_is_the_likeliest_token_after_token_alone_or_in_company(shared: Path, chat: ChatModel) -> None:
    asked = [question(each) for each in [*dolly(shared, 6), *flan(shared, "creak", 2)]]
    together = answer(chat, asked, max_tokens=20, batch_tokens=4096)
    apart = answer(chat, asked, max_tokens=20, batch_tokens=1)
    assert together == apart
    for one, turns in zip(together, asked, strict=True):
        assert not isinstance(one, Refused) and not isinstance(turns, Refused)
        assert one[0] == (*turns, Turn("assistant", said(chat, turns, 20)))
    lengths = {each[1] for each in together if not isinstance(each, Refused)}
    assert max(lengths) == 20 and min(lengths) < 20  # some are cut, and some end their turn before


def test_the_last_question_is_asked_again(chat: ChatModel) -> None:
    assert question((HI, HELLO)) == (HI,)
    assert question((HI, HELLO, BYE, HELLO)) == (HI, HELLO, BYE)
    assert question((HI, HELLO, BYE)) == (HI, HELLO, BYE)
    for none in ((), (HELLO,), (HI, HELLO, HELLO)):
        assert isinstance(found := question(none), Refused) and found.reason == "no-question"


def test_the_rows_ids_and_shards_stay_and_every_row_without_an_answer_has_a_reason(
    shared: Path, tmp_path: Path, folder: str
) -> None:
    odd: list[Conversation] = [(HELLO,), (Turn("user", "word " * 1100), HELLO), (Turn("user", "a <|end|> b"), HELLO)]
    docs = pool(tmp_path / "docs", [*dolly(shared, 3), *odd, (HI, HELLO)])
    kept = beside(tmp_path / "kept", docs, {"keep": [True, False, True, True, True, True, None]}, step="kept")
    made = answered(tmp_path, {"docs": docs, "kept": kept}, folder)
    found = rows(made)
    assert [row["id"] for row in found] == [row["id"] for row in rows(docs)]
    assert [shard.name for shard in made.shards] == [shard.name for shard in docs.shards]
    reasons = [row["reason"] for row in found]
    assert reasons == [None, "not-kept", None, "no-question", "prompt-too-long", "special-token", "not-kept"]
    for row, old in zip(found, rows(docs), strict=True):
        assert row["answered"] == (row["reason"] is None) == (row["messages"] is not None)
        if row["answered"]:
            assert row["messages"][:-1] == old["messages"][:-1] and row["messages"][-1]["role"] == "assistant"  # type: ignore[index]
            assert row["messages"][-1] != old["messages"][-1] and 0 < row["tokens"] <= 8  # type: ignore[index, operator]
    assert made.manifest.counts["answered"] == 2 and made.manifest.counts["refused:not-kept"] == 2


def test_a_shard_without_rows_stays(shared: Path, tmp_path: Path, folder: str) -> None:
    made = answered(tmp_path, {"docs": pool(tmp_path / "docs", [])}, folder)
    assert rows(made) == [] and len(made.shards) == 1 and "messages" in made.schema().names


def test_an_answer_may_be_empty(shared: Path, tmp_path: Path, folder: str) -> None:
    silent = tmp_path / "silent"
    shutil.copytree(folder, silent, copy_function=shutil.copyfile)
    silent.chmod(0o755)
    weights = load_file(silent / "model.safetensors")
    # All tokens are as likely, so the first is taken, which is special.
    weights["model.norm.weight"].zero_()
    save_file(weights, silent / "model.safetensors", {"format": "pt"})
    (row,) = rows(answered(tmp_path, {"docs": pool(tmp_path / "docs", dolly(shared, 1))}, str(silent)))
    assert row["answered"] and row["tokens"] == 0 and row["messages"][-1] == {"role": "assistant", "content": ""}  # type: ignore[index]


def test_a_model_that_gives_no_number_answers_nothing(shared: Path, tmp_path: Path, folder: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken, copy_function=shutil.copyfile)
    broken.chmod(0o755)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="broken: the model gives a token no finite logit"):
        answered(tmp_path, {"docs": pool(tmp_path / "docs", dolly(shared, 1))}, str(broken))


def test_what_a_models_makers_set_for_generation_is_not_taken(shared: Path, tmp_path: Path, folder: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other, copy_function=shutil.copyfile)
    other.chmod(0o755)
    (other / "generation_config.json").write_text('{"repetition_penalty": 9.0, "do_sample": true, "eos_token_id": 1}')
    docs = pool(tmp_path / "docs", dolly(shared, 3))
    one, two = (answered(tmp_path / name, {"docs": docs}, at) for name, at in (("1", folder), ("2", str(other))))
    assert rows(one) == rows(two)


@pytest.mark.slow
def test_two_workers_and_a_run_that_was_stopped_give_the_same_bytes(
    shared: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 12), shards=2)
    one = answered(tmp_path / "one", {"docs": docs}, folder, piece_rows=4)
    two = answered(tmp_path / "two", {"docs": docs}, folder, workers=2, piece_rows=4)
    assert tree(Path(one.folder)) == tree(Path(two.folder))
    calls = []

    def stopped(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "answer", stopped)
    with pytest.raises(KeyboardInterrupt):
        answered(tmp_path / "again", {"docs": docs}, folder, piece_rows=4)
    again = answered(tmp_path / "again", {"docs": docs}, folder, piece_rows=4)
    assert len(calls) == 4 + 1  # two pieces a shard, and once more the one that was stopped
    assert tree(Path(again.folder)) == tree(Path(one.folder))


def test_a_shard_with_a_piece_that_failed_is_listed_once_and_whole(
    shared: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 6), shards=2)
    calls = []

    def failing(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise ValueError("no answer from here")
        return answer(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "answer", failing)
    out = answered(tmp_path, {"docs": docs}, folder, keep_going=True, piece_rows=2, max_tokens=1)
    assert [(each.shard, each.rows) for each in out.manifest.failed] == [("part-00000.parquet", 3)]
    assert (out.manifest.rows_in, [row["id"] for row in rows(out)]) == (6, ["00003", "00004", "00005"])


def test_one_dataset_of_conversations_is_answered_and_a_template_is_known(
    shared: Path, tmp_path: Path, folder: str
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 2))
    more = pool(tmp_path / "more", dolly(shared, 3), step="more")
    with pytest.raises(ConfigError, match="answers one dataset of conversations"):
        answered(tmp_path, {"docs": docs, "more": more}, folder)
    with pytest.raises(BadValue, match="did you mean 'alpaca'"):
        answered(tmp_path, {"docs": docs}, folder, template="alpacca")
