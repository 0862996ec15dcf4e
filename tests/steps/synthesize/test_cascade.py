"""A small model first, and a large one where the small one's answer does not pass."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.shards import read_shard
from curate.generate.request import Completion, TokenLogprob, Usage
from curate.steps.synthesize.answerers import confidence, normalised
from tests.helpers import rows, tree
from tests.llm.answers import Body, prompt_text
from tests.llm.server import Server, serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.two_models import PRICES, answer, numbers, write

VERIFY = "{model: small, check: {self_verify: {samples: 8}}, keep: 0.9, drop: 0.05"


def outcomes(data: Dataset) -> list[dict[str, object]]:
    return [
        row
        for shard in data.shards
        for batch in read_shard(f"{data.folder}/fates/{shard.name}", ["id", "fate", "reason"])
        for row in batch.to_pylist()
    ]


def asked(server: Server, model: str) -> int:
    return sum(each.model == model for each in server.bill())


def run(folder: Path, cascade: str, said: Callable[[Body], str] = answer) -> tuple[Dataset, Server]:
    folder.mkdir(exist_ok=True)
    with serve(answer=said, prices=PRICES) as server:
        return run_yaml(folder / "runs", write(folder, server.url, cascade))["answers"], server


def by_number(data: Dataset) -> dict[int, dict[str, object]]:
    """The made rows by the number in their prompt."""
    found = {}
    for row in rows(data):
        messages = row["messages"]
        assert isinstance(messages, list)
        found[int(re.findall(r"number (\d+)", messages[0]["content"])[0])] = row
    return found


def test_the_band_keeps_escalates_and_drops(tmp_path: Path) -> None:
    data, server = run(tmp_path, VERIFY + "}")
    kinds, made = numbers(), by_number(data)
    assert {n for n, row in made.items() if row["model"] == "s"} == set(kinds["right"])
    assert {n for n, row in made.items() if row["model"] == "l"} == {*kinds["wrong"], *kinds["nothing"]}
    rows = outcomes(data)
    assert sum(row["reason"] == "hopeless" for row in rows) == len(kinds["hopeless"])
    assert data.manifest.counts["rejected:hopeless"] == len(kinds["hopeless"])
    # The large model is asked for what is in the band and what cannot be read, and for nothing else.
    assert asked(server, "l") == len(kinds["wrong"]) + len(kinds["nothing"])


def test_the_check_sees_what_is_checked(tmp_path: Path) -> None:
    data, _ = run(tmp_path, VERIFY + "}")
    kinds, made = numbers(), by_number(data)
    assert {made[n]["check"] for n in kinds["right"]} == {1.0}
    assert all(0.05 < float(str(made[n]["check"])) < 0.9 for n in kinds["wrong"])
    assert {made[n]["check"] for n in kinds["nothing"]} == {None}


def test_a_small_answer_that_cannot_be_read_is_tried_anew_and_then_escalated_without_a_check(tmp_path: Path) -> None:
    checked: list[str] = []

    def said(body: Body) -> str:
        if "Is the proposed answer right" in prompt_text(body):
            checked.append(prompt_text(body))
        return answer(body)

    data, _ = run(tmp_path, VERIFY + "}", said)
    empty = {f"number {n}:" for n in numbers()["nothing"]}
    assert not any(any(mark in text for mark in empty) for text in checked)
    assert all(by_number(data)[n]["model"] == "l" for n in numbers()["nothing"])


def test_self_verification_is_the_share_of_yes(tmp_path: Path) -> None:
    says = iter(["Yes", "no", " YES, it is.", "Maybe", "yes"] * 100)

    def said(body: Body) -> str:
        return next(says) if "Is the proposed answer right" in prompt_text(body) else answer(body)

    cascade = "{model: small, check: {self_verify: {samples: 5}}, keep: 0.5}"
    data, _ = run(tmp_path, cascade, said)
    scores = {float(str(row["check"])) for row in rows(data) if row["check"] is not None}
    # Each row's five come in some order among others': what is sure is the scale and the mean.
    assert scores <= {k / 5 for k in range(6)}
    checks = [float(str(row["check"])) for row in rows(data) if row["check"] is not None]
    assert sum(checks) / len(checks) == pytest.approx(0.6)


def test_agreement_is_the_share_of_draws_with_the_same_answer(tmp_path: Path) -> None:
    def said(body: Body) -> str:
        number = int(re.findall(r"number (\d+)", prompt_text(body))[0])
        if body["model"] == "l":
            return "large"
        return ("Always this.", f"Never the same, {body['seed']}", f"One of {body['seed'] % 2}")[number % 3]

    data, server = run(tmp_path, "{model: small, check: {agreement: {samples: 6}}, keep: 1.0}", said)
    made = by_number(data)
    assert all((row["check"], row["model"]) == (1.0, "s") for n, row in made.items() if n % 3 == 0)
    assert all((row["check"], row["model"]) == (0.0, "l") for n, row in made.items() if n % 3 == 1)
    assert {row["check"] for n, row in made.items() if n % 3 == 2} <= {k / 6 for k in range(7)}
    assert asked(server, "s") == 60 * 7
    assert normalised(" It is  42.\n") == normalised("it is 42")


def test_the_logprob_check_is_the_mean_probability_of_the_tokens(tmp_path: Path) -> None:
    halves = tuple(TokenLogprob("a", math.log(p), ()) for p in (0.5, 0.25, 1.0))
    assert confidence(Completion("a", "stop", "", "", halves, Usage())) == pytest.approx(0.5)
    assert confidence(Completion("a", "stop", "", "", (), Usage())) == 0.0
    sent: list[Body] = []

    def said(body: Body) -> str:
        sent.append(body)
        return answer(body)

    data, server = run(tmp_path, "{model: small, check: {logprob: {}}, keep: 0.75}", said)
    checks = [float(str(row["check"])) for row in rows(data) if row["check"] is not None]
    assert all(0.5 <= check <= 1 for check in checks) and len(set(checks)) > 10
    assert all((row["model"] == "s") == (float(str(row["check"])) >= 0.75) for row in rows(data) if row["check"])
    # Only the small model's tokens are wanted.
    assert {(body["model"], body.get("logprobs")) for body in sent} == {("s", True), ("l", None)}
    assert asked(server, "l") == sum(row["model"] == "l" for row in rows(data))


def test_exploring_asks_all_three_of_every_row_and_changes_no_row(tmp_path: Path) -> None:
    plain, first = run(tmp_path / "plain", VERIFY + "}")
    explored, second = run(tmp_path / "explored", VERIFY + ", explore: true}")
    assert asked(first, "l") < asked(second, "l") == 60
    assert rows(plain) == rows(explored)
    assert sorted(map(str, outcomes(plain))) == sorted(map(str, outcomes(explored)))


def test_a_large_model_that_is_only_explored_fails_no_row(tmp_path: Path) -> None:
    def said(body: Body) -> str:
        return "" if body["model"] == "l" else answer(body)

    data, _ = run(tmp_path, VERIFY + ", explore: true}", said)
    kinds = numbers()
    assert set(by_number(data)) == set(kinds["right"])
    assert data.manifest.counts["rejected:empty"] == len(kinds["wrong"]) + len(kinds["nothing"])


def test_a_band_that_is_upside_down_and_two_checks_are_refused(tmp_path: Path) -> None:
    for cascade, message in (
        ("{model: small, check: {logprob: {}}, keep: 0.2, drop: 0.5}", r"drop \(0.5\) is above keep"),
        ("{model: small, check: {logprob: {}, agreement: {}}, keep: 0.2}", "expected one of self_verify"),
        (
            "{model: smal, check: {logprob: {}}, keep: 0.2}",
            "no endpoint 'smal' under `endpoints:`; did you mean 'small'",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            run_yaml(tmp_path / "runs", write(tmp_path, "http://127.0.0.1:9/v1", cascade))


def test_a_cascade_is_replayed_to_the_same_bytes(tmp_path: Path) -> None:
    with serve(answer=answer, prices=PRICES) as server:
        text = write(tmp_path, server.url, VERIFY + "}")
        first = run_yaml(tmp_path / "one", text)["answers"]
    again = run_yaml(tmp_path / "two", text + f"\nledgers: {tmp_path}/one/two/ledger\n", replay=True)["answers"]
    assert tree(Path(first.folder)) == tree(Path(again.folder))
