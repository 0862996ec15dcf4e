from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path

import numpy as np

import curate.steps.filter.bucket
from curate.core.config import validate
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.report.buckets import GROUPS, buckets
from curate.report.build import build_report
from curate.steps.filter.bucket import BucketConfig
from tests.helpers import dataset, rows


def scored(root: Path, languages: list[str | None]) -> Dataset:
    """A dataset of two shards beside which a step can put its output."""
    values = np.random.default_rng(0).lognormal(6, 1, len(languages)).round(1).tolist()
    columns = {"id": [f"{i:032x}" for i in range(len(languages))], "perplexity": values, "language": languages}
    cut = len(languages) // 3
    shards = ({k: v[:cut] for k, v in columns.items()}, {k: v[cut:] for k, v in columns.items()})
    made = dataset(root / "scores", *shards)
    folder = root / f"scores-{made.manifest.digest[:8]}"
    (root / "scores").rename(folder)
    return Dataset.open(str(folder))


def parts(root: Path, scores: Dataset, **config: Plain) -> Dataset:
    parsed = validate(BucketConfig, {"from": "scores", "column": "perplexity", **config}, ())
    run = functools.partial(curate.steps.filter.bucket.run, config=parsed)
    step = Step("parts", "bucket", 1, parsed.identity(), {"from[0]": scores}, {}, run)
    return execute(step, str(root), LocalEngine(), Resources(workers=1), Progress("quiet"))


def test_the_rows_of_every_bucket_are_counted_with_the_range_of_its_scores(tmp_path: Path) -> None:
    made = parts(tmp_path, scored(tmp_path, ["en"] * 100))
    found = buckets("parts", made)
    (group,) = found.groups
    counts = Counter(row["bucket"] for row in rows(made))
    assert {each.name: each.count for each in group.rows} == counts
    assert [each.range[:1] for each in group.rows][::2] == ["<", "≥"]
    assert " to " in group.rows[1].range
    assert sum(each.percent for each in group.rows) == 100
    assert (found.by, found.without) == ("", ())


def test_groups_are_counted_apart_the_largest_first_and_rows_without_a_bucket_are_reported(tmp_path: Path) -> None:
    languages: list[str | None] = [*["de"] * 30, *["en"] * 60, *["it"] * 5, None, None]
    scores = scored(tmp_path, languages)
    made = parts(tmp_path, scores, by="language")
    found = buckets("parts", made)
    language = {row["id"]: row["language"] for row in rows(scores)}
    counts = Counter((language[row["id"]], row["bucket"]) for row in rows(made))
    assert [group.name for group in found.groups] == ["en", "de"]
    for group in found.groups:
        assert {each.name: each.count for each in group.rows} == {
            name: counts[group.name, name] for name in ("head", "middle", "tail")
        }
    assert found.without == (("in groups that are too small for cut-offs", 5), ("without a group", 2))


def test_of_many_groups_the_smaller_are_one_line(tmp_path: Path) -> None:
    languages: list[str | None] = [f"l{i:02d}" for i in range(20) for _ in range(5 + (i == 7))]
    found = buckets("parts", parts(tmp_path, scored(tmp_path, languages), by="language", min_rows=1))
    assert len(found.groups) == GROUPS
    assert found.groups[0].name == "l07"
    assert found.more == (8, 40)


def test_the_page_shows_the_buckets_of_a_run(tmp_path: Path) -> None:
    scores = scored(tmp_path, [*["de"] * 30, *["<b>en</b>"] * 60])
    page = build_report("demo", {"scores": scores, "parts": parts(tmp_path, scores, by="language")})
    part = re.split(r'<section id="buckets">|</section>', page.split('id="buckets"', 1)[1])[0]
    assert [part.count(f">{name}</td>") for name in ("head", "middle", "tail")] == [2, 2, 2]
    assert "&lt;b&gt;en&lt;/b&gt;" in part
    assert "<b>" not in part
    assert '<a href="#buckets">' in page
