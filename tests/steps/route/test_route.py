"""The `route` step: who gets which prompt, learnt from graded ones."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard

from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ConfigError
from curate.steps.route.crossfit import FOLDS, Learnt, auroc_interval, cross_fit, fit, id_hashes
from curate.steps.route.model import hashed_features
from tests.helpers import rows, tree
from tests.llm.answers import prompt_text
from tests.llm.server import serve
from tests.pipelines import run_yaml

EASY = ("Name the colour of a {} sky.", "Name the sound of a {} cat.", "Name the shape of a {} coin.")
HARD = ("Prove the theorem about {} fields.", "Derive the integral over {} rings.", "Prove the bound for {} graphs.")
WORDS = ("red", "old", "odd", "warm", "tall", "thin", "dry", "late", "soft", "raw")


def prompts(count: int = 120) -> list[dict[str, object]]:
    """Half are easy, the small model's answer graded 5, half hard, graded 2; every third has no grade."""
    found: list[dict[str, object]] = []
    for i in range(count):
        kind = (EASY, HARD)[i % 2]
        text = kind[i % 3].format(f"{WORDS[i % 10]} {WORDS[i // 10 % 10]}")
        found.append({"text": f"{text} ({i})", "score": None if i % 3 == 2 else 5 - 3 * (i % 2)})
    return found


def pipeline(folder: Path, given: Sequence[dict[str, object]], route: str) -> str:
    """A pipeline that reads rows in several shards and routes them."""
    lines = [json.dumps(row) for row in given]
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    return f"""
name: routes
steps:
  prompts: {{read: {{path: {folder}/prompts.jsonl, shard_bytes: {sum(map(len, lines)) // 4}}}}}
  routed: {{route: {{from: prompts, {route}}}}}
"""


GRADED = "good: {column: score, at_least: 4}, share: 0.3"


def routed(folder: Path, given: Sequence[dict[str, object]], route: str = GRADED, workers: int = 1) -> Dataset:
    text = pipeline(folder, given, route)
    return run_yaml(folder / "runs", text, resources=Resources(workers=workers))["routed"]


def test_the_share_of_the_prompts_with_the_lowest_chances_goes_to_the_large_model(tmp_path: Path) -> None:
    given = prompts()
    found = rows(routed(tmp_path, given))
    assert len(found) == len(given)
    large = [float(str(row["chance"])) for row in found if row["to"] == "large"]
    small = [float(str(row["chance"])) for row in found if row["to"] == "small"]
    assert len(large) == 36 and max(large) < min(small)
    asked = [str(one["text"]) for row, one in zip(found, given, strict=True) if row["to"] == "large"]
    assert all(text.startswith(("Prove", "Derive")) for text in asked)


def test_the_details_say_how_well_the_router_tells_the_prompts_apart(tmp_path: Path) -> None:
    details = routed(tmp_path, prompts()).manifest.details
    assert details["graded"] == details["learnt"] == 80 and details["good"] == 0.5
    assert details["share"] == 0.3 and 0 < float(str(details["threshold"])) < 1
    auroc = details["auroc"]
    assert isinstance(auroc, dict) and 0.9 < float(str(auroc["low"])) <= float(str(auroc["value"])) <= 1.0


@pytest.mark.slow
def test_the_bytes_are_the_same_for_one_worker_and_two(tmp_path: Path) -> None:
    trees = []
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        trees.append(tree(Path(routed(tmp_path / str(workers), prompts(), workers=workers).folder)))
    assert trees[0] == trees[1] and len(trees[0]) > 3


def test_too_few_graded_rows_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"routed.route.good: 27 prompts are graded, 13 of them good: too few"):
        routed(tmp_path, prompts(40))


def test_a_column_that_is_missing_or_of_another_type_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="good.column: no such column in what `from` names; did you mean 'score'"):
        routed(tmp_path, prompts(), "good: {column: scores, at_least: 4}, share: 0.3")
    with pytest.raises(ConfigError, match="'score' needs `at_least`, a grade"):
        routed(tmp_path, prompts(), "good: {column: score}, share: 0.3")
    with pytest.raises(ConfigError, match="'text' holds"):
        routed(tmp_path, prompts(), "good: {column: text, at_least: 1}, share: 0.3")


def test_a_boolean_column_says_itself_what_is_good_and_knn_learns_it_too(tmp_path: Path) -> None:
    given = [{**row, "score": None if row["score"] is None else row["score"] == 5} for row in prompts()]
    out = routed(tmp_path, given, "good: {column: score}, method: knn, share: 0.5")
    hard = {row["id"] for row in rows(out) if row["to"] == "large"}
    assert len(hard) == 60
    assert out.manifest.details["method"] == "knn"


def test_a_prompt_without_a_word_has_no_chance_and_goes_to_the_large_model(tmp_path: Path) -> None:
    out = routed(tmp_path, [*prompts(), {"text": "   ", "score": 5}])
    blank = [row for row in rows(out) if row["chance"] is None]
    assert [row["to"] for row in blank] == ["large"] and out.manifest.details["without_chance"] == 1
    assert out.manifest.details["graded"] == 81 and out.manifest.details["learnt"] == 80


def test_conversations_are_routed_by_their_questions(tmp_path: Path) -> None:
    given = [
        {"messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": "x" * (1 + i % 7)}],
         "score": row["score"]}
        for i, row in enumerate(prompts())
    ]  # fmt: skip
    asked = {(row["chance"], row["to"]) for row in rows(routed(tmp_path, prompts()))}
    (tmp_path / "chats").mkdir()
    # Ids differ, and with them the folds; what is predicted of rows without a grade does not.
    text = pipeline(tmp_path / "chats", given, GRADED).replace(
        "prompts.jsonl,", "prompts.jsonl, conversations: messages,"
    )
    chats = run_yaml(tmp_path / "chats" / "runs", text)["routed"]
    assert chats.manifest.counts == {"to-large": 36, "to-small": 84}
    assert len(asked & {(row["chance"], row["to"]) for row in rows(chats)}) >= 30


def test_the_chance_of_a_graded_prompt_owes_nothing_to_its_own_grade() -> None:
    given = prompts(60)
    features = hashed_features([str(row["text"]) for row in given]).astype(np.float32)
    good = np.arange(60) % 2 == 0
    hashes = id_hashes([f"{i:032x}" for i in range(60)])
    chance = cross_fit(Learnt(features, good, hashes), hashed=True, method="logistic")
    same = hashes % FOLDS == hashes[7] % FOLDS
    turned = np.where(same, ~good, good)
    again = cross_fit(Learnt(features, turned, hashes), hashed=True, method="logistic")
    assert np.array_equal(chance[same], again[same]) and not np.array_equal(chance[~same], again[~same])


def test_scores_that_say_nothing_have_an_auroc_of_one_half_within_its_interval() -> None:
    rng = np.random.default_rng(0)
    good = rng.random(400) < 0.4
    found = auroc_interval(rng.random(400), good)
    assert found.low < 0.5 < found.high and abs(found.value - 0.5) < 0.1
    assert auroc_interval(good.astype(np.float64), good).value == 1.0
    assert auroc_interval(np.zeros(400), good).value == 0.5


def test_a_router_that_was_saved_says_the_same(tmp_path: Path) -> None:
    given = prompts(60)
    features = hashed_features([str(row["text"]) for row in given]).astype(np.float32)
    learnt = Learnt(features, np.arange(60) % 2 == 0, id_hashes([f"{i}" for i in range(60)]))
    for method in ("logistic", "knn"):
        fitted = fit(learnt, hashed=True, method=method)  # type: ignore[arg-type]
        fitted.save(str(tmp_path / method))
        assert np.array_equal(type(fitted).load(str(tmp_path / method)).predict(features), fitted.predict(features))


@functools.cache
def mmlu(shared: Path) -> list[dict[str, object]]:
    with zstandard.open(shared / "data" / "router_mmlu.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line, _ in zip(stream, range(600), strict=False)]


def test_on_questions_of_mmlu_the_details_are_what_ungraded_questions_show(tmp_path: Path, shared: Path) -> None:
    every = mmlu(shared)
    given = [{"text": row["prompt"], "good": None if i % 2 else row["mixtral_correct"]} for i, row in enumerate(every)]
    out = routed(tmp_path, given, "good: {column: good}, share: 0.4")
    chance = np.array([float(str(row["chance"])) for row in rows(out)])
    truth = np.array([bool(row["mixtral_correct"]) for row in every])
    unseen = auroc_interval(chance[1::2], truth[1::2])
    auroc = out.manifest.details["auroc"]
    assert isinstance(auroc, dict)
    assert float(str(auroc["low"])) < unseen.value < float(str(auroc["high"]))


def test_two_synthesize_steps_share_the_rows_as_the_router_says(tmp_path: Path) -> None:
    asked: dict[str, set[str]] = {"s": set(), "l": set()}

    def answer(body: dict[str, object]) -> str:
        asked[str(body["model"])].add(prompt_text(body))
        return "An answer."

    with serve(answer=answer) as server:
        text = (
            pipeline(tmp_path, prompts(), GRADED)
            + f"""
  cheap: {{synthesize: {{from: [prompts, routed], where: {{to: small}}, recipe: distill, model: small}}}}
  expensive: {{synthesize: {{from: [prompts, routed], where: {{to: large}}, recipe: distill, model: large}}}}
endpoints: {{small: {{url: "{server.url}", model: s}}, large: {{url: "{server.url}", model: l}}}}
"""
        )
        out = run_yaml(tmp_path / "runs", text)
    assert (out["cheap"].rows, out["expensive"].rows) == (84, 36)
    assert out["cheap"].manifest.absent == 36 and out["expensive"].manifest.absent == 84
    sent = {row["id"]: row["to"] for row in rows(out["routed"])}
    assert {sent[str(row["parents"][0])] for row in rows(out["expensive"])} == {"large"}  # type: ignore[index]
    assert len(asked["s"]) == 84 and len(asked["l"]) == 36 and not asked["s"] & asked["l"]


def test_a_column_of_where_that_is_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    text = (
        pipeline(tmp_path, prompts(), GRADED)
        + """
  cheap: {synthesize: {from: [prompts, routed], where: {too: small}, recipe: distill, model: small}}
endpoints: {small: {url: "http://127.0.0.1:9/v1", model: s}}
"""
    )
    with pytest.raises(ConfigError, match="where.too: no such column in what `from` names"):
        run_yaml(tmp_path / "runs", text)
