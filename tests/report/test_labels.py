from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from curate.core.dataset import Dataset
from curate.report.labels import LENGTH, Labels, labels, shown
from curate.report.verdicts import KEPT, Codes
from tests.helpers import dataset


def some_kept(data: Dataset) -> dict[str, Codes]:
    """Every third row is dropped."""
    codes = {}
    start = 0
    for shard in data.shards:
        codes[shard.name] = np.where(np.arange(start, start + shard.rows) % 3, KEPT, 0).astype(np.uint16)
        start += shard.rows
    return codes


def hosts(seed: int = 0) -> list[str]:
    """Three common hosts among a thousand that are there once."""
    rng = np.random.default_rng(seed)
    names = ["a.example"] * 500 + ["b.example"] * 300 + ["c.example"] * 200 + [f"rare-{i}.example" for i in range(1000)]
    return [names[i] for i in rng.permutation(len(names))]


def counted(data: Dataset, counters: int) -> Labels:
    return labels(data, "host", some_kept(data), most=5, counters=counters)


def test_common_values_are_exact_although_few_counters_are_kept(tmp_path: Path) -> None:
    names = hosts()
    data = dataset(tmp_path / "s", *({"host": names[i : i + 100]} for i in range(0, 2000, 100)))
    kept = Counter(name for i, name in enumerate(names) if i % 3)
    found = counted(data, counters=40)
    assert [(each.value, each.kept, each.kept + each.dropped) for each in found.values] == [
        ("a.example", kept["a.example"], 500),
        ("b.example", kept["b.example"], 300),
        ("c.example", kept["c.example"], 200),
    ]
    assert found.others == "more than 37 others"
    assert found.rest.kept + found.rest.dropped == 1000
    assert found.rest.kept + sum(each.kept for each in found.values) == sum(kept.values())


def test_how_the_rows_are_cut_into_shards_changes_no_common_value(tmp_path: Path) -> None:
    names = hosts(1)
    one = counted(dataset(tmp_path / "one", {"host": names}), counters=40)
    many = counted(dataset(tmp_path / "many", *({"host": names[i : i + 70]} for i in range(0, 2000, 70))), counters=40)
    assert one == many


def test_values_that_fit_the_counters_are_all_counted(tmp_path: Path) -> None:
    found = counted(dataset(tmp_path / "s", {"host": hosts()}), counters=2000)
    assert found.others == "998 others"
    assert [each.value for each in found.values] == [
        *("a.example", "b.example", "c.example"),
        *("rare-0.example", "rare-1.example"),
    ]


def test_a_column_of_nothing_but_different_values_says_so(tmp_path: Path) -> None:
    found = counted(dataset(tmp_path / "s", {"host": [f"h{i}" for i in range(1000)]}), counters=40)
    assert found.values == ()
    assert found.others == "more than 40 others"
    assert found.rest.kept + found.rest.dropped == found.most == 1000


def test_a_long_value_is_cut_and_one_that_turns_the_page_around_is_marked(tmp_path: Path) -> None:
    found = counted(dataset(tmp_path / "s", {"host": ["x" * 1000, "x" * 2000, ""]}), counters=40)
    assert [(shown(each.value), each.kept + each.dropped) for each in found.values] == [
        ("x" * LENGTH + "…", 2),
        ("(empty)", 1),
    ]
    assert shown("a\u202eb\nc") == "a\ufffdb c"
