"""What the report says of made rows, each figure computed here once more from the rows themselves."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.report.build import build_report
from curate.report.charts import Interval, intervals_svg
from curate.report.coverage import coverage
from curate.report.students import students
from curate.report.synthesis import EACH, FAMILIES, Synthesized, synthesis
from tests.helpers import dataset, rows
from tests.report.test_report import Page, funnel, section
from tests.report.test_summary import HOSTILE, made_run, outcomes


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Dataset]]:
    yield made_run(tmp_path_factory.mktemp("synthesis"))


@pytest.fixture(scope="module")
def found(outputs: dict[str, Dataset]) -> dict[str, Synthesized]:
    return {each.name: each for each in synthesis(outputs)}


@pytest.fixture(scope="module")
def page(outputs: dict[str, Dataset]) -> str:
    return build_report("demo", outputs)


def test_every_step_is_there_in_the_order_of_the_run(found: dict[str, Synthesized]) -> None:
    assert list(found) == ["para", "again", "born", "made"]
    assert [each.recipe for each in found.values()] == ["paraphrase", "paraphrase", "born", "classification"]
    assert found["para"].model == "large (m)"
    assert synthesis({}) == []


def test_the_bar_of_outcomes_adds_up(found: dict[str, Synthesized], outputs: dict[str, Dataset]) -> None:
    for name, each in found.items():
        states = Counter(row["fate"] for row in outcomes(outputs[name]))
        left = each.outcomes.rows
        for line in each.lines:
            left -= line.rows
            assert line.left == left
        assert left == each.outcomes.accepted == states["accepted"]
    para = [(line.kind, line.label, line.rows) for line in found["para"].lines]
    assert para == [
        ("dropped", "rejected: too-near", 3),
        ("dropped", "rejected: refusal", 2),
        ("dropped", "rejected: form", 1),
        ("quarantined", "failed: http-400", 1),
    ]


def test_the_bar_on_the_page_adds_up_too(page: str) -> None:
    (part,) = [
        each
        for each in section(page, "synthesis").split("<details class")
        if "<div id=made-para" in each or 'id="made-para"' in each
    ]
    bar = part.split('<div class="funnel">')[1].split("</div>")[0]
    counts = [int(n.replace(",", "")) for n in re.findall(r'<span class="number[^"]*">([\d,]+)</span>', bar)]
    assert counts[0] == 30 == sum(counts[1:])


def test_rows_by_label_and_rows_of_one_input_row(found: dict[str, Synthesized], outputs: dict[str, Dataset]) -> None:
    made = rows(outputs["made"])
    reported = found["made"].labels
    assert reported is not None
    assert {each.value: each.kept for each in reported.values} == Counter(row["label"] for row in made)
    assert found["para"].labels is None and found["made"].answered is None
    each = [int(str(row["rows"])) for row in outcomes(outputs["para"]) if row["fate"] == "accepted"]
    facts = dict(found["para"].facts)
    assert facts["made of one row"] == f"{min(each)} to {max(each)}"
    assert facts["rows made"] == str(sum(each))
    assert "made of one prompt" in dict(found["born"].facts)


def test_coverage_is_that_of_the_rows(found: dict[str, Synthesized], outputs: dict[str, Dataset]) -> None:
    counts: dict[tuple[object, str], Counter[str]] = defaultdict(Counter)
    for row in rows(outputs["made"]):
        for name, value in json.loads(str(row["attributes"])).items():
            counts[row["label"], name][value] += 1
    assert {(each.label, each.attribute) for each in found["made"].coverage} == set(counts)
    for each in found["made"].coverage:
        own = counts[each.label, each.attribute]
        assert (each.values, each.rows) == (len(own), sum(own.values()))
        assert each.least.rows == min(own.values()) == own[each.least.value]
        assert each.most.rows == max(own.values()) == own[each.most.value]
    assert found["para"].coverage == ()


def test_attributes_that_are_no_object_of_strings_are_passed_over(tmp_path: Path) -> None:
    texts = ['{"a": "x", "b": 3}', "[1]", "no json", None, '{"a": "y"}', '{"a": "x"}']
    (reported,) = coverage(dataset(tmp_path / "made", {"attributes": texts}), [])
    assert (reported.label, reported.attribute, reported.values, reported.rows) == ("", "a", 2, 3)
    assert (reported.least.value, reported.least.rows, reported.most.value, reported.most.rows) == ("y", 1, "x", 2)


def test_made_rows_stand_beside_their_own_parents(found: dict[str, Synthesized], outputs: dict[str, Dataset]) -> None:
    for name, source in (("para", "seeds"), ("again", "para"), ("made", "labels")):
        own: dict[str, list[str]] = defaultdict(list)
        for row in rows(outputs[name]):
            own[row["parents"][0]].append(str(row["id"]))  # type: ignore[index]
        said = {row["id"]: row["text"] for row in rows(outputs[source])}
        assert [each.parents[0].id for each in found[name].families] == sorted(own)[:FAMILIES]
        for each in found[name].families:
            (parent,) = each.parents
            assert parent.text == said[parent.id] and each.more == 0
            assert [row.id for row in each.made] == sorted(own[parent.id])[:EACH]
    (alone,) = found["born"].families
    assert alone.parents == () and len(alone.made) == 2


def test_what_was_not_taken_is_shown_with_its_reason(
    found: dict[str, Synthesized], outputs: dict[str, Dataset]
) -> None:
    reported = {(each.what, each.reason): each for each in found["para"].lost}
    dropped = [(row["id"], some) for row in outcomes(outputs["para"]) for some in row["dropped"]]  # type: ignore[attr-defined]
    repeated = reported["filtered", "repeated"]
    assert repeated.count == sum(some["reason"] == "repeated" for _, some in dropped)
    assert {(row.id, row.text) for row in repeated.rows} <= {(key, some["text"]) for key, some in dropped}
    assert [row.text for row in reported["rejected", "refusal"].rows] == ["I'm sorry, but I cannot help with that."] * 2
    assert reported["failed", "http-400"].count == 1


def test_lengths_are_the_words_of_the_rows(found: dict[str, Synthesized], outputs: dict[str, Dataset]) -> None:
    lengths = found["para"].lengths
    assert lengths is not None
    for value, name in ((lengths.made, "para"), (lengths.given, "seeds")):
        assert value == median(len(str(row["text"]).split()) for row in rows(outputs[name]))
    figure = lengths.figure
    assert figure.kept.sum() + figure.dropped.sum() + figure.below + figure.above == outputs["para"].rows + 30
    assert found["born"].lengths is None


def test_the_page_begins_with_what_was_made_and_adds_up(page: str, outputs: dict[str, Dataset]) -> None:
    reported = funnel(page)
    made = outputs["made"].rows
    assert reported["made"] == made == sum(n for name, n in reported.items() if name != "made")
    assert Page(page).text.count(f"Of {made} made rows, {outputs['out'].rows} (") == 1


def test_a_run_that_ends_with_made_rows_tells_their_funnel(outputs: dict[str, Dataset]) -> None:
    names = ("seeds", "labels", "heldout", "made")
    reported = funnel(build_report("demo", {name: outputs[name] for name in names}))
    assert reported == {"made": outputs["made"].rows, "kept": outputs["made"].rows}


def test_what_a_verify_step_found_is_among_the_scores(page: str) -> None:
    scores = section(page, "scores")
    assert ">length_words</h3>" in scores and "≥ 5: " in scores
    assert ">near_" in scores


def test_what_a_model_wrote_is_shown_as_text(page: str) -> None:
    parsed = Page(page)
    assert "<script" not in page
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "img")]
    assert HOSTILE in Page(section(page, "synthesis")).text
    links = {str(a["href"])[1:] for _, a in parsed.tags if str(a.get("href") or "").startswith("#")}
    assert links <= {a["id"] for _, a in parsed.tags if "id" in a}


def student(folder: Path) -> Dataset:
    """The output of a student step, as its manifest tells it."""
    gain: dict[str, Plain] = {"value": 0.125, "low": 0.05, "high": 0.2}
    shares: dict[str, Plain] = {"value": 0.7, "low": 0.6, "high": 0.75}
    lines: list[Plain] = [
        {"variant": "seeds", "rows": 30, "accuracy": 0.7, "low": 0.64, "high": 0.76, "macro_f1": shares, "gain": None},
        {
            "variant": HOSTILE,
            "rows": 1230,
            "accuracy": 0.825,
            "low": 0.78,
            "high": 0.87,
            "macro_f1": shares,
            "gain": gain,
        },
    ]
    test = dataset(folder / "student", {"label": ["a", "b"]}, kind="student")
    details: dict[str, Plain] = {"students": 5, "test_rows": 240, "table": lines}
    return dataclasses.replace(test, manifest=dataclasses.replace(test.manifest, details=details))


def test_students_have_a_line_each_with_its_interval(outputs: dict[str, Dataset], tmp_path: Path) -> None:
    (reported,) = students({"student": student(tmp_path)})
    assert [each.accuracy for each in reported.rows] == ["70.0 %", "82.5 %"]
    assert [each.gain for each in reported.rows] == ["", "+12.5 (+5.0 to +20.0)"]
    page = build_report("demo", {"student": student(tmp_path / "alone"), **outputs})
    part = section(page, "synthesis")
    assert part.count('<circle class="interval"') == part.count('<line class="interval"') == 2
    assert "<script" not in page
    text = Page(part).text
    assert "1,230 82.5 % 78.0 to 87.0 70.0 % +12.5 (+5.0 to +20.0)" in text
    assert "Accuracy on 240 test rows" in text and "5 students of each variant" in text


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3).map(sorted), max_size=6))
def test_every_interval_lies_within_the_picture_around_its_value(shares: list[list[float]]) -> None:
    svg = intervals_svg([Interval(f"v{i}", value, low, high) for i, (low, value, high) in enumerate(shares)])
    dots = [float(x) for x in re.findall(r'<circle class="interval" cx="([\d.]+)"', svg)]
    lines = re.findall(r'<line class="interval" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', svg)
    assert len(dots) == len(lines) == len(shares)
    for dot, (left, right) in zip(dots, lines, strict=True):
        assert 216 <= float(left) <= dot <= float(right) <= 632
