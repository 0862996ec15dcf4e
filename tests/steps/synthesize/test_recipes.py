"""What holds of every recipe that comes with Curate: prompts over HTTP, answers good and bad, rows and their outcomes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.core.dataset import Dataset
from curate.generate.ledger import entries
from curate.generate.recorded import find_ledgers
from curate.steps.synthesize.recipe import FUNCTIONS, load_recipe, names
from tests.helpers import ROOT
from tests.llm.server import serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.recipe_answers import BAD, given
from tests.steps.synthesize.recipe_runs import EVERY, SOURCES, case, inputs, outcomes, paragraphs, rows, write

PAGE = ROOT / "docs/recipes.md"
# Why a bad answer keeps a row out: by the form of the answer, and where a recipe is unlike the others.
ALWAYS = {"empty": "empty", "cut": "cut-off", "refusal": "refusal", "spaces": "runaway"}
JSON = {**ALWAYS, "form": "not-json", "schema": "schema", "echo": "not-json"}
FORM = {**ALWAYS, "form": "form", "schema": "form", "echo": "form"}
REASONS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(SOURCES["documents"] + SOURCES["tasks"] + SOURCES["chats"], FORM),
    **dict.fromkeys(("classification", "query_rewrite"), JSON),
    # Of so few tokens as it may say, white space is too short to be a loop, and the prompt does not fit in.
    "label": {**JSON, "spaces": "empty", "echo": "cut-off"},
    # Its answers have no form that could be wrong.
    "distill": {**ALWAYS, "echo": "copied-prompt"},
}


def test_every_recipe_is_run_here() -> None:
    assert sorted([*EVERY, "magpie", "self_instruct"]) == names()


@pytest.mark.parametrize("name", names())
def test_a_recipe_says_from_what_to_what_in_a_line(name: str) -> None:
    params = {"labels": ["a", "b"]} if name == "label" else {}
    recipe = load_recipe(name, params)
    assert recipe.name == name
    assert " -> " in recipe.about and "\n" not in recipe.about and len(recipe.about) < 150


@pytest.mark.parametrize("name", EVERY)
def test_the_outcomes_of_a_recipe_add_up_to_its_rows(made: tuple[Path, dict[str, Dataset]], name: str) -> None:
    _, done = made
    rows_out = outcomes(done[name])
    assert [each["id"] for each in rows_out] == list(inputs(done, name))
    counts = done[name].manifest.counts
    kinds = Counter(each["fate"] + (f":{each['reason']}" if each["reason"] else "") for each in rows_out)
    assert kinds == {key: n for key, n in counts.items() if key.partition(":")[0] in ("accepted", "rejected")}
    assert sum(each["rows"] for each in rows_out) == done[name].rows > 0
    lost = Counter(f"filtered:{lost['reason']}" for each in rows_out for lost in each["dropped"])
    assert lost == {key: n for key, n in counts.items() if key.startswith("filtered:")}


@pytest.mark.parametrize("name", EVERY)
def test_a_bad_answer_keeps_its_row_out_and_says_why(made: tuple[Path, dict[str, Dataset]], name: str) -> None:
    _, done = made
    entered = inputs(done, name)
    if name == "rephrase":  # where a row of another bucket is asked nothing
        entered = {key: row for key, row in entered.items() if row["bucket"] != "medium"}
    found = {
        case(entered[each["id"]]["said"]): each["reason"]
        for each in outcomes(done[name])
        if each["id"] in entered and case(entered[each["id"]]["said"]) in BAD
    }
    expected = {kind: REASONS[name].get(kind) for kind in found}
    assert found == expected
    assert name == "rephrase" or len(found) == len(BAD)


@pytest.mark.parametrize("name", EVERY)
def test_a_row_with_a_good_answer_is_accepted(made: tuple[Path, dict[str, Dataset]], name: str) -> None:
    _, done = made
    entered = inputs(done, name)
    rows_out = {each["fate"] for each in outcomes(done[name]) if not case(entered[each["id"]]["said"])}
    assert rows_out == ({"accepted", "rejected"} if name == "rephrase" else {"accepted"})


@pytest.mark.parametrize("name", names())
def test_a_made_row_tells_its_parents_and_the_request_it_stands_in(
    made: tuple[Path, dict[str, Dataset]], name: str
) -> None:
    folder, done = made
    on_record = {
        entry.key: orjson.loads(entry.response)
        for path in find_ledgers(str(folder))
        if Path(path).parent.name.startswith(f"{name}.")
        for entry in entries(path)
    }
    found = rows(done[name])
    assert len({row["id"] for row in found}) == len(found)
    for row in found:
        assert (row["recipe"], row["model"], row["finish"]) == (name, "teacher", "stop")
        assert row["request"] in on_record
    # The answer on record holds the words of the row.
    row = found[-1]
    text = row["text"] if "text" in row else row["messages"][-1]["content"]
    said = orjson.dumps(on_record[row["request"]]).decode()
    if name != "label":
        assert text.split()[-1].strip("*.") in said


def test_the_page_of_recipes_lists_each_as_it_says_of_itself() -> None:
    page = PAGE.read_text()
    for name in names():
        recipe = load_recipe(name, {"labels": ["a", "b"]} if name == "label" else {})
        assert f"| `{name}` | {recipe.about} | " in page
    for function in FUNCTIONS:
        assert f"`{function}(" in page


def test_the_recipe_on_the_page_works(shared: Path, tmp_path: Path) -> None:
    (recipe,) = re.findall(r"^```yaml\n(name: headlines.*?)^```", PAGE.read_text(), re.M | re.S)
    (tmp_path / "headlines.yaml").write_text(recipe)
    texts = paragraphs(shared, 4)
    write(tmp_path / "articles.jsonl", [{"text": text} for text in texts])

    def newspaper(body: dict[str, Any]) -> str:
        asked = body["messages"][-1]["content"]
        if "bear out the headline" in asked:
            return "Yes." if "Rain" in asked else "No, it says nothing of it."
        proof = " ".join(given(asked).split()[:9])
        return "".join(
            f"<headline>{headline}</headline>\n<proof>{quote}</proof>\n"
            for headline, quote in [
                ("Rain in the north", proof),
                ("Sun in the south", proof),
                ("Rain over all of it", "nobody wrote this"),
            ]
        )

    with serve(answer=newspaper) as server:
        done = run_yaml(
            tmp_path / "run",
            f"""
name: page
endpoints: {{large: {{url: "{server.url}", model: teacher}}}}
steps:
  articles: {{read: {{path: {tmp_path}/articles.jsonl}}}}
  made: {{synthesize: {{from: articles, recipe: {tmp_path}/headlines.yaml, model: large, set: {{tone: cheerful}}}}}}
""",
        )
    found = rows(done["made"])
    assert [row["text"] for row in found] == ["Rain in the north"] * 4
    assert all(row["proof"] in " ".join(text.split()) for row, text in zip(found, texts, strict=True))
    counts = done["made"].manifest.counts
    assert (counts["filtered:not-borne-out"], counts["filtered:not-grounded"]) == (4, 4)
