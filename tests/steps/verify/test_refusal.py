from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard

from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.refusal import copied_prompt, copies_prompt, is_refusal, refusal


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "As an AI language model, I don't have personal opinions.",
        "Unfortunately, I cannot provide medical advice.",
        "I'm sorry, but as an AI I am not able to do this.",
        "I am unable to answer this question.",
        "Sorry, I can't do that.",
        "I must decline.",
        "I apologize, but I cannot fulfill this request.",
        "It would not be appropriate for me to say.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Leider kann ich Ihnen dabei nicht helfen.",
        "Als KI-Sprachmodell kann ich keine Meinung haben.",
        "Ich kann diese Frage leider nicht beantworten.",
        "Tut mir leid, das kann ich nicht tun.",
        "Désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudarte.",
        "I cannot help you with this. " + "What I may say is that there are many books about it. " * 20,
    ],
)
def test_an_answer_that_declines_is_a_refusal(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I can't wait to see you!",
        "I'm sorry to hear that. Here is what you can do.",
        "You can't help him.",
        "Whenever I hear music I can't help but smile.",
        "Dear Sir, I am sorry that we cannot attend the wedding.",
        "Es tut mir leid, das zu hören. Hier ist ein Plan.",
        "Ich kann nicht schlafen, was soll ich tun?",
        "Leider regnet es heute.",
        # A long text that has one in it.
        "There are many ways to say no. " * 20 + "I cannot help you with this.",
    ],
)
def test_an_answer_with_some_of_the_same_words_is_not(text: str) -> None:
    assert not is_refusal(text)


def test_answers_that_people_wrote_are_no_refusals(shared: Path) -> None:
    with zstandard.open(shared / "data/instruct_dolly3k.dev.jsonl.zst", "rt", encoding="utf-8") as lines:
        rows = [{"text": orjson.loads(line)["output"]} for line in lines]
    assert sum(refusal()(VerifyBatch.of(rows))[""].to_pylist()) == 0


PROMPT = (
    "Rewrite the given text so that a child of seven years will understand each word of it, and keep all the facts."
)


def test_the_share_of_a_text_that_is_in_long_runs_of_its_prompt() -> None:
    run = "a child of seven years will understand each word of it, and keep"  # 13 words
    batch = VerifyBatch.of(
        [
            {"text": PROMPT.upper(), "prompt": PROMPT},
            {"text": f"Now {run} on", "prompt": PROMPT},
            {"text": "a child of seven years will understand", "prompt": PROMPT},
            {"text": "", "prompt": PROMPT},
            {"text": "Well", "prompt": None},
            {"text": None, "prompt": PROMPT},
            {"text": "[/INST] Well", "prompt": PROMPT},
        ]
    )
    found = {name: values.to_pylist() for name, values in copied_prompt()(batch).items()}
    assert found[""] == [1.0, pytest.approx(13 / 15), 0.0, 0.0, None, None, 0.0]
    assert found["marker"] == [False, False, False, False, False, None, True]


def test_a_text_that_gives_the_prompt_back_copies_it() -> None:
    assert copies_prompt("Sure! " + PROMPT, PROMPT)
    assert copies_prompt("#given prompt#: Name a colour.", PROMPT)
    assert not copies_prompt("A cat sat on a mat.", PROMPT)
    assert not copies_prompt("", "")
