from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.core.config import BadValue, validate
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ConfigError
from curate.core.step import Job, Result
from curate.steps.filter import bucket
from curate.steps.filter.bucket import BucketConfig
from tests.conformance.published import rows as published
from tests.helpers import dataset, rows, run_step, tree


def cut(root: Path, *inputs: Dataset, workers: int = 1, cutoffs: Path | None = None, **args: object) -> Dataset:
    value = {"from": [f"d{i}" for i in range(len(inputs))], "column": "perplexity", **args}
    config = validate(BucketConfig, {**value, **({"cutoffs": str(cutoffs)} if cutoffs else {})}, ())
    return run_step(
        root,
        functools.partial(run, config, str(cutoffs)),
        {f"from[{i}]": each for i, each in enumerate(inputs)},
        config=config.identity(),
        resources=Resources(workers=workers),
    )


def run(config: BucketConfig, cutoffs: str, job: Job) -> Result:
    job.models = {"cutoffs": cutoffs}
    return bucket.run(job, config)


def buckets(out: Dataset) -> list[object]:
    return [row["bucket"] for row in rows(out)]


def test_head_middle_and_tail_are_cut_at_the_30th_and_60th_percentile(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"perplexity": [float(i) for i in range(100)]})
    out = cut(tmp_path, scores)
    assert buckets(out) == ["head"] * 30 + ["middle"] * 30 + ["tail"] * 40
    assert out.manifest.details["cutoffs"] == {"all": pytest.approx([29.7, 59.4])}
    assert out.manifest.counts == {"bucket:head": 30, "bucket:middle": 30, "bucket:tail": 40}


def test_published_perplexities_are_cut_where_the_sorted_list_is(shared: Path, tmp_path: Path) -> None:
    values = [float(row["ibmkenlm_docq_perplex_score"]) for row in published(shared, "cc_docq_kenlm_dpk.dev.jsonl.zst")]
    out = cut(tmp_path, dataset(tmp_path / "s", {"perplexity": values}))
    ranked = sorted(zip(values, buckets(out), strict=True))
    assert [name for _, name in ranked] == ["head"] * 12 + ["middle"] * 11 + ["tail"] * 16


def test_each_group_has_cut_offs_of_its_own(tmp_path: Path) -> None:
    groups = ["en", "de"] * 40
    values = [float(i // 2) + (1000 if group == "de" else 0) for i, group in enumerate(groups)]
    out = cut(tmp_path, dataset(tmp_path / "s", {"perplexity": values, "language": groups}), by="language")
    assert Counter(zip(groups, buckets(out), strict=True)) == {
        (group, name): n for group in ("en", "de") for name, n in (("head", 12), ("middle", 12), ("tail", 16))
    }
    assert out.manifest.details["scores"] == {"de": 40, "en": 40}


def test_the_cut_offs_of_one_pool_cut_another(tmp_path: Path) -> None:
    first = {"perplexity": [float(i) for i in range(60)], "language": ["en", "a, b"] * 30}
    one = cut(tmp_path / "1", dataset(tmp_path / "s", first), by="language")
    again = cut(tmp_path / "2", dataset(tmp_path / "s", first), by="language", cutoffs=Path(one.path("cutoffs.csv")))
    assert buckets(again) == buckets(one)
    assert Path(again.path("cutoffs.csv")).read_bytes() == Path(one.path("cutoffs.csv")).read_bytes()
    other = {"perplexity": [1.0, 30.0, 99.0, 5.0], "language": ["en", "en", "en", "fr"]}
    out = cut(tmp_path / "3", dataset(tmp_path / "o", other), by="language", cutoffs=Path(one.path("cutoffs.csv")))
    assert buckets(out) == ["head", "middle", "tail", None]
    assert out.manifest.counts["null:no-cutoffs"] == 1


def test_a_score_at_a_cut_off_is_in_the_bucket_above_it(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("group,0.3,0.6\nall,10,20\n")
    scores = dataset(tmp_path / "s", {"perplexity": [9.9, 10.0, 19.9, 20.0, float("inf")]})
    assert buckets(cut(tmp_path, scores, cutoffs=tmp_path / "c.csv")) == ["head", "middle", "middle", "tail", "tail"]


def test_a_row_that_cannot_be_placed_has_no_bucket_and_is_counted(tmp_path: Path) -> None:
    values = [None, float("nan"), 1.0, 2.0, *map(float, range(30))]
    groups = ["en", "en", None, "fr", *["en"] * 30]
    out = cut(tmp_path, dataset(tmp_path / "s", {"perplexity": values, "language": groups}), by="language")
    assert buckets(out)[:5] == [None, None, None, None, "head"]
    nulls = {k: n for k, n in out.manifest.counts.items() if k.startswith("null:")}
    assert nulls == {"null:no-score": 2, "null:no-group": 1, "null:no-cutoffs": 1}
    assert out.manifest.details["scores"] == {"en": 30, "fr": 1}


def test_rows_that_were_dropped_are_placed_but_do_not_move_the_cut_offs(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"perplexity": [*map(float, range(30)), *[0.5] * 30]})
    kept = dataset(tmp_path / "k", {"keep": [True] * 30 + [False] * 30, "reason": [None] * 30 + ["copy"] * 30})
    out = cut(tmp_path, scores, kept)
    assert buckets(out) == ["head"] * 9 + ["middle"] * 9 + ["tail"] * 12 + ["head"] * 30


def test_scores_that_are_all_the_same_are_in_one_bucket_and_no_scores_make_no_cut_offs(tmp_path: Path) -> None:
    assert set(buckets(cut(tmp_path / "1", dataset(tmp_path / "s", {"perplexity": [4.0] * 30})))) == {"tail"}
    out = cut(tmp_path / "2", dataset(tmp_path / "e", {"perplexity": pa.array([None, None], pa.float64())}))
    assert (buckets(out), out.manifest.details["cutoffs"]) == ([None, None], {})


def test_the_bytes_are_those_of_the_rows_for_any_cut_and_names_are_free(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=60).tolist()
    whole = cut(tmp_path / "1", dataset(tmp_path / "w", {"perplexity": values}), at=[0.5], names=["low", "high"])
    parts = dataset(tmp_path / "p", *({"perplexity": values[i : i + 13]} for i in range(0, 60, 13)))
    assert buckets(cut(tmp_path / "2", parts, at=[0.5], names=["low", "high"])) == buckets(whole)
    assert Counter(buckets(whole)) == {"low": 30, "high": 30}


@pytest.mark.slow
def test_the_bytes_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    parts = dataset(tmp_path / "p", *({"perplexity": [float(i), 3.0 * i]} for i in range(20)))
    one, two = cut(tmp_path / "1", parts), cut(tmp_path / "2", parts, workers=2)
    assert tree(Path(one.folder)) == tree(Path(two.folder))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"at": [0.6, 0.3]}, "quantiles rise"),
        ({"at": [0.3, 1.0]}, "between 0 and 1"),
        ({"at": [0.5]}, "1 quantiles make 2 buckets"),
        ({"names": ["a", "a", "b"]}, "to name"),
        ({"min_rows": 0}, "min_rows"),
        ({"colum": "x"}, "did you mean 'column'"),
    ],
)
def test_a_config_of_the_wrong_shape_is_refused(args: dict, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        validate(BucketConfig, {"from": "s", "column": "x", **args}, ())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("group,0.3\nall,1\n", "no column for the quantile 0.6; it has 0.3"),
        ("group,low,high\nall,1,2\n", "its columns are quantiles"),
        ("group,0.3,0.6\nall,3,2\n", "the cut-offs of 'all' are .*; they rise"),
        ("group,0.3,0.6\nall,3,\n", "none is empty"),
    ],
)
def test_a_file_of_cut_offs_that_makes_no_sense_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(table)
    with pytest.raises(ConfigError, match=message):
        cut(tmp_path, dataset(tmp_path / "s", {"perplexity": [1.0]}), cutoffs=tmp_path / "c.csv")


def test_an_unknown_column_or_one_without_numbers_is_refused(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"perplexity": ["high"], "language": ["en"]})
    with pytest.raises(ConfigError, match="no column 'langage'.*did you mean 'language'"):
        cut(tmp_path, scores, by="langage")
    with pytest.raises(ConfigError, match="perplexity holds string"):
        cut(tmp_path, scores)


def test_a_column_may_be_its_own_group(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [1.0, 2.0, 2.0]})
    assert buckets(cut(tmp_path, scores, column="q", by="q", min_rows=2)) == [None, "tail", "tail"]
