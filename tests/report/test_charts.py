from __future__ import annotations

import re

import numpy as np
import pytest

from curate.report.charts import Line, curve_svg, histogram_svg
from curate.report.columns import histogram
from tests.report.test_columns import column


def texts(svg: str) -> list[tuple[float, float, str]]:
    found = re.findall(r'<text[^>]*x="([\d.-]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    return [(float(x), float(y), label) for x, y, label in found]


def test_the_labels_of_a_window_do_not_lie_over_each_other() -> None:
    figure = histogram(column(np.linspace(0, 1, 1000).tolist()), [])
    assert figure is not None
    svg = histogram_svg(figure, [(0.5, "≥ 0.5"), (0.52, "≤ 0.52"), (0.9, "≤ 0.9")])
    labels = {label: (x, y) for x, y, label in texts(svg)}
    assert labels["≥ 0.5"][1] == labels["≤ 0.9"][1] < labels["≤ 0.52"][1]
    assert svg.count('<line class="threshold"') == 3


def test_two_rules_with_one_threshold_draw_one_line() -> None:
    figure = histogram(column(np.linspace(0, 1, 1000).tolist()), [])
    assert figure is not None
    svg = histogram_svg(figure, [(0.5, "≥ 0.5"), (0.5, "≥ 0.5")])
    assert svg.count('<line class="threshold"') == 1


def test_more_thresholds_than_have_room_keep_their_lines() -> None:
    figure = histogram(column(np.linspace(0, 1, 1000).tolist()), [])
    assert figure is not None
    svg = histogram_svg(figure, [(0.4 + i / 1000, f"≥ 0.40{i}") for i in range(8)])
    assert svg.count('<line class="threshold"') == 8
    assert svg.count(">≥ 0.40") == 3


def test_the_ticks_of_whole_numbers_are_whole() -> None:
    figure = histogram(column([0, 0, 1], integers=True), [])
    assert figure is not None
    assert figure.whole
    assert [label for *_, label in texts(histogram_svg(figure, []))] == ["0", "1"]


def test_a_column_that_hardly_varies_shows_what_varies() -> None:
    figure = histogram(column([0.0] * 999 + [0.25]), [])
    assert figure is not None
    assert (figure.edges[0], figure.edges[-1], figure.below, figure.above) == (0, 0.25, 0, 0)


def test_a_curve_falls_from_left_to_right_and_names_its_axis() -> None:
    svg = curve_svg([Line("train", [(1000, 6.0), (2000, 5.0)]), Line("held-out", [(2000, 5.5)])], "tokens <learnt>")
    (line,) = re.findall(r'<polyline class="curve train" points="([^"]*)"', svg)
    (x1, y1), (x2, y2) = ([float(v) for v in point.split(",")] for point in line.split())
    assert x1 < x2
    assert y1 < y2  # an SVG counts from the top
    assert "tokens &lt;learnt&gt;" in svg
    assert svg.count("<circle") == 3


@pytest.mark.parametrize("points", [[(0.0, 2.0)], [(5.0, 2.0), (9.0, 2.0)]])
def test_a_curve_of_one_value_is_a_picture_too(points: list[tuple[float, float]]) -> None:
    svg = curve_svg([Line("train", points)], "tokens")
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count("<circle") == len(points)


def test_no_points_are_no_curve() -> None:
    assert curve_svg([Line("train", [])], "tokens") == ""
