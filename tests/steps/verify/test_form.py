from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.form import form, length, runaway, schema


def plain(columns) -> dict[str, list[object]]:  # type: ignore[no-untyped-def]
    return {name: values.to_pylist() for name, values in columns.items()}


def test_length_counts_words_and_code_points() -> None:
    batch = VerifyBatch.of([{"text": "Two wörds."}, {"text": ""}, {"text": None}, {"text": "漢字 👍"}])
    assert plain(length()(batch)) == {"words": [2, 0, None, 2], "chars": [10, 0, None, 4]}


@pytest.mark.parametrize(
    "text",
    [
        " " * 40_000,
        "Here it is:\n" + "\n \t" * 200,
        "the " * 40,
        "ha" * 300,
        "-" * 1000,
        "I like cats and dogs very much indeed today. " * 5,
        "好的谢谢" * 20,
        # A good answer that does not find its end.
        " ".join(f"word{i}" for i in range(2000)) + " and so it goes on and on, as was said before, again" * 4,
        # A loop that is not the same each time.
        "".join(f"{i}. The answer to the question that was asked above is given here. " for i in range(30)),
    ],
)
def test_a_text_that_loops_is_runaway(text: str) -> None:
    assert runaway(text)


@pytest.mark.parametrize("text", ["", "Ha ha ha!", "no, no, no, never", "| a | b |\n|---|---|\n| 1 | 2 |", "-" * 80])
def test_a_text_that_says_something_twice_is_not(text: str) -> None:
    assert not runaway(text)


def test_no_answer_that_people_wrote_is_runaway(shared: Path) -> None:
    with zstandard.open(shared / "data/instruct_dolly3k.dev.jsonl.zst", "rt", encoding="utf-8") as lines:
        answers = [orjson.loads(line)["output"] for line in lines]
    found = form(column="text")(VerifyBatch.of([{"text": text} for text in answers]))
    assert sum(found["runaway"].to_pylist()) == 0 < len(answers)
    assert found["cut"].null_count == len(answers)


def test_the_form_of_an_answer() -> None:
    batch = VerifyBatch.of(
        [
            {"text": " \n", "finish": "stop"},
            {"text": "An answer that is cut", "finish": "length"},
            {"text": "x" * 300, "finish": None},
            {"text": None, "finish": "stop"},
            {"text": "a b c d e f g h i a b c d e f g h", "finish": "stop"},
        ]
    )
    assert plain(form()(batch)) == {
        "empty": [True, False, False, None, False],
        "cut": [False, True, None, None, False],
        "runaway": [False, False, True, None, False],
        "repeated": [0.0, 0.0, 0.0, None, pytest.approx(4 / 13)],
        "loop": [0, 0, 300, None, 0],
    }


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_json_that_fits_the_schema_is_valid_and_other_text_has_an_error() -> None:
    rows = ['{"n": 1}', '{"n": "1"}', "{}", "```json", None, "NaN"]
    for given in (SCHEMA, orjson.dumps(SCHEMA).decode()):
        found = plain(schema(column="text", fits=given)(VerifyBatch.of([{"text": each} for each in rows])))
        assert found["valid"] == [True, False, False, False, None, False]
        errors = found["error"]
        assert errors[0] is errors[4] is None
        assert errors[1] == "$.n: '1' is not of type 'integer'"
        assert "'n' is a required property" in str(errors[2])
        assert str(errors[3]).startswith("not JSON: ")


@pytest.mark.parametrize("wrong", ["{", {"type": "thing"}, "[1]"])
def test_a_schema_that_is_not_one_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="schema: is not"):
        schema(column="text", fits=wrong)


def test_a_schema_fetches_nothing() -> None:
    with pytest.raises(ConfigError, match="refers to"):
        schema(column="text", fits={"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}})
    with pytest.raises(ConfigError, match="does not have"):
        schema(column="text", fits={"$ref": "#/$defs/nothing"})
