"""Whole runs of a `synthesize` step against the loopback server: money, replay, the same bytes, keys."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from curate.core.dataset import Dataset
from curate.core.engine import Engine, Resources
from curate.core.errors import ConfigError, RunError
from curate.core.shards import read_shard
from curate.generate.access import spent_so_far
from curate.generate.prices import DOLLAR
from tests.helpers import ROOT, rows, tree
from tests.llm.faults import Faults
from tests.llm.server import Server, serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.chaos import PRICE, answer

KEY = "sk-test-5f2b7a90c1d34e"


def yaml(
    folder: Path, url: str, *, count: int = 60, budget: str = "", endpoint: str = "", more: str = "", timeout: int = 60
) -> str:
    """A pipeline of some shards of seeds and a step that rewords them."""
    lines = [json.dumps({"text": f"This is row {i} of the seeds, with a few words to reword."}) for i in range(count)]
    (folder / "seeds.jsonl").write_text("\n".join(lines))
    (folder / "prices.yaml").write_text(f"m: {{input: {PRICE[0]}, output: {PRICE[1]}}}\n")
    size = sum(map(len, lines)) // 4
    return f"""
name: made
endpoints: {{large: {{url: "{url}", model: m, timeout: {timeout}, patience: 20{endpoint}}}}}
prices: {folder}/prices.yaml
{budget}
{more}
steps:
  seeds: {{read: {{path: {folder}/seeds.jsonl, shard_bytes: {size}}}}}
  made: {{synthesize: {{from: seeds, recipe: paraphrase, model: large}}}}
"""


def outcomes(data: Dataset) -> Counter[str]:
    found = Counter[str]()
    for shard in data.shards:
        for batch in read_shard(f"{data.folder}/fates/{shard.name}", ["fate"]):
            found.update(batch.column("fate").to_pylist())
    return found


def bill(server: Server) -> int:
    return sum(each.price for each in server.bill())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_stops_under_its_cap_and_pays_only_for_the_rest_when_it_is_raised(tmp_path: Path, workers: int) -> None:
    resources = Resources(workers=workers)
    with serve(answer=answer, prices={"m": PRICE}) as server:
        run_yaml(tmp_path / "whole", yaml(tmp_path, server.url), resources=Resources(workers=1))
        cost = bill(server)
        requests = len(server.bill())
        server.clear()
        cap = cost / 2 / DOLLAR
        # What a request may cost at most is far above what it does, so that the cap leaves room for that.
        text = yaml(tmp_path, server.url, budget=f"budget: {{usd: {cap}}}").replace(
            "recipe: paraphrase", "recipe: paraphrase, sampling: {max_tokens: 60}"
        )
        with pytest.raises(RunError, match="the budget is used up, and .* rows are skipped"):
            run_yaml(tmp_path / "capped", text, resources=resources)
        first = len(server.bill())
        assert 0 < bill(server) <= cost / 2
        assert 0 < first < requests
        marked = Counter[str]()
        for path in (tmp_path / "capped" / "made").glob("made-*/fates/*.parquet"):
            for batch in read_shard(str(path), ["fate"]):
                marked.update(batch.column("fate").to_pylist())
        assert marked["accepted"] == first and marked["skipped"] == 60 - first
        raised = text.replace(f"usd: {cap}", "usd: 5")
        out = run_yaml(tmp_path / "capped", raised, resources=resources)
        assert outcomes(out["made"]) == {"accepted": 60}
        assert len(server.bill()) == requests  # nothing is paid twice
        spent = spent_so_far(str(tmp_path / "capped" / "made" / "ledger"))
        assert spent["m"].money == bill(server)


def test_a_replay_with_the_network_off_gives_the_same_bytes(tmp_path: Path) -> None:
    with serve(answer=answer, faults=Faults.all(0.01), latency=0.005) as server:
        text = yaml(tmp_path, server.url, timeout=3)
        first = run_yaml(tmp_path / "one", text)
        url = server.url
    # The server is gone: nobody could answer.
    ledgers = f"ledgers: {tmp_path}/one/made/ledger"
    again = run_yaml(tmp_path / "two", yaml(tmp_path, url, more=ledgers), replay=True)
    assert tree(Path(first["made"].folder)) == tree(Path(again["made"].folder))
    shutil.rmtree(first["made"].folder)
    from_own = run_yaml(tmp_path / "one", text, replay=True)
    assert tree(Path(from_own["made"].folder)) == tree(Path(again["made"].folder))


def test_a_replay_says_which_request_has_no_answer(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step made, part-00000.*no answer to request [0-9a-f]{16} to large \(Write 3"):
        run_yaml(tmp_path, yaml(tmp_path, "http://127.0.0.1:9/v1"), replay=True)


def test_the_bytes_are_the_same_for_one_worker_three_and_ray(tmp_path: Path, ray_engine: Engine) -> None:
    with serve(answer=answer) as server:
        text = yaml(tmp_path, server.url)
        trees = [
            tree(Path(run_yaml(tmp_path / name, text, resources=resources, engine=engine)["made"].folder))
            for name, resources, engine in (
                ("one", Resources(workers=1), None),
                ("three", Resources(workers=3), None),
                ("ray", Resources(workers=2), ray_engine),
            )
        ]
    assert trees[0] == trees[1] == trees[2]


def test_another_parser_or_filter_asks_nothing_again(tmp_path: Path) -> None:
    with serve(answer=answer) as server:
        text = yaml(tmp_path, server.url)
        run_yaml(tmp_path, text)
        asked = server.stats()["requests"]
        recipe = (ROOT / "curate/steps/synthesize/recipes/paraphrase.yaml").read_text()
        (tmp_path / "mine.yaml").write_text(recipe.replace("words: {least: 2}", "without: {holds: [odd]}"))
        out = run_yaml(tmp_path, text.replace("recipe: paraphrase", f"recipe: {tmp_path}/mine.yaml"))
        assert server.stats()["requests"] == asked
    assert out["made"].manifest.counts["filtered:holds-a-marker"] == 60 and out["made"].rows == 120


def test_another_cut_of_the_input_asks_nothing_again(tmp_path: Path) -> None:
    with serve(answer=answer) as server:
        text = yaml(tmp_path, server.url)
        first = run_yaml(tmp_path, text)
        asked = server.stats()["requests"]
        recut = text.replace("shard_bytes: ", "shard_bytes: 1")
        again = run_yaml(tmp_path, recut)
        assert server.stats()["requests"] == asked
    assert len(again["made"].shards) < len(first["made"].shards)
    assert rows(again["made"]) == rows(first["made"])


def test_a_key_in_the_environment_is_in_no_file_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_TEST_KEY", KEY)

    def telltale(body: dict[str, object]) -> str:
        return f"1. The key is {KEY}, they say.\n2. Another line of words here.\n3. And a third one of them."

    with serve(answer=telltale) as server:
        run_yaml(
            tmp_path, yaml(tmp_path, server.url, endpoint=", key: CURATE_TEST_KEY"), resources=Resources(workers=2)
        )
        assert server.stats()["requests"]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    kept = next((tmp_path / "made").glob("made-*/part-*.parquet"))
    texts = [text for batch in read_shard(str(kept), ["text"]) for text in batch.column("text").to_pylist()]
    assert any("The key is ***" in text for text in texts)


def test_a_missing_key_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    text = yaml(tmp_path, "http://127.0.0.1:9/v1", endpoint=", key: NO_SUCH_KEY")
    with pytest.raises(ConfigError, match="no NO_SUCH_KEY; export it, or run with --replay"):
        run_yaml(tmp_path, text)


def test_a_model_without_a_price_is_refused_when_money_is_capped(tmp_path: Path) -> None:
    text = yaml(tmp_path, "http://127.0.0.1:9/v1", budget="budget: {usd: 1}").replace("model: m,", "model: mm,", 1)
    with pytest.raises(ConfigError, match="cap in USD, but 'mm' has no price; did you mean"):
        run_yaml(tmp_path, text)


def test_an_endpoint_that_is_down_stops_the_run_and_the_rest_is_done_when_it_is_back(tmp_path: Path) -> None:
    with serve(answer=answer) as server:
        text = yaml(tmp_path, server.url, endpoint=", in_flight: 4").replace("patience: 20", "patience: 0.5")
        server.faults = Faults(reset_before=1.0, most=10**6)
        with pytest.raises(RunError, match="endpoint large has not answered for .* run the same command again"):
            run_yaml(tmp_path, text)
        server.faults = Faults()
        assert outcomes(run_yaml(tmp_path, text)["made"]) == {"accepted": 60}


def test_a_refused_row_fails_alone(tmp_path: Path) -> None:
    with serve(answer=answer, faults=Faults(refused="row 7 of")) as server:
        out = run_yaml(tmp_path, yaml(tmp_path, server.url))
    assert outcomes(out["made"]) == {"accepted": 59, "failed": 1}
    assert out["made"].manifest.counts["failed:http-400"] == 1
