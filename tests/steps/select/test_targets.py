"""Targets and features: ragged tasks, rows without a feature, and features that do not fit one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.kinds import build
from curate.steps.select.features import FEATURES
from curate.steps.select.step import SELECTORS
from tests.helpers import rows
from tests.steps.select.letters import Letters, Near, chats, features
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import pool


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "letters", Letters)
    monkeypatch.setitem(SELECTORS, "near", Near)


Setting = tuple[Dataset, dict[str, Dataset]]


@pytest.fixture
def setting(tmp_path: Path) -> Callable[..., Setting]:
    """A pool of six rows, two of them without a feature, and targets of two tasks, with the features of both."""

    def make(*targets: str, tasks: Sequence[str | None] = (), **letters: object) -> Setting:
        docs = pool(tmp_path / "docs", chats("aaa", "xyz", "bbb", "ccc", "ab", ""), shards=2)
        aim = pool(tmp_path / "aim", chats(*targets), step="aim", columns={"task": tasks} if tasks else None)
        return docs, {
            "v": features(tmp_path, docs),
            "t": aim,
            "tv": features(tmp_path, aim, name="aims", **letters),
        }

    return make


NEAR = {"features": "v", "targets": "t", "target_features": "tv"}


def test_rows_without_a_feature_keep_its_reason_and_the_nearest_are_taken(setting: Callable[..., Setting], tmp_path: Path) -> None:  # fmt: skip
    docs, others = setting("a")
    found = selected(tmp_path, [docs], others, budget=2, near=NEAR)
    assert taken(found) == ["00000", "00004"]
    reasons = [row["reason"] for row in rows(found)]
    assert reasons == [None, "no-letters", "not selected", "not selected", None, "no-letters"]


def test_tasks_are_ragged_sorted_by_name_and_lose_the_examples_without_a_feature(setting: Callable[..., Setting], tmp_path: Path) -> None:  # fmt: skip
    docs, others = setting("b", "a", "-", "c", "bb", tasks=["two", "one", "two", "two", "two"])
    found = selected(tmp_path, [docs], others, budget=1, near={**NEAR, "by": "task"})
    assert found.manifest.details["tasks"] == {"one": ["00001"], "two": ["00000", "00003", "00004"]}
    assert list(found.manifest.details["tasks"]) == ["one", "two"]  # type: ignore[arg-type]


def test_of_several_targets_each_is_a_task_and_a_value_of_the_column_bears_its_name(
    setting: Callable[..., Setting], tmp_path: Path
) -> None:
    docs, others = setting("b", "a", tasks=["x", "y"])
    more = pool(tmp_path / "more", chats("c"), step="more", columns={"task": ["x"]})
    others |= {"m": more, "mv": features(tmp_path, more, name="mores")}
    near = {"features": "v", "targets": ["t", "m"], "target_features": ["tv", "mv"]}
    one = selected(tmp_path / "one", [docs], others, budget=1, near=near)
    assert one.manifest.details["tasks"] == {"m": ["00000"], "t": ["00000", "00001"]}
    by = selected(tmp_path / "by", [docs], others, budget=1, near={**near, "by": "task"})
    assert by.manifest.details["tasks"] == {"m/x": ["00000"], "t/x": ["00000"], "t/y": ["00001"]}


@pytest.mark.parametrize(
    ("targets", "tasks", "message"),
    [
        ((), (), "no row"),
        (("a", "b"), ("x", None), "1 examples of the target t have no task; name their task"),
        (("a", "-", "="), ("x", "y", "y"), r"no example of the task y has a feature in tv: no-letters \(2\)"),
    ],
)
def test_a_target_without_rows_tasks_or_features_is_refused(
    setting: Callable[..., Setting], tmp_path: Path, targets: Sequence[str], tasks: Sequence[str | None], message: str
) -> None:
    if not targets:
        docs, others = setting("a")
        others["t"] = pool(tmp_path / "none", [], step="none")
        by = {}
    else:
        docs, others = setting(*targets, tasks=tasks)
        by = {"by": "task"}
    with pytest.raises(ConfigError, match=message):
        selected(tmp_path, [docs], others, budget=1, near={**NEAR, **by})


def test_features_made_in_another_way_are_refused_with_what_differs(setting: Callable[..., Setting], tmp_path: Path) -> None:  # fmt: skip
    docs, others = setting("a", letters="abc")
    with pytest.raises(BadValue, match="v and tv were not made alike: letters.letters is abcd and abc; compute both"):
        selected(tmp_path, [docs], others, budget=1, near=NEAR)


def test_another_optimizer_and_kind_of_number_are_no_difference(setting: Callable[..., Setting], tmp_path: Path) -> None:  # fmt: skip
    docs, others = setting("a", optimizer="none", kind="int8")
    assert taken(selected(tmp_path, [docs], others, budget=1, near=NEAR)) == ["00000"]


def test_what_can_be_seen_in_the_config_is_refused_before_anything_runs() -> None:
    steps = {
        "pool": {"read": {"path": "in.jsonl"}},
        "aim": {"read": {"path": "aim.jsonl"}},
        "v": {"features": {"from": "pool", "letters": {}}},
        "tv": {"features": {"from": "aim", "letters": {"letters": "xy"}}},
    }
    near = {"features": "v", "targets": "aim", "target_features": "tv"}
    for args, message in (
        (near, "letters.letters is abcd and xy"),
        ({**near, "features": "pool"}, "the step pool computes no features"),
        ({**near, "target_features": ["tv", "v"]}, "another number of steps than targets"),
        ({**near, "targets": ["aim", "aim"], "target_features": ["tv", "tv"]}, "names aim twice"),
    ):
        picks = {"select": {"from": "pool", "budget": 1, "near": args}}
        with pytest.raises(BadValue, match=message):
            build({**steps, "picks": picks})  # type: ignore[dict-item]


def test_features_are_computed_for_the_rows_that_are_kept_and_for_no_others(setting: Callable[..., Setting], tmp_path: Path) -> None:  # fmt: skip
    docs, others = setting("a", "ab")
    kept = selected(tmp_path, [docs], others, budget=2, near=NEAR)
    some = features(tmp_path, docs, kept, name="some")
    assert [row["id"] for row in rows(some)] == ["00000", "00004"] and some.manifest.dropped == 4
    again = selected(tmp_path / "again", [docs, kept], {**others, "v": some}, budget=1, near=NEAR)
    assert taken(again) == ["00000"]
    assert [row["reason"] for row in rows(again)][1:4] == ["no-letters", "not selected", "not selected"]
    alone = selected(tmp_path / "alone", [docs], {**others, "v": some}, budget=1, near=NEAR)
    assert rows(alone)[2]["reason"] == "absent from some"
    with pytest.raises(ConfigError, match="docs keeps and drops nothing|pool keeps and drops nothing"):
        features(tmp_path, docs, docs, name="wrong")
