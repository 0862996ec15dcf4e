"""The stages of an n-gram fit, through an engine and within a memory."""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import zstandard

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import RunError
from curate.core.step import Receipt
from curate.models.ngram import fit
from curate.models.ngram.counts import count_shard
from curate.models.ngram.fit import fit_ngram
from curate.models.ngram.plan import Options, Part, Plan, read_plan
from curate.models.ngram.text_form import TextForm
from curate.steps.train import ngram_method
from curate.steps.train.ngram_method import Ngram
from curate.steps.train.step import parse
from tests.helpers import dataset, run_step, tree

ORDER = 3
FORM = TextForm("ccnet_spaced", "punct")
METHOD = Ngram.model_validate({"from": "good", "order": ORDER})
Stage = Callable[[Plan, Part], Receipt]


@pytest.fixture(scope="module")
def prose(shared: Path) -> list[str]:
    """Some 400,000 characters."""
    found: list[str] = []
    with zstandard.open(shared / "data/hq_text.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        for line in stream:
            found.append(orjson.loads(line)["text"])
            if sum(map(len, found)) > 400_000:
                break
    return found


@pytest.fixture
def good(tmp_path: Path, prose: list[str]) -> Dataset:
    return dataset(tmp_path / "good", {"text": [text[:4000] for text in prose[:4]]})


@pytest.fixture
def several_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of few n-grams, so that a short text has several."""
    monkeypatch.setattr(ngram_method, "Options", functools.partial(Options, range_rows=700))


def _record(monkeypatch: pytest.MonkeyPatch, failing: dict[str, int] | None = None) -> list[tuple[str, int]]:
    """What tasks of which stages run from here on; the given task of a stage fails."""
    ran: list[tuple[str, int]] = []

    def recorded(name: str, function: Stage) -> Stage:
        def stage(given: Plan, part: Part) -> Receipt:
            ran.append((name, part.index))
            if failing and failing.get(name) == part.index:
                raise RunError("no more room")
            return function(given, part)

        return stage

    for name in ("split", "merge", "contexts", "render"):
        monkeypatch.setattr(fit, name, recorded(name, getattr(fit, name)))
    return ran


@pytest.mark.slow
def test_the_engine_makes_what_the_plain_function_makes_of_one_range(
    tmp_path: Path, good: Dataset, several_ranges: None
) -> None:
    made = run_step(tmp_path / "run", METHOD.run, {"from[0]": good}, resources=Resources(workers=2))
    texts = [text for shard in good.shards for batch in good.read(shard) for text in batch.column("text").to_pylist()]
    count_shard(texts, str(tmp_path / "counted"), order=ORDER, form=FORM)
    fit_ngram([str(tmp_path / "counted")], str(tmp_path / "model.arpa"))
    for name in ("model.arpa", "model.arpa.json"):
        assert Path(made.folder, name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_fit_that_is_stopped_goes_on_with_the_ranges_that_are_left(
    tmp_path: Path, good: Dataset, several_ranges: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_step(tmp_path / "whole", METHOD.run, {"from[0]": good})
    with monkeypatch.context() as patch, pytest.raises(RunError, match="no more room; what is done is kept"):
        ran = _record(patch, {"render": 2})
        run_step(tmp_path / "cut", METHOD.run, {"from[0]": good})
    ranges = sum(name == "merge" for name, _ in ran)
    assert ranges > 3
    (folder,) = (tmp_path / "cut").iterdir()
    assert not (folder / "model.arpa").exists()
    ran = _record(monkeypatch)
    again = run_step(tmp_path / "cut", METHOD.run, {"from[0]": good})
    assert ran == [("render", index) for index in range(2, ranges)]
    assert tree(Path(again.folder)) == tree(Path(whole.folder))


def test_a_model_is_not_made_without_one_of_its_ranges(
    tmp_path: Path, good: Dataset, several_ranges: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(monkeypatch, {"merge": 1})
    with pytest.raises(RunError, match="1 of .* tasks of 'merge' failed"):
        run_step(tmp_path / "run", METHOD.run, {"from[0]": good}, resources=Resources(workers=1, keep_going=True))


def test_pruning_and_the_vocabulary_are_arguments_of_the_method(tmp_path: Path, good: Dataset) -> None:
    method = Ngram.model_validate({"from": "good", "order": ORDER, "prune": [0, 0, 1], "vocabulary": 100})
    card = run_step(tmp_path / "run", method.run, {"from[0]": good}).manifest.details["card"]
    assert isinstance(card, dict)
    assert (card["prune"], card["vocabulary"]) == ([0, 0, 1], 100)
    assert isinstance(card["ngrams"], list) and card["ngrams"][0] == 103


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"prune": [0, 2, 1]}, "none below the last"),
        ({"prune": [0, 0, 0, 1]}, "up to 3 thresholds"),
        ({"prune": [-1]}, "prune"),
        ({"vocabulary": 0}, "vocabulary"),
        ({"order": 7}, "order"),
    ],
)
def test_arguments_that_make_no_model_are_refused_before_anything_runs(args: dict[str, object], says: str) -> None:
    with pytest.raises(BadValue, match=says):
        parse({"ngram": {"from": "good", "order": ORDER, **args}}, ("lm", "train"))  # type: ignore[dict-item]


def _peak(count_files: list[str], model: str, range_rows: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many ranges the fit had, and the most memory that its arrays took at once."""
    ranges: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(fit, "read_plan", lambda folder: ranges.append(read_plan(folder).ranges) or read_plan(folder))
        tracemalloc.start()
        fit_ngram(count_files, model, Options(range_rows=range_rows))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return ranges[0], peak


@pytest.mark.slow
def test_a_fit_holds_one_range_of_the_ngrams_at_a_time(
    tmp_path: Path, prose: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count_files = [str(tmp_path / f"{i}.parquet") for i in range(4)]
    for i, path in enumerate(count_files):
        count_shard(prose[i::4], path, order=5, form=FORM)
    one, whole = _peak(count_files, str(tmp_path / "one.arpa"), 10**9, monkeypatch)
    many, parts = _peak(count_files, str(tmp_path / "many.arpa"), 8_000, monkeypatch)
    assert one == 1 and many > 8
    assert parts < whole / 4
    assert (tmp_path / "one.arpa").read_bytes() == (tmp_path / "many.arpa").read_bytes()
