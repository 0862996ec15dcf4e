"""IFD and the loss of answers against transformers, one row at a time."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from curate.core.chat.messages import ChatBatch, Conversation, Turn, to_arrow
from curate.core.errors import ConfigError
from curate.steps.score import CHAT_SCORERS
from tests.steps.select.pools import dolly, read_rows

pytest.importorskip("transformers")

GOLDEN: Conversation = (Turn("user", "Name a colour."), Turn("assistant", "Blue is a colour of the sky."))
CHAT: Conversation = (
    Turn("system", "Be brief."),
    Turn("user", "Who wrote it?"),
    Turn("assistant", "Nobody knows."),
    Turn("user", "And where?"),
    Turn("assistant", "In the garden, with the wind."),
)


class ByHand:
    """Losses as transformers gives them, by the words of the definitions alone."""

    def __init__(self, folder: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def losses(self, ids: list[int]) -> list[float]:
        """Of every token but the first."""
        import torch

        with torch.inference_mode():
            logs = torch.log_softmax(self._model(torch.tensor([ids])).logits[0].double(), -1)
        return [-float(logs[i, token]) for i, token in enumerate(ids[1:])]

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt(self, turns: Conversation) -> list[int]:
        messages = [turn._asdict() for turn in turns]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self.ids(text)

    def answers(self, chat: Conversation) -> list[tuple[list[int], list[int]]]:
        """The tokens before each answer, and its own."""
        found = []
        for number, turn in enumerate(chat):
            if turn.role == "assistant":
                before = self.prompt(chat[:number])
                header, *own = self.ids(f"<|assistant|>\n{turn.content}")[1:]
                assert header == before[-1]  # no token reaches from the header into the answer
                found.append((before, own))
        return found


def given(hand: ByHand, chat: Conversation) -> list[float]:
    return [loss for before, own in hand.answers(chat) for loss in hand.losses(before + own)[len(before) - 1 :]]


def scores(name: str, folder: str, chats: list[Conversation], **args: object) -> list[dict[str, float]]:
    columns = CHAT_SCORERS[name](model=folder, **args)(ChatBatch(to_arrow(chats)))
    lists = {key: values.to_pylist() for key, values in columns.items()}
    return [{key: values[i] for key, values in lists.items()} for i in range(len(chats))]


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models/tiny-llama")


@pytest.fixture(scope="module")
def hand(folder: str) -> ByHand:
    return ByHand(folder)


@pytest.fixture(scope="module")
def chats(shared: Path) -> list[Conversation]:
    """Real questions and answers, a chat of several turns and short answers."""
    return [*(each for each in dolly(shared, 24) if len(each[1].content) < 1500), CHAT, GOLDEN]


def test_golden_rows(folder: str) -> None:
    (loss,) = scores("ifd_loss", folder, [GOLDEN])
    (ppl,) = scores("ifd_ppl", folder, [GOLDEN])
    (answer,) = scores("answer_loss", folder, [GOLDEN])
    for row, tokens in ((loss, 11), (ppl, 11), (answer, 12)):
        assert (row.pop("tokens"), row.pop("cut"), row.pop("reason")) == (tokens, 0, None)
    assert loss == pytest.approx({"": 0.926952, "conditioned": 3.089968, "alone": 3.333472}, rel=1e-5)
    assert ppl == pytest.approx({"": 0.411810, "conditioned": 21.976375, "alone": 53.365276}, rel=1e-5)
    expected = {"": 3.017360, "perplexity": 20.437276, "question_perplexity": 18.863458}
    assert answer == pytest.approx(expected, rel=1e-5)


def test_ifd_loss_is_the_loss_given_the_question_over_that_given_the_response_prefix(
    folder: str, hand: ByHand, chats: list[Conversation]
) -> None:
    for chat, row in zip(chats, scores("ifd_loss", folder, chats), strict=True):
        prefix = hand.ids("<|bos|><|assistant|>\n")
        alone = [x for _, own in hand.answers(chat) for x in hand.losses(prefix + own)[len(prefix) - 1 :]]
        assert row["tokens"] == len(alone)
        assert row["conditioned"] == pytest.approx(np.mean(given(hand, chat)), abs=1e-5)
        assert row["alone"] == pytest.approx(np.mean(alone), abs=1e-5)
        assert row[""] == pytest.approx(np.mean(given(hand, chat)) / np.mean(alone), abs=1e-5)
        assert row["reason"] is None


def test_ifd_ppl_is_the_perplexity_given_the_question_over_that_given_nothing(
    folder: str, hand: ByHand, chats: list[Conversation]
) -> None:
    for chat, row in zip(chats, scores("ifd_ppl", folder, chats), strict=True):
        alone = [x for _, own in hand.answers(chat) for x in hand.losses(own)]
        mean = float(np.mean(given(hand, chat)))
        assert row["tokens"] == len(alone) + len(hand.answers(chat))
        assert row["conditioned"] == pytest.approx(math.exp(mean), rel=1e-5)
        assert row["alone"] == pytest.approx(math.exp(np.mean(alone)), rel=1e-5)
        assert row[""] == pytest.approx(math.exp(mean - np.mean(alone)), rel=1e-5)


def test_answer_loss_is_that_of_all_supervised_tokens(folder: str, hand: ByHand, chats: list[Conversation]) -> None:
    for chat, row in zip(chats, scores("answer_loss", folder, chats), strict=True):
        ids = hand.prompt(chat)[:-2]  # without the header of a next answer
        losses = hand.losses(ids)
        marks = np.zeros(len(ids), np.bool_)
        for before, own in hand.answers(chat):
            marks[len(before) : len(before) + len(own) + 1] = True  # and the token that ends it
        of = np.array(losses)
        assert row["tokens"] == marks.sum()
        assert row[""] == pytest.approx(of[marks[1:]].mean(), abs=1e-5)
        assert row["perplexity"] == pytest.approx(math.exp(of[marks[1:]].mean()), rel=1e-5)
        assert row["question_perplexity"] == pytest.approx(math.exp(of[~marks[1:]].mean()), rel=1e-5)


@pytest.mark.parametrize("name", ["ifd_loss", "ifd_ppl", "answer_loss"])
def test_the_number_of_tokens_at_once_and_the_order_change_no_bit(
    name: str, folder: str, chats: list[Conversation]
) -> None:
    together = scores(name, folder, chats, batch_tokens=100_000)
    assert scores(name, folder, chats[::-1], batch_tokens=1)[::-1] == together


def test_an_answer_of_one_token_has_no_perplexity_alone(folder: str) -> None:
    one = (Turn("user", "A or B?"), Turn("assistant", "A"))
    (ppl,) = scores("ifd_ppl", folder, [one])
    assert ppl == {"": None, "conditioned": None, "alone": None, "tokens": 1, "cut": 0, "reason": "one-token-answer"}
    (loss,) = scores("ifd_loss", folder, [one])
    assert loss["tokens"] == 1 and loss[""] > 0 and loss["reason"] is None


def test_what_cannot_be_scored_is_null_and_says_why(folder: str) -> None:
    late = (Turn("user", "word " * 50), Turn("assistant", "yes"))
    for name in ("ifd_loss", "ifd_ppl", "answer_loss"):
        rows = scores(name, folder, [(Turn("user", "Hi"),), late, GOLDEN, ()], context=32)
        assert [row["reason"] for row in rows] == ["no-answer", "no-supervised-token", None, "empty-conversation"]
        assert [row[""] is None for row in rows] == [True, True, False, True]


def test_an_answer_that_the_context_cuts_is_scored_as_far_as_it_reaches(folder: str, hand: ByHand) -> None:
    long = (Turn("user", "Tell."), Turn("assistant", "The garden was quiet. " * 20))
    (row,) = scores("ifd_loss", folder, [long], context=32)
    ((before, own),) = hand.answers(long)
    assert row["cut"] == len(before) + len(own) + 2 - 32
    assert row["conditioned"] == pytest.approx(np.mean(hand.losses((before + own)[:32])[len(before) - 1 :]), abs=1e-5)


def test_a_question_that_helps_lowers_both_scores(folder: str) -> None:
    repeated = (Turn("user", "Repeat: purple gardens sleep loudly"), Turn("assistant", "purple gardens sleep loudly"))
    other = (Turn("user", "What is the capital of France?"), Turn("assistant", "purple gardens sleep loudly"))
    for name in ("ifd_loss", "ifd_ppl"):
        helped, not_helped = scores(name, folder, [repeated, other])
        assert helped[""] < not_helped[""]


def test_the_response_prefix_is_that_of_the_template(folder: str, hand: ByHand, tmp_path: Path) -> None:
    own = hand.ids("Blue is a colour of the sky.")
    (named,) = scores("ifd_loss", folder, [GOLDEN], template="alpaca")
    prefix = hand.ids("<|bos|>### Response:\n")
    assert named["alone"] == pytest.approx(np.mean(hand.losses(prefix + own)[len(prefix) - 1 :]), abs=1e-5)
    # A template that writes neither a first token nor a prefix: the model's first token stands there.
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, copy_function=shutil.copyfile)
    content = "{{ '[' + m['content'] + ']' if m['role'] == 'user' else m['content'] + eos_token }}"
    (bare / "chat_template.jinja").write_text("{% for m in messages %}" + content + "{% endfor %}")
    (row,) = scores("ifd_loss", str(bare), [GOLDEN])
    assert row["alone"] == pytest.approx(np.mean(hand.losses([0, *own])), abs=1e-5)
    assert row["conditioned"] == pytest.approx(
        np.mean(hand.losses(hand.ids("[Name a colour.]") + own)[-len(own) :]), abs=1e-5
    )


def test_a_token_that_nothing_stands_before_is_not_scored(folder: str, tmp_path: Path, hand: ByHand) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, copy_function=shutil.copyfile)
    only_answers = "{% for m in messages if m['role'] == 'assistant' %}{{ m['content'] }}{% endfor %}"
    (bare / "chat_template.jinja").write_text(only_answers)
    own = hand.ids("Blue is a colour.")
    chats = [(Turn("user", "?"), Turn("assistant", answer)) for answer in ("Blue is a colour.", "A")]
    for name in ("ifd_loss", "ifd_ppl", "answer_loss"):
        rows = scores(name, str(bare), chats)
        assert [row["tokens"] for row in rows] == [len(own) - 1, 0]
        assert [row["reason"] for row in rows] == [None, "no-supervised-token"]
        assert rows[0].get("conditioned", rows[0][""]) == pytest.approx(
            math.exp(np.mean(hand.losses(own))) if name == "ifd_ppl" else np.mean(hand.losses(own)), rel=1e-5
        )


@pytest.mark.slow
def test_the_published_selection_by_ifd_is_found_by_a_small_model(shared: Path, folder: str) -> None:
    every = read_rows(shared / "data" / "instruct_alpaca_union_nc.dev.jsonl.zst", 21_000)
    chosen = [row for row in every if row["in_cherry_ifd_top5pct"]][:50]
    others = [row for row in every if row["in_random9k"] and not row["in_cherry_ifd_top5pct"] and row["output"]][:50]
    chats = [
        (Turn("user", f"{row['instruction']}\n\n{row['input']}".strip()), Turn("assistant", row["output"]))
        for row in [*chosen, *others]
    ]
    found = [row[""] for row in scores("ifd_loss", folder, chats)]
    higher = [(a > b) + (a == b) / 2 for a in found[:50] for b in found[50:]]
    assert np.mean(higher) > 0.65  # 0.81 on 400 rows, with a standard error of 0.05 on these


def test_a_gpu_gives_the_same_to_1e_5(folder: str, chats: list[Conversation]) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    for name in ("ifd_loss", "answer_loss"):
        on = [[row[""] for row in scores(name, folder, chats, device=device)] for device in ("cpu", "cuda")]
        assert on[1] == pytest.approx(on[0], abs=1e-5)


def test_a_number_out_of_range_is_refused(folder: str) -> None:
    for name in ("ifd_loss", "ifd_ppl", "answer_loss"):
        with pytest.raises(ConfigError, match="batch_tokens 0 is below 1"):
            CHAT_SCORERS[name](model=folder, batch_tokens=0)
