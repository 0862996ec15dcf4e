"""The feature store: what is read back, and the products of its rows with queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError, RunError
from curate.steps.select.store import Kind, Layout, Rows, Store, write_piece

KINDS: tuple[Kind, ...] = get_args(Kind)
WEIGHTS = (0.75, 0.25)
# Of the cosine of a vector with what the store gives back, at a width of 400.
LEAST = {"float32": 1 - 1e-7, "float16": 1 - 1e-6, "int8": 1 - 1e-4, "sign": 0.75}


def vectors(rows: int, *, width: int = 400, seed: int = 0) -> Rows:
    """Normal numbers, of lengths from 0.01 to 100, for two checkpoints."""
    chance = np.random.default_rng(seed)
    lengths = 10.0 ** chance.uniform(-2, 2, (rows, 2, 1))
    return (chance.standard_normal((rows, 2, width)) * lengths).astype(np.float32)


def store(folder: Path, kind: Kind, *pieces: Rows, weights: Sequence[float] = WEIGHTS) -> Store:
    """A store of these pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = Layout(kind, pieces[0].shape[1], pieces[0].shape[2])
    for i, rows in enumerate(pieces):
        write_piece(str(folder), f"part-{i}", layout, rows)
    return Store(str(folder), [(f"part-{i}", len(rows)) for i, rows in enumerate(pieces)], layout, weights)


def unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=2, keepdims=True)


def everything(of: Store) -> Rows:
    return np.concatenate([rows for _, rows in of.blocks()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_comes_back_with_its_direction_and_length_one(kind: Kind, tmp_path: Path) -> None:
    rows = vectors(30)
    found = everything(store(tmp_path, kind, rows[:20], rows[20:]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-3)
    assert ((unit(found) * unit(rows)).sum(axis=2) >= LEAST[kind]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_takes_the_bytes_that_the_layout_says(kind: Kind, tmp_path: Path) -> None:
    made = store(tmp_path, kind, vectors(64))
    header = 128
    stored = sum(path.stat().st_size - header for path in tmp_path.iterdir())
    assert stored == 64 * made.layout.row_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_taken_in_the_order_asked_for(kind: Kind, tmp_path: Path) -> None:
    rows = vectors(30)
    made = store(tmp_path, kind, rows[:11], rows[11:])
    wanted = [29, 0, 11, 10, 0]
    assert (made.take(wanted) == everything(made)[wanted]).all()
    np.testing.assert_allclose(made.norms, np.linalg.norm(rows, axis=2), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_weighted_products_of_what_the_store_gives_back(kind: Kind, tmp_path: Path) -> None:
    made = store(tmp_path, kind, vectors(13), vectors(6, seed=1))
    queries = unit(vectors(7, seed=2))
    expected = np.einsum("ncd,qcd,c->nq", everything(made).astype(np.float64), queries, WEIGHTS)
    np.testing.assert_allclose(made.scores(queries), expected, atol=2e-6)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 39), st.integers(1, 9), st.sampled_from(KINDS)
)
def test_equal_rows_get_equal_bits_wherever_they_stand_and_whatever_else_is_asked(
    tmp_path_factory: pytest.TempPathFactory, which: list[int], cut: int, queries: int, kind: Kind
) -> None:
    folder = tmp_path_factory.mktemp("store")
    six, asked = vectors(6, width=37), unit(vectors(9, width=37, seed=3))
    known = store(folder / "six", kind, six).scores(asked)
    cut = min(cut, len(which))
    pieces = [six[which[:cut]], six[which[cut:]]]
    made = store(folder / "many", kind, *pieces)
    assert (made.scores(asked[:queries]) == known[which][:, :queries]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_a_feature_has_no_length_and_no_score(kind: Kind, tmp_path: Path) -> None:
    rows = vectors(5)
    rows[3] = 0
    made = store(tmp_path, kind, rows)
    assert not made.norms[3].any()
    assert not everything(made)[3].any()
    assert np.isnan(made.scores(unit(vectors(2)))).any(axis=1).tolist() == [False, False, False, True, False]


def test_a_number_that_is_not_finite_is_never_stored(tmp_path: Path) -> None:
    rows = vectors(3)
    rows[1, 0, 0] = np.nan
    with pytest.raises(RunError, match="not finite"):
        store(tmp_path, "int8", rows)


def test_queries_of_another_width_are_refused(tmp_path: Path) -> None:
    made = store(tmp_path, "int8", vectors(3))
    with pytest.raises(ConfigError, match="2 checkpoints of 400 numbers a row, the queries have 2 of 200; make both"):
        made.scores(vectors(1, width=200))


def test_a_scale_that_is_no_number_is_refused(tmp_path: Path) -> None:
    made, path = store(tmp_path, "int8", vectors(30)), tmp_path / "part-0.scale.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\xff" * 4)
    with pytest.raises(RunError, match="part-0 is damaged; delete the folder"):
        everything(made)


@pytest.mark.parametrize("suffix", ["", ".norm", ".scale"])
def test_a_piece_that_is_not_whole_is_named_whatever_is_asked_of_it(suffix: str, tmp_path: Path) -> None:
    made, path = store(tmp_path, "int8", vectors(30)), tmp_path / f"part-0{suffix}.npy"
    whole, some = path.read_bytes(), np.load(path)[:20]
    for damage, message in ((whole[:-9], "cannot be read"), (None, "No such file"), (some, "20 rows, not 30")):
        path.unlink(missing_ok=True)
        if isinstance(damage, bytes):
            path.write_bytes(damage)
        elif damage is not None:
            np.save(path, damage)
        with pytest.raises(RunError, match=rf"part-0{suffix}.npy: .*{message}.*; delete its folder and run"):
            made.scores(vectors(1))
