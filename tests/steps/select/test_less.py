"""The selector `less`: scores as plain loops give them, and error bars that hold what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.chat.messages import Conversation, Turn
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.steps.select.noise import lead_errors, lengths, projection_error
from curate.steps.select.pool import Floats
from curate.steps.select.store import Rows
from tests.helpers import rows
from tests.steps.select.picks import selected
from tests.steps.select.pools import features, pool

WIDTH, WEIGHTS, BUDGET = 64, (0.7, 0.3), 12
TALK: Conversation = (Turn("user", "Say something."), Turn("assistant", "Something."))
# Of ragged sizes, and not in order.
TASKS = ["b", "a", "c", "b", "c", "c", "b", "c", "c", "c", "b", "c", "c", "b", "c"]


def towards(directions: Rows, seed: int, strength: float = 0.3) -> Rows:
    """Random unit vectors, each partly in one of the directions."""
    drawn = np.random.default_rng(seed).standard_normal(directions.shape) / np.sqrt(WIDTH)
    mixed = drawn + strength * directions
    return (mixed / np.linalg.norm(mixed, axis=2, keepdims=True)).astype(np.float32)


DIRECTIONS = towards(np.zeros((3, len(WEIGHTS), WIDTH), np.float32), 7)
ROWS = towards(np.repeat(DIRECTIONS, 20, axis=0), 1)
EXAMPLES = towards(DIRECTIONS[["abc".index(task) for task in TASKS]], 2)


def inputs(tmp_path: Path, rows: Rows = ROWS) -> dict[str, Dataset]:
    """A pool of 60 rows and a target of 3 tasks, with their features."""
    docs = pool(tmp_path / "pool", [TALK] * len(rows))
    targets = pool(tmp_path / "targets", [TALK] * len(TASKS), step="targets", columns={"task": TASKS})
    return {
        "pool": docs,
        "grads": features(tmp_path / "grads", docs, rows, weights=WEIGHTS, step="grads"),
        "targets": targets,
        "target_grads": features(tmp_path / "target_grads", targets, EXAMPLES, weights=WEIGHTS, step="target_grads"),
    }


def chosen(tmp_path: Path, inputs: dict[str, Dataset], workers: int = 1, **less: object) -> Dataset:
    """The output of `less`."""
    args = {"features": "grads", "targets": "targets", "target_features": "target_grads", "by": "task", **less}
    resources = Resources(workers=workers)
    return selected(tmp_path / str(workers), [inputs["pool"]], inputs, resources=resources, budget=BUDGET, less=args)


def verdicts(data: Dataset) -> dict[str, list[object]]:
    """The columns of the output."""
    found = rows(data)
    return {name: [row[name] for row in found] for name in found[0]}


def cosines() -> Floats:
    """Of every row with every example, summed over checkpoints by weight, one at a time."""
    found = np.zeros((len(ROWS), len(EXAMPLES)))
    for i, row in enumerate(ROWS.astype(np.float64)):
        for k, example in enumerate(EXAMPLES.astype(np.float64)):
            found[i, k] = sum(w * (x @ y) for w, x, y in zip(WEIGHTS, row, example, strict=True))
    return found


@pytest.mark.parametrize("over_examples", ["mean", "max"])
@pytest.mark.parametrize("over_tasks", ["max", "mean"])
def test_scores_targets_and_nearest_examples_are_those_of_a_plain_loop(
    tmp_path: Path, over_examples: str, over_tasks: str
) -> None:
    each = cosines()
    columns = [[k for k, task in enumerate(TASKS) if task == name] for name in "abc"]
    by_task = np.stack([getattr(each[:, column], over_examples)(axis=1) for column in columns], axis=1)
    wanted = getattr(by_task, over_tasks)(axis=1)
    data = chosen(tmp_path, inputs(tmp_path), over_examples=over_examples, over_tasks=over_tasks)
    found = verdicts(data)
    np.testing.assert_allclose(found["score"], wanted, rtol=0, atol=1e-6)
    assert found["target"] == ["abc"[task] for task in by_task.argmax(axis=1)]
    taken = np.argsort(-wanted)[:BUDGET]
    assert [found["rank"][row] for row in taken] == list(range(1, BUDGET + 1))
    for row in taken:
        column = columns[by_task[row].argmax()]
        assert found["nearest"][row] == f"{column[each[row, column].argmax()]:05d}"
    assert sum(keep is not True for keep in found["keep"]) == sum(near is None for near in found["nearest"])
    details = data.manifest.details
    assert details["tasks"] == {
        name: {"examples": len(column), "picks": int((by_task[taken].argmax(axis=1) == i).sum())}
        for i, (name, column) in enumerate(zip("abc", columns, strict=True))
    }


def test_tasks_that_take_in_turns_get_as_many_rows_each(tmp_path: Path) -> None:
    data = chosen(tmp_path, inputs(tmp_path), over_tasks="round_robin")
    assert {task["picks"] for task in data.manifest.details["tasks"].values()} == {4}  # type: ignore[union-attr, index, call-overload]
    found = verdicts(data)
    order = sorted((rank, target) for rank, target in zip(found["rank"], found["target"], strict=True) if rank)  # type: ignore[type-var]
    assert [target for _, target in order] == ["a", "b", "c"] * 4


def test_a_row_without_a_gradient_is_never_taken(tmp_path: Path) -> None:
    given = ROWS.copy()
    best = cosines().mean(axis=1).argmax()
    given[best] = 0
    found = verdicts(chosen(tmp_path, inputs(tmp_path, given)))
    assert found["reason"][best] == "no-supervised-token"
    assert found["score"][best] is found["target"][best] is None
    assert sum(keep is True for keep in found["keep"]) == BUDGET


@pytest.mark.slow
def test_two_workers_write_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs(tmp_path)
    monkeypatch.setattr("curate.steps.select.less._ROWS", 16)
    one, two = (chosen(tmp_path, given, workers) for workers in (1, 2))
    assert [shard.digest for shard in one.shards] == [shard.digest for shard in two.shards]
    assert one.manifest.details == two.manifest.details


def test_the_projection_error_is_what_scores_vary_by_between_projections() -> None:
    # Two checkpoints, whose gradients are alike as those of successive epochs are, and one projection for both.
    inputs, width, examples = 3000, 128, 6
    random = np.random.default_rng(3)
    row, others = random.standard_normal(inputs), random.standard_normal((examples, inputs))
    others = 0.5 * row + 0.8 * others[:1] + others
    x = np.stack([row, row + 0.5 * random.standard_normal(inputs)])
    y = np.stack([others, others + 0.5 * random.standard_normal((examples, inputs))], axis=1)
    weights = np.array(WEIGHTS)
    scores, errors = [], []
    for _ in range(400):
        matrix = np.zeros((inputs, width))
        matrix[np.arange(inputs), random.integers(0, width, inputs)] = random.choice([-1, 1], inputs)
        px, py = x @ matrix, y @ matrix
        px, py = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (px, py))
        query = py.mean(axis=0)
        scores.append(float(np.einsum("c,cd,cd->", weights, px, query)))
        reach = lengths(query[None].astype(np.float32), weights)
        errors.append(projection_error(np.array(scores[-1:]), reach, width)[0])
    # The bound: never below what happens, and not far above it.
    assert 1.0 < np.median(errors) / np.std(scores) < 1.35


def test_the_error_of_a_lead_is_the_one_of_a_difference_of_means() -> None:
    of_pick, of_cut = np.random.default_rng(5).random((2, 30))
    errors = lead_errors(
        np.stack([of_pick, of_cut]),
        [30],
        "mean",
        lambda scores: scores[:, 0],
        np.array([1, 1]),
        draws=2000,
        seed=1,
    )
    assert errors[0] == pytest.approx(np.std(of_pick - of_cut) / np.sqrt(30), rel=0.05)
    assert errors[1] == 0


def test_picks_far_above_the_cut_are_outside_the_noise(tmp_path: Path) -> None:
    # Eleven rows are examples themselves, and the twelfth pick is any other.
    given = ROWS.copy()
    given[:11] = EXAMPLES[1]
    assert chosen(tmp_path, inputs(tmp_path, given)).manifest.details["inside_noise"] == 1
