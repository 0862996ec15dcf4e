"""`curate frontier`: what other bands would have cost, out of the ledger and without a request."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from curate.cli.main import app
from curate.core.errors import ConfigError, RunError
from curate.generate.access import open_access
from curate.generate.prices import DOLLAR
from curate.pipeline import LEDGER, RESOLVED, Pipeline, open_run
from curate.steps.route.curves import Curve, cost_at_quality
from curate.steps.route.frontier import Seen, as_set, curves_of, is_right
from curate.steps.route.replay import Source, look
from curate.steps.synthesize.config import SynthesizeConfig
from tests.llm.answers import Body, prompt_text
from tests.llm.server import serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.two_models import COUNT, PRICES, answer, numbers, write

EXPLORE = "{model: small, check: {self_verify: {samples: 8}}, keep: 0.9, drop: 0.05, explore: true}"


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A run that explored, whose server is gone; and its bill by what was asked, in pico-dollars."""
    folder = tmp_path_factory.mktemp("explored")
    checks: list[Body] = []

    def said(body: Body) -> str:
        if "Is the proposed answer right" in prompt_text(body):
            checks.append(body)
        return answer(body)

    with serve(answer=said, prices=PRICES) as server:
        run_yaml(folder / "runs", write(folder, server.url, EXPLORE))
        bill = server.bill()
    spent = {"l": sum(each.price for each in bill if each.model == "l")}
    small = [each for each in bill if each.model == "s"]
    spent["s"] = sum(each.price for each in small)
    # A check's answer is two tokens, the small model's own three and more, or none.
    spent["check"] = sum(each.price for each in small if each.completion_tokens == 2)
    assert len(checks) == sum(each.completion_tokens == 2 for each in small)
    return folder / "runs" / "two", spent


def frontier(run: Path, *more: str, reference: str = "right") -> Result:
    return CliRunner().invoke(app, ["frontier", str(run), "answers", "--reference", reference, *more])


def looked(run: Path) -> tuple[SynthesizeConfig, list[Seen], dict[str, int]]:
    pipeline = Pipeline.load(str(run / RESOLVED))
    config = next(each.config for each in pipeline.nodes if each.name == "answers")
    assert isinstance(config, SynthesizeConfig)
    source = Source("answers", {"from[0]": open_run(str(run))["rows"]}, {})
    with open_access(pipeline.endpoints, str(run / LEDGER), replay=True, host="127.0.0.1") as access:
        return (config, *look(config, source, access, reference="right", quality="exact"))


def by_name(curves: list[Curve]) -> dict[str, Curve]:
    return {each.name: each for each in curves}


def test_the_costs_of_both_models_and_of_the_check_are_those_of_the_bill(explored: tuple[Path, dict[str, int]]) -> None:
    run, spent = explored
    _, seen, left = looked(run)
    assert len(seen) == COUNT and not left
    total = {name: sum(getattr(each, f"{name}_cost") for each in seen) for name in ("small", "check", "large")}
    assert total["large"] == pytest.approx(spent["l"] / DOLLAR)
    assert total["check"] == pytest.approx(spent["check"] / DOLLAR)
    assert total["small"] == pytest.approx((spent["s"] - spent["check"]) / DOLLAR)
    pairs, curves = curves_of(seen)
    known = by_name(curves)
    assert known["always large"].cost[0] * COUNT == pytest.approx(spent["l"] / DOLLAR)
    assert known["always small"].cost[0] * COUNT == pytest.approx((spent["s"] - spent["check"]) / DOLLAR)
    # Where all are sent on, a cascade has paid for all three.
    assert known["cascade"].cost[-1] * COUNT == pytest.approx((spent["l"] + spent["s"]) / DOLLAR)
    assert len(pairs) == COUNT


def test_the_qualities_are_how_often_each_model_is_right(explored: tuple[Path, dict[str, int]]) -> None:
    kinds = numbers()
    known = by_name(curves_of(looked(explored[0])[1])[1])
    assert known["always small"].quality[0] == pytest.approx(len(kinds["right"]) / COUNT)
    assert known["always large"].quality[0] == pytest.approx(1 - len(kinds["hopeless"]) / COUNT)


def test_no_policy_without_a_check_is_better_than_the_oracle_and_a_good_check_beats_a_random_mix(
    explored: tuple[Path, dict[str, int]],
) -> None:
    pairs, curves = curves_of(looked(explored[0])[1])
    known = by_name(curves)
    assert {"always small", "always large", "random mix", "oracle", "router", "cascade", "cascade with drop"} == {
        *known
    }
    for quality in np.linspace(pairs.small_quality.mean(), pairs.large_quality.mean(), 7):
        best = cost_at_quality(known["oracle"], float(quality))
        for each in curves:
            cost = cost_at_quality(each, float(quality))
            assert np.isnan(cost) or best <= cost * (1 + 1e-9), each.name
    # Without a request for what is hopeless it costs least.
    most = float(pairs.large_quality.mean())
    assert cost_at_quality(known["cascade with drop"], most) < cost_at_quality(known["cascade"], most)


def test_the_step_as_it_is_set_costs_what_a_run_without_exploring_is_billed(
    explored: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    config, seen, _ = looked(explored[0])
    assert config.cascade is not None
    cost, quality = as_set(seen, config.cascade)
    with serve(answer=answer, prices=PRICES) as server:
        run_yaml(tmp_path / "runs", write(tmp_path, server.url, EXPLORE.replace(", explore: true", "")))
        billed = sum(each.price for each in server.bill())
    assert cost * COUNT == pytest.approx(billed / DOLLAR)
    assert quality == pytest.approx(1 - len(numbers()["hopeless"]) / COUNT)


def test_the_command_prints_the_table_and_writes_the_points(
    explored: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    run, spent = explored
    before = sorted(path.name for path in run.iterdir())
    found = frontier(run, "--csv", str(tmp_path / "points.csv"))
    assert found.exit_code == 0, found.output
    assert found.output.startswith(f"{COUNT} answers of both models on record\n")
    assert f"${1000 * spent['l'] / DOLLAR / COUNT:.4g} a thousand rows" in found.output
    for name in ("policy", "always small", "random mix", "oracle", "router", "cascade", "cascade with drop"):
        assert any(line.startswith(name) for line in found.output.splitlines()), name
    with open(tmp_path / "points.csv", newline="") as stream:
        points = list(csv.DictReader(stream))
    large = next(each for each in points if each["policy"] == "always large")
    assert float(large["cost"]) == pytest.approx(spent["l"] / DOLLAR / COUNT) and large["share_to_large"] == "1.0"
    assert sorted(path.name for path in run.iterdir()) == before


def test_without_prices_the_cost_is_tokens(tmp_path: Path) -> None:
    with serve(answer=answer) as server:
        run_yaml(tmp_path / "runs", write(tmp_path, server.url, EXPLORE, count=20, prices=None))
        tokens = sum(each.prompt_tokens + each.completion_tokens for each in server.bill() if each.model == "l")
    found = frontier(tmp_path / "runs" / "two")
    assert f"{1000 * tokens / 20:,.0f} tokens a thousand rows" in found.output


def test_rows_that_are_not_wholly_on_record_are_counted_and_left_out(tmp_path: Path) -> None:
    with serve(answer=answer, prices=PRICES) as server:
        run_yaml(tmp_path / "runs", write(tmp_path, server.url, EXPLORE.replace(", explore: true", "")))
    kinds = numbers()
    sent = len(kinds["wrong"]) + len(kinds["nothing"])
    _, seen, left = looked(tmp_path / "runs" / "two")
    assert len(seen) == sent and left == {"not on record": COUNT - sent}


def test_a_run_that_asked_one_model_alone_is_a_clear_error(tmp_path: Path) -> None:
    keeps = "{model: small, check: {self_verify: {samples: 8}}, keep: 0.0}"

    def said(body: Body) -> str:
        return answer(body) or "Nothing."

    with serve(answer=said, prices=PRICES) as server:
        run_yaml(tmp_path / "runs", write(tmp_path, server.url, keeps, count=10))
    with pytest.raises(RunError, match=r"no row has both models' answers on record \(10 not on record\); set `explore"):
        looked(tmp_path / "runs" / "two")


def test_wrong_names_are_clear_errors(explored: tuple[Path, dict[str, int]]) -> None:
    run, _ = explored
    for args, message in (
        (["answer", "--reference", "right"], "no step 'answer'; did you mean 'answers'?"),
        (["rows", "--reference", "right"], "rows is a read step; name a synthesize step"),
        (["answers", "--reference", "rigth"], "no such column in what answers reads; did you mean 'right'?"),
    ):
        found = CliRunner().invoke(app, ["frontier", str(run), *args])
        assert isinstance(found.exception, ConfigError) and message in str(found.exception)


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "contains"),
    [
        ("Paris.", "paris", True, True),
        ("It is Paris, I think", "Paris", False, True),
        ("So we have 6 * 7 = 42", "42", True, True),
        ("The answer is 1,000", "1000", True, False),
        ("It is 41, not 42; the answer is 41", "42", False, True),
        ("", "42", False, False),
    ],
)
def test_an_answer_is_right(answer: str, reference: str, exact: bool, contains: bool) -> None:
    assert is_right(answer, reference, "exact") is exact
    assert is_right(answer, reference, "contains") is contains
