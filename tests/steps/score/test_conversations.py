"""The score step over conversations: which scorers read what, and what is refused."""

from __future__ import annotations

import functools
from pathlib import Path

import pyarrow as pa
import pytest

from curate.core.chat.messages import MESSAGES, Conversation, Turn, part
from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.explain.row import explain_row
from curate.steps.score import SCORERS
from curate.steps.score import step as score
from curate.text.batch import TextBatch
from tests.helpers import dataset, rows, tree
from tests.steps.select.pools import dolly, pool

CHATS: list[Conversation] = [
    (Turn("system", "BE BRIEF."), Turn("user", "Who?"), Turn("assistant", "NOBODY"), Turn("user", "oh")),
    (Turn("user", "Name a colour."), Turn("assistant", "Blue is a colour.")),
]


def run(root: Path, data: Dataset, *, workers: int = 1, **entries: dict) -> Dataset:
    config = score.parse({"from": "pool", **entries}, ())
    run = functools.partial(score.run, config=config)
    step = Step("step", "score", score.VERSION, config.identity(), {"from": data}, config.models(), run)
    return execute(step, str(root), LocalEngine(), Resources(workers=workers), Progress("quiet"))


def test_scorers_of_texts_read_the_turns_all_or_of_one_side(tmp_path: Path) -> None:
    entries = {part: {"scorer": "markup", "column": part} for part in ("text", "question", "answer")}
    out = run(tmp_path, pool(tmp_path / "pool", CHATS, shards=2), **entries, all={"scorer": "markup"}, turns={})
    for row, chat in zip(rows(out), CHATS, strict=True):
        for which in ("text", "question", "answer"):
            expected = SCORERS["markup"]()(TextBatch.of([part(chat, which)]))["upper"][0].as_py()
            assert row[f"{which}_upper"] == expected
        assert row["all_upper"] == row["text_upper"]
        assert row["turns"] == len(chat)
    assert rows(out, ["question_upper", "answer_upper"])[0] == {
        "question_upper": pytest.approx(8 / 12),
        "answer_upper": 1.0,
    }


def test_other_columns_of_conversations_are_read_as_those_of_documents(tmp_path: Path) -> None:
    data = pool(tmp_path / "pool", CHATS, columns={"title": ["UP", None], "answer": ["never read", "lower"]})
    out = run(
        tmp_path,
        data,
        title={"scorer": "markup", "column": "title"},
        answer={"scorer": "markup", "column": "answer"},
    )
    assert [row["title_upper"] for row in rows(out)] == [1.0, None]
    assert rows(out)[0]["answer_upper"] == 1.0
    with pytest.raises(BadValue, match="no column 'titel'; did you mean 'title'"):
        run(tmp_path, data, title={"scorer": "markup", "column": "titel"})


def test_a_column_text_beside_messages_is_the_inputs_own(tmp_path: Path) -> None:
    data = pool(tmp_path / "pool", CHATS, columns={"text": ["aa", "bb"]})
    out = run(tmp_path, data, markup={}, turns={})
    assert [(row["markup_upper"], row["turns"]) for row in rows(out)] == [(0.0, 4), (0.0, 2)]


def test_null_messages_have_null_scores_of_text_and_no_turns(tmp_path: Path) -> None:
    table = pa.table({"messages": pa.array([None, []], MESSAGES), "source": ["x#0", "x#1"]})
    found = rows(run(tmp_path, dataset(tmp_path / "pool", table), markup={}, turns={}))
    assert [(row["markup_upper"], row["turns"]) for row in found] == [(None, 0), (0.0, 0)]


def test_scorers_of_conversations_refuse_documents_and_a_column(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"source": ["x#0"], "text": ["a"]})
    with pytest.raises(BadValue, match="turns: scores conversations, and the step docs holds documents; read it with"):
        run(tmp_path, docs, turns={})
    strings = dataset(tmp_path / "strings", {"source": ["x#0"], "messages": ["a"]})
    with pytest.raises(BadValue, match="scores conversations"):
        run(tmp_path, strings, turns={})
    with pytest.raises(BadValue, match=r"turns.column: turns reads the turns of conversations; remove the key"):
        score.parse({"from": "pool", "turns": {"column": "question"}}, ())
    with pytest.raises(BadValue, match="no scorer 'ifd_los'; did you mean 'ifd_loss'"):
        score.parse({"from": "pool", "ifd_los": {}}, ())


def test_the_model_bears_identity_by_its_content_and_resources_do_not() -> None:
    first = score.parse({"from": "pool", "ifd_ppl": {"model": "a", "device": "cpu", "batch_tokens": 1}}, ())
    assert first.models() == {"ifd_ppl.model": "a"}
    assert first.identity() == {"scorers": [["ifd_ppl", "ifd_ppl", {"template": None, "context": None}, "messages"]]}


def test_explain_reads_the_part_of_the_conversation_that_was_scored(shared: Path, tmp_path: Path) -> None:
    model = str(shared / "data/lid.176.ftz")
    data = pool(tmp_path / "pool", [(Turn("user", "Der Regen hat aufgehört."), Turn("assistant", "It has not."))])
    out = run(tmp_path, data, step={"scorer": "quality", "model": model, "label": "de", "column": "question"})
    path = tmp_path / "config.yaml"
    entry = f"{{scorer: quality, model: {model}, label: de, column: question}}"
    path.write_text(
        f"name: x\nsteps: {{pool: {{read: {{path: x}}}}, step: {{score: {{from: pool, step: {entry}}}}}}}\n"
    )
    explained = "\n".join(explain_row([data, out], "00000", str(path)))
    assert '"Der"' in explained and '"It"' not in explained and '"not"' not in explained


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(shared: Path, tmp_path: Path) -> None:
    model = {"model": str(shared / "models/tiny-llama")}
    data = pool(tmp_path / "pool", dolly(shared, 12), shards=3)
    for workers in (1, 2):
        run(tmp_path / str(workers), data, workers=workers, ifd_loss=model, ifd_ppl=model, answer_loss=model, turns={})
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
