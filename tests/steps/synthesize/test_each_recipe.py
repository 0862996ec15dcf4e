"""What each recipe makes that no other does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.core.dataset import Dataset
from curate.steps.synthesize.recipe import load_recipe
from curate.text.overlap import rouge_l_f1
from tests.llm.server import serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.recipe_answers import answer, given
from tests.steps.synthesize.recipe_runs import Row, case, inputs, of_case, outcomes, real, rows, write


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
    found = outcomes(done["self_instruct"])
    assert sum(n for key, n in counts.items() if key.partition(":")[0] in ("accepted", "rejected")) == len(found)


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
    without_critique = set()
    for row in rows(done["revise"]):
        before = entered[row["parents"][0]]
        assert row["text"].startswith(before["said"].strip())
        assert before["critique"] in (None, row["critique"]) and row["critique"]
        without_critique.add(before["critique"] is None)
    assert without_critique == {True, False}


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
