from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.dataset import Dataset
from curate.report.charts import histogram_svg
from curate.report.columns import Column, Place, histogram, nearest, read_column
from curate.report.labels import labels
from curate.report.verdicts import ABSENT, KEPT, Codes, Verdicts
from curate.report.words import number
from tests.helpers import dataset


def column(values: list[float], codes: list[int] | None = None, *, integers: bool = False) -> Column:
    verdicts = np.array(codes if codes is not None else [KEPT] * len(values), np.uint16)
    starts = np.array([0], np.int64)
    return Column(Dataset("", None), "score", np.array(values, float), verdicts, starts, 1, integers)  # type: ignore[arg-type]  # not read


def all_kept(data: Dataset) -> dict[str, Codes]:
    return {shard.name: np.full(shard.rows, KEPT, np.uint16) for shard in data.shards}


def test_every_value_is_in_a_bin_beyond_the_edges_or_missing() -> None:
    rng = np.random.default_rng(0)
    values = [*rng.normal(10, 3, 5000).tolist(), float("nan"), float("nan")]
    codes = rng.choice([0, 1, KEPT], len(values)).tolist()
    figure = histogram(column(values, codes), [])
    assert figure is not None
    inside = int(figure.kept.sum() + figure.dropped.sum())
    assert inside + figure.below + figure.above + figure.nulls == len(values)
    assert (figure.below, figure.above, figure.nulls) == (50, 50, 2)
    assert not figure.log


def test_a_heavy_tail_gets_bins_of_equal_width_in_the_logarithm() -> None:
    values = np.exp(np.random.default_rng(0).normal(5, 1.5, 5000)).tolist()
    figure = histogram(column(values), [])
    assert figure is not None
    assert figure.log
    ratios = figure.edges[1:] / figure.edges[:-1]
    assert np.allclose(ratios, ratios[0])


def test_few_whole_numbers_get_a_bin_each() -> None:
    figure = histogram(column([0, 0, 1, 3, 3, 3], integers=True), [])
    assert figure is not None
    assert figure.kept.tolist() == [2, 1, 0, 3]


def test_the_range_reaches_to_a_threshold_within_the_values_and_not_to_one_far_away() -> None:
    values = [*np.linspace(0, 1, 1000).tolist(), 5.0]
    near, far = histogram(column(values), [4.0]), histogram(column(values), [100_000.0])
    assert near is not None
    assert far is not None
    assert near.edges[-1] == 4.0
    assert far.edges[-1] < 1.0
    assert ">≤ 4</text>" in histogram_svg(near, [(4.0, "≤ 4")])
    assert "threshold" not in histogram_svg(far, [(100_000.0, "≤ 100,000")])


def test_one_value_and_no_value_are_figures_too() -> None:
    figure = histogram(column([2.0, 2.0]), [])
    assert figure is not None
    assert (figure.least, figure.most, int(figure.kept.sum())) == (2.0, 2.0, 2)
    assert "NaN" not in histogram_svg(figure, []) and "nan" not in histogram_svg(figure, [])
    assert histogram(column([float("nan")]), []) is None


def test_the_nearest_are_found_among_those_that_came_as_far_as_the_rule() -> None:
    # Rule 0 dropped the row at 0.49, so that rule 1 never saw it; one row was not judged.
    values = [0.1, 0.49, 0.45, 0.51, 0.9, 0.52, 0.50]
    codes = [1, 0, 1, KEPT, KEPT, 2, ABSENT]
    assert nearest(column(values, codes), 1, 0.5, 2) == ([2, 0], [3, 5])


def test_ties_at_a_threshold_go_to_the_first_rows() -> None:
    assert nearest(column([0.4] * 10 + [0.6] * 10, [0] * 10 + [KEPT] * 10), 0, 0.5, 3) == (
        [0, 1, 2],
        [10, 11, 12],
    )


def test_a_position_leads_back_to_its_shard_and_row(tmp_path: Path) -> None:
    data = dataset(tmp_path / "scores", {"score": [1.0, 2.0]}, {"score": [3.0, None, 5.0]})
    read = read_column(data, "score", all_kept(data), integers=False)
    assert read.values[[0, 1, 2, 4]].tolist() == [1.0, 2.0, 3.0, 5.0]
    assert np.isnan(read.values[3])
    assert [read.place(i) for i in (1, 4)] == [
        Place(data.manifest.digest, "part-00000.parquet", 1),
        Place(data.manifest.digest, "part-00001.parquet", 2),
    ]


def test_a_huge_column_is_thinned_evenly_and_rows_are_still_found(tmp_path: Path) -> None:
    data = dataset(tmp_path / "scores", {"score": [0.0, 1.0, 2.0, 3.0, 4.0]}, {"score": [5.0, 6.0, 7.0]})
    read = read_column(data, "score", all_kept(data), integers=False, most=4)
    assert read.step == 2
    assert read.values.tolist() == [0.0, 2.0, 4.0, 5.0, 7.0]
    assert read.place(4) == Place(data.manifest.digest, "part-00001.parquet", 2)


def test_verdicts_follow_the_id_where_rows_are_missing(tmp_path: Path) -> None:
    judged = dataset(tmp_path / "kept", {"id": ["a", "c"], "keep": [True, False], "reason": [None, "short"]})
    scores = dataset(tmp_path / "scores", {"id": ["a", "b", "c"], "score": [1.0, 2.0, 3.0]})
    verdicts = Verdicts.of(judged)
    assert verdicts.reasons == ("short",)
    assert verdicts.beside(scores)["part-00000.parquet"].tolist() == [KEPT, ABSENT, 0]


def test_the_same_number_of_other_rows_is_not_taken_for_the_same_rows(tmp_path: Path) -> None:
    judged = dataset(tmp_path / "kept", {"id": ["a", "c"], "keep": [True, False], "reason": [None, "short"]})
    scores = dataset(tmp_path / "scores", {"id": ["b", "c"], "score": [1.0, 2.0]})
    assert Verdicts.of(judged).beside(scores)["part-00000.parquet"].tolist() == [ABSENT, 0]


def test_rare_labels_are_put_together(tmp_path: Path) -> None:
    data = dataset(tmp_path / "scores", {"language": ["en"] * 5 + ["de"] * 3 + ["fr", "it", None]})
    codes = {"part-00000.parquet": np.array([KEPT] * 4 + [0] * 7, np.uint16)}
    found = labels(data, "language", codes, most=2)
    assert [(each.value, each.kept, each.dropped) for each in found.values] == [("en", 4, 1), ("de", 0, 3)]
    assert (found.others, found.rest.kept, found.rest.dropped) == ("3 others", 0, 3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1,234,567"),
        (0.01234567, "0.01235"),
        (3.0, "3"),
        (12345.678, "12,346"),
        (1.5e-9, "1.5e-09"),
        (0.0, "0"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
