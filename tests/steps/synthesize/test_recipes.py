"""Every recipe that comes with Curate, end to end: prompts over HTTP, answers good and bad, rows and their fates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from curate.core import files
from curate.core.dataset import Dataset
from curate.core.shards import read_shard
from curate.generate.ledger import entries
from curate.generate.recorded import find_ledgers
from curate.steps.synthesize.recipe import FUNCTIONS, load_recipe, names
from curate.steps.synthesize.synthetic import OUTCOMES
from curate.text.overlap import rouge_l_f1
from tests import helpers
from tests.helpers import ROOT
from tests.llm.server import serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.recipe_answers import BAD, answer, given

Row = dict[str, Any]
PAGE = ROOT / "docs/recipes.md"
# Cases that are wrong for one recipe alone.
SPECIAL = ("same", "marker", "once", "short", "other")
SOURCES: Mapping[str, Sequence[str]] = {
    "documents": (
        "classification", "dialogue", "document_queries", "grounded_qa", "label", "paraphrase", "persona", "rephrase",
        "revise", "textbook",
    ),
    "tasks": ("evol_instruct", "more_like_this", "persona_related", "persona_tasks", "query_rewrite"),
    "chats": ("decompose", "distill", "revise_answer"),
}  # fmt: skip
FURTHER = {
    "label": "set: {labels: [HUM, NUM]}, ",
    "more_like_this": "shots: {from: tasks, count: 3, same: label}, ",
}
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


def real(shared: Path, name: str) -> list[Row]:
    with zstandard.open(shared / f"data/{name}.dev.jsonl.zst", "rb") as stream:
        return [orjson.loads(line) for line in stream.read().splitlines()]


def write(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def with_cases(texts: Sequence[str], *further: str) -> list[str]:
    """Texts, of which one is made to get each kind of bad answer, and each further case."""
    kinds = [*BAD, *further]
    return [f"Case {kinds[i]}: {text}" if i < len(kinds) else text for i, text in enumerate(texts)]


def paragraphs(shared: Path, count: int) -> list[str]:
    found = (part for row in real(shared, "hq_text") for part in row["text"].split("\n") if 400 < len(part) < 900)
    return [part for _, part in zip(range(count), found, strict=False)]


@pytest.fixture(scope="module")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Dataset]]]:
    """Every recipe, run once over real rows, as one pipeline."""
    folder = tmp_path_factory.mktemp("recipes")
    documents = [
        {
            "text": text,
            "label": f"speech {'ab'[i % 2]}",
            "bucket": ("low", "high", "medium")[i % 3],
            "critique": "The beginning is too long." if i % 2 else None,
        }
        for i, text in enumerate(with_cases(paragraphs(shared, 18), *SPECIAL))
    ]
    # A label of its own for each bad case, as a prompt of `classification` shows nothing else.
    for row in documents:
        case = row["text"].partition(" ")
        row["description"] = row["text"][:200] if case[0] == "Case" else "held before a parliament"
    write(folder / "documents.jsonl", documents)
    seeds = [row["instruction"] for row in real(shared, "seed_tasks_selfinstruct") if len(row["instruction"]) > 60]
    texts = with_cases(seeds[:18], *SPECIAL)
    write(folder / "tasks.jsonl", [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts)])
    write(folder / "seeds.jsonl", [{"text": text} for text in [*with_cases(seeds[18:25]), *seeds[25:70]]])
    asked = [row for row in real(shared, "instruct_dolly3k") if len(row["instruction"].split()) > 15][:12]
    questions = with_cases([row["instruction"] for row in asked])
    turns = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]
        for question, row in zip(questions, asked, strict=True)
    ]
    turns[-1] = [*turns[-2], {"role": "user", "content": "And who came after that one?"}]
    write(folder / "chats.jsonl", [{"messages": each} for each in turns])
    steps = "".join(
        f"  {name}: {{synthesize: {{from: {source}, recipe: {name}, {FURTHER.get(name, '')}model: large}}}}\n"
        for source, recipes in SOURCES.items()
        for name in recipes
    )
    with serve(answer=answer) as server:
        done = run_yaml(
            folder / "run",
            f"""
name: recipes
endpoints: {{large: {{url: "{server.url}", model: teacher, structured: false}}}}
steps:
  documents: {{read: {{path: {folder}/documents.jsonl}}}}
  tasks: {{read: {{path: {folder}/tasks.jsonl}}}}
  seeds: {{read: {{path: {folder}/seeds.jsonl}}}}
  chats: {{read: {{path: {folder}/chats.jsonl, conversations: auto}}}}
{steps}
  self_instruct: {{synthesize: {{from: seeds, recipe: self_instruct, model: large, count: 120}}}}
  magpie: {{synthesize: {{count: 1, recipe: magpie, model: large, samples: 40}}}}
""",
        )
        yield folder / "run", done


def rows(data: Dataset) -> list[Row]:
    return helpers.rows(data)


def outcomes(data: Dataset) -> list[Row]:
    folder = files.join(data.folder, OUTCOMES)
    return [row for shard in data.shards for b in read_shard(files.join(folder, shard.name)) for row in b.to_pylist()]


def case(text: str) -> str:
    return text.partition(":")[0].removeprefix("Case ") if text.startswith("Case ") else ""


def inputs(done: Mapping[str, Dataset], name: str) -> dict[str, Row]:
    source = next(source for source, recipes in SOURCES.items() if name in recipes)
    found = {}
    for row in rows(done[source]):
        row["said"] = row["text"] if "text" in row else row["messages"][0]["content"]
        found[str(row["id"])] = row
    return found


def of_case(done: Mapping[str, Dataset], name: str, which: str) -> tuple[Row, list[Row]]:
    """The fate of the row of a case, and what was made of it."""
    (key,) = (key for key, row in inputs(done, name).items() if case(row["said"]) == which)
    (outcome,) = (each for each in outcomes(done[name]) if each["id"] == key)
    return outcome, [row for row in rows(done[name]) if row["parents"][0] == key]


EVERY = [name for recipes in SOURCES.values() for name in recipes]


def test_every_recipe_is_run_here() -> None:
    assert sorted([*EVERY, "magpie", "self_instruct"]) == names()


@pytest.mark.parametrize("name", names())
def test_a_recipe_says_from_what_to_what_in_a_line(name: str) -> None:
    params = {"labels": ["a", "b"]} if name == "label" else {}
    recipe = load_recipe(name, params)
    assert recipe.name == name
    assert " -> " in recipe.about and "\n" not in recipe.about and len(recipe.about) < 150


@pytest.mark.parametrize("name", EVERY)
def test_the_fates_of_a_recipe_add_up_to_its_rows(made: tuple[Path, dict[str, Dataset]], name: str) -> None:
    _, done = made
    told = outcomes(done[name])
    assert [each["id"] for each in told] == list(inputs(done, name))
    counts = done[name].manifest.counts
    kinds = Counter(each["fate"] + (f":{each['reason']}" if each["reason"] else "") for each in told)
    assert kinds == {key: n for key, n in counts.items() if key.partition(":")[0] in ("accepted", "rejected")}
    assert sum(each["rows"] for each in told) == done[name].rows > 0
    lost = Counter(f"filtered:{lost['reason']}" for each in told for lost in each["dropped"])
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
    told = {each["fate"] for each in outcomes(done[name]) if not case(entered[each["id"]]["said"])}
    assert told == ({"accepted", "rejected"} if name == "rephrase" else {"accepted"})


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


def test_classification_covers_the_values_of_every_attribute(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    by_label: dict[str, list[Row]] = {}
    for row in rows(done["classification"]):
        by_label.setdefault(str(row["parents"]), []).append(row)
    for some in by_label.values():
        shown = [orjson.loads(row["attributes"]) for row in some]
        assert {each["style"] for each in shown} == {"sober", "angry", "ironic"}
        assert {each["writer"] for each in shown} == {"pupil", "nurse"}
        assert {row["label"] for row in some} <= {"speech a", "speech b"}


def test_more_like_this_shows_examples_of_the_same_label_and_drops_copies_of_them(
    made: tuple[Path, dict[str, Dataset]],
) -> None:
    _, done = made
    entered = inputs(done, "more_like_this")
    for row in rows(done["more_like_this"]):
        parents = row["parents"]
        assert len(parents) == 4
        assert {entered[each]["label"] for each in parents} == {row["label"]}
        assert not row["text"].startswith("\u201c")
    counts = done["more_like_this"].manifest.counts
    # The copy of a longer one is taken for a part of the prompt.
    assert counts["filtered:repeats-an-example"] > 0
    assert counts["filtered:repeats-an-example"] + counts["filtered:copied-prompt"] == counts["accepted"]


def test_a_rewritten_query_of_an_unknown_way_is_dropped(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    assert {row["way"] for row in rows(done["query_rewrite"])} == {"keywords", "question", "specific"}
    counts = done["query_rewrite"].manifest.counts
    assert counts["filtered:unknown-label"] == counts["accepted"]


def test_a_query_that_speaks_of_the_passage_is_dropped(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    counts = done["document_queries"].manifest.counts
    assert counts["filtered:holds-a-marker"] == counts["accepted"]
    entered = inputs(done, "document_queries")
    for row in rows(done["document_queries"]):
        assert row["passage"] == entered[row["parents"][0]]["said"]


def test_a_dialogue_has_turns_in_turn_and_more_than_one_exchange(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    for row in rows(done["dialogue"]):
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"] * 4
    outcome, nothing = of_case(done, "dialogue", "short")
    assert (outcome["fate"], outcome["reason"], nothing) == ("rejected", "too-few-turns", [])


def test_distill_answers_the_last_question_after_the_turns_before_it(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    *_, (key, last) = inputs(done, "distill").items()
    (row,) = (row for row in rows(done["distill"]) if row["parents"] == [key])
    assert row["messages"][:-1] == last["messages"]
    assert row["messages"][-1]["role"] == "assistant"


def test_self_instruct_admits_what_is_unlike_all_others(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    found = rows(done["self_instruct"])
    texts = [row["text"] for row in found]
    every = [row["text"] for row in rows(done["seeds"])] + texts
    assert len(found) == 120
    for i, text in list(enumerate(texts))[::3]:
        assert 4 <= len(text.split()) <= 150
        assert max(rouge_l_f1(text, other) for other in every[: 52 + i]) <= 0.7
    counts = done["self_instruct"].manifest.counts
    assert counts["filtered:too-short"] and counts["filtered:holds-a-marker"] and counts["filtered:too-near-the-pool"]
    assert {f"rejected:{reason}" for reason in ("empty", "cut-off", "refusal", "runaway", "form")} <= counts.keys()
    told = outcomes(done["self_instruct"])
    assert sum(n for key, n in counts.items() if key.partition(":")[0] in ("accepted", "rejected")) == len(told)


def test_a_later_round_of_self_instruct_shows_six_seeds_and_two_that_were_made(
    made: tuple[Path, dict[str, Dataset]],
) -> None:
    _, done = made
    seeds = {str(row["id"]) for row in rows(done["seeds"])}
    found = rows(done["self_instruct"])
    own = {str(row["id"]) for row in found}
    shown = [(len(seeds & set(row["parents"])), len(own & set(row["parents"]))) for row in found]
    assert set(shown) == {(6, 0), (6, 2)}


def test_an_instruction_evolves_round_after_round_and_keeps_the_operation(
    made: tuple[Path, dict[str, Dataset]],
) -> None:
    _, done = made
    known = {each["name"] for each in load_recipe("evol_instruct").params["operations"]}
    entered = inputs(done, "evol_instruct")
    of_parent = {each["parents"][0]: each for each in rows(done["evol_instruct"])}
    used = set()
    for key, row in entered.items():
        if case(row["said"]):
            continue
        chain, parent = [], key
        while parent in of_parent:
            chain.append(of_parent[parent])
            parent = chain[-1]["id"]
        assert len(chain) == 3
        used |= {each["operation"] for each in chain}
    assert used == known


@pytest.mark.parametrize(
    ("which", "reason"), [("same", "no-gain"), ("marker", "copied-prompt")], ids=["no gain", "marker"]
)
def test_an_evolution_that_fails_is_eliminated(made: tuple[Path, dict[str, Dataset]], which: str, reason: str) -> None:
    _, done = made
    outcome, nothing = of_case(done, "evol_instruct", which)
    assert (outcome["fate"], outcome["reason"], nothing) == ("rejected", reason, [])


def test_an_evolution_that_fails_later_keeps_what_it_had(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    outcome, chain = of_case(done, "evol_instruct", "once")
    assert (outcome["fate"], len(chain), [each["reason"] for each in outcome["dropped"]]) == (
        "accepted",
        1,
        ["no-gain"],
    )


def test_magpie_takes_an_instruction_from_a_bare_header_and_answers_it(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    found = rows(done["magpie"])
    assert len(found) > 10
    assert len({row["messages"][0]["content"] for row in found}) == len(found)
    for row in found:
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert user["content"].endswith(".") and "<|" not in user["content"]
    (outcome,) = outcomes(done["magpie"])
    assert outcome["rows"] + len(outcome["dropped"]) == 40
    assert {each["reason"] for each in outcome["dropped"]} <= {"empty", "cut-off", "refusal", "runaway", "too-short"}


def test_rephrase_goes_by_the_bucket(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    entered = inputs(done, "rephrase")
    found = rows(done["rephrase"])
    variants = {(row["bucket"], row["variant"]) for row in found}
    high = {("high", name) for name in ("questions", "distilled", "knowledge", "facts")}
    assert variants == {("low", "encyclopedic")} | high
    for row in found:
        assert row["bucket"] == entered[row["parents"][0]]["bucket"]
    other = [each for each in outcomes(done["rephrase"]) if entered[each["id"]]["bucket"] == "medium"]
    assert {(each["fate"], each["reason"]) for each in other} == {("rejected", "no-case")}


def test_rephrase_sets_at_most_eight_questions_behind_their_passage(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    entered = inputs(done, "rephrase")
    found = [row for row in rows(done["rephrase"]) if row["variant"] == "questions"]
    assert found
    for row in found:
        text = row["text"]
        assert text.startswith(entered[row["parents"][0]]["said"].strip())
        assert text.count("Question: ") == text.count("\nAnswer: ") == 8


def test_rephrase_shows_passages_of_the_sizes_that_nemotron_cc_has(shared: Path, tmp_path: Path) -> None:
    texts = [row["text"][:30_000] for row in real(shared, "hq_text") if len(row["text"]) > 30_000][:2]
    write(tmp_path / "long.jsonl", [{"text": texts[0], "bucket": "low"}, {"text": texts[1], "bucket": "high"}])
    most: dict[str, int] = {}

    def answers(body: dict[str, Any]) -> str:
        assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
        system, user = (each["content"] for each in body["messages"])
        most[system] = max(most.get(system, 0), len(given(user).encode()))
        return answer(body)

    with serve(answer=answers) as server:
        done = run_yaml(
            tmp_path / "run",
            f"""
name: long
endpoints: {{large: {{url: "{server.url}", model: teacher}}}}
steps:
  documents: {{read: {{path: {tmp_path}/long.jsonl}}}}
  made: {{synthesize: {{from: documents, recipe: rephrase, model: large}}}}
""",
        )
    limits = {"encyclopedia": 512, "questions for readers": 1000, "shorten": 2000, "textbook": 1400, "notes": 1000}
    for words, limit in limits.items():
        (size,) = (size for system, size in most.items() if words in system)
        assert 0.5 * limit < size / 4 <= limit
    variants = Counter(row["variant"] for row in rows(done["made"]))
    assert variants["encyclopedic"] >= 15 and variants["questions"] == variants["facts"] > variants["distilled"] >= 4


def test_rephrase_drops_what_is_short_by_the_variant(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    outcome, found = of_case(done, "rephrase", "short")
    assert {row["variant"] for row in found} == {"questions", "knowledge", "facts"}
    assert [each["reason"] for each in outcome["dropped"]] == ["too-short"]


def test_a_quote_that_is_not_in_the_document_is_not_grounded(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    entered = inputs(done, "grounded_qa")
    counts = done["grounded_qa"].manifest.counts
    assert counts["filtered:not-grounded"] == counts["accepted"] == done["grounded_qa"].rows
    for row in rows(done["grounded_qa"]):
        assert row["quote"] in " ".join(entered[row["parents"][0]]["said"].split())
        assert row["messages"][0]["content"].endswith(row["question"])


def test_textbook_is_for_an_audience_in_a_format(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    found = rows(done["textbook"])
    assert len({row["format"] for row in found}) > 1 and len({row["audience"] for row in found}) > 1
    assert all(not row["text"].startswith("Of course") for row in found)


def test_decompose_keeps_the_answers_that_its_answer_follows_from(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    for row in rows(done["decompose"]):
        steps = orjson.loads(row["subanswers"])
        assert len(steps) == 3 and all(each["item"] and each["answer"] for each in steps)
        assert row["answer"] == "42"
        assert row["messages"][-1]["content"].endswith("\n\n42")


def test_revise_takes_the_critique_of_the_row_or_else_asks_for_one(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    entered = inputs(done, "revise")
    told = set()
    for row in rows(done["revise"]):
        before = entered[row["parents"][0]]
        assert row["text"].startswith(before["said"].strip())
        assert before["critique"] in (None, row["critique"]) and row["critique"]
        told.add(before["critique"] is None)
    assert told == {True, False}


def test_a_revised_answer_stands_behind_its_question(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    entered = inputs(done, "revise_answer")
    for row in rows(done["revise_answer"]):
        turns = entered[row["parents"][0]]["messages"]
        assert row["messages"][0]["content"].startswith(turns[0]["content"])
        assert row["before"] == turns[1]["content"]
        assert row["messages"][1]["content"].startswith(turns[1]["content"].strip())


def test_a_label_is_one_of_those_given(made: tuple[Path, dict[str, Dataset]]) -> None:
    _, done = made
    entered = inputs(done, "label")
    for row in rows(done["label"]):
        assert row["label"] in ("HUM", "NUM") and float(row["confidence"]) == 0.75
        assert row["text"] == entered[row["parents"][0]]["said"].strip()
    outcome, nothing = of_case(done, "label", "other")
    assert (outcome["reason"], nothing) == ("unknown-label", [])


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
