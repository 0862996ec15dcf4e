"""Random projections: what they keep of inner products, and that their randomness is the same everywhere."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
import numpy.typing as npt
import torch

from curate.steps.select.projection import PROJECTIONS, Dense, Name, Projection, Sparse, TwoSided

Floats = npt.NDArray[np.float64]
SEEDS = 2000
WIDTH = 64


def factors(rows: int, *, tokens: int = 5, inputs: int = 12, outputs: int = 10, seed: int = 0) -> list[torch.Tensor]:
    """Inputs and errors of a layer."""
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, tokens, width, generator=chance) for width in (inputs, outputs)]


def projected(projection: Projection, *layers: tuple[str, list[torch.Tensor]]) -> torch.Tensor:
    into = torch.zeros(len(layers[0][1][0]), projection.dim)
    for name, (inputs, errors) in layers:
        projection.add(name, inputs, errors, into)
    return into


def gradients(*layers: tuple[str, list[torch.Tensor]]) -> Floats:
    """The gradients of all layers as one vector a row."""
    parts = [(errors.transpose(1, 2) @ inputs).flatten(1) for _, (inputs, errors) in layers]
    return torch.cat(parts, 1).double().numpy()


def estimates(kind: Name, *layers: tuple[str, list[torch.Tensor]]) -> Floats:
    """The inner product of the first two rows after projection, for every seed."""
    found = (projected(PROJECTIONS[kind](WIDTH, seed), *layers) for seed in range(SEEDS))
    return np.array([float(each[0].double() @ each[1].double()) for each in found])


def related(seed: int = 0) -> tuple[tuple[str, list[torch.Tensor]], ...]:
    """Two layers for two rows whose gradients have something in common."""
    layers = []
    for name in ("first", "second"):
        inputs, errors = factors(2, seed=seed)
        inputs[1], errors[1] = inputs[0] + 0.5 * inputs[1], errors[0] + 0.5 * errors[1]
        layers.append((name, [inputs, errors]))
        seed += 1
    return tuple(layers)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_inner_products_are_unbiased_with_the_variance_of_the_formula(kind: Name) -> None:
    layers = related()
    x, y = gradients(*layers)
    found = estimates(kind, *layers)
    variance = (x @ x * (y @ y) + (x @ y) ** 2 - 2 * (x**2 @ y**2)) / WIDTH
    assert found.mean() == pytest.approx(x @ y, rel=0.05)
    assert found.var() == pytest.approx(variance, rel=0.1)


def test_two_sided_inner_products_are_unbiased() -> None:
    layers = related()
    x, y = gradients(*layers)
    assert estimates("two_sided", *layers).mean() == pytest.approx(x @ y, rel=0.05)


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_the_length_is_kept_in_the_mean(kind: Name) -> None:
    layers = related()
    x = gradients(*layers)[0]
    squares = [float(projected(PROJECTIONS[kind](WIDTH, seed), *layers)[0].square().sum()) for seed in range(500)]
    assert np.mean(squares) == pytest.approx(x @ x, rel=0.05)


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_parameters_and_seeds_have_random_numbers_of_their_own(kind: Name) -> None:
    layer = factors(1)
    found = [projected(PROJECTIONS[kind](512, seed), (name, layer))[0] for seed, name in [(0, "a"), (0, "b"), (1, "a")]]
    cosines = np.corrcoef(torch.stack(found).numpy())
    assert (np.abs(cosines[~np.eye(3, dtype=bool)]) < 0.3).all()


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_a_row_has_the_same_bits_in_any_company(kind: Name) -> None:
    layer = factors(9)
    whole = projected(PROJECTIONS[kind](WIDTH, 0), ("a", layer))
    for some in (slice(0, 1), slice(3, 5), slice(2, 9)):
        assert (projected(PROJECTIONS[kind](WIDTH, 0), ("a", [each[some] for each in layer])) == whole[some]).all()


def test_gradients_too_large_to_be_held_for_all_rows_are_the_same() -> None:
    layer = factors(5)
    whole = projected(Sparse(WIDTH, 0), ("a", layer))
    assert (projected(Sparse(WIDTH, 0, held=250), ("a", layer)) == whole).all()


def test_the_kernel_and_torch_put_every_coordinate_into_the_same_bucket_with_the_same_sign() -> None:
    from curate.steps.select.projection import places

    coordinates, dim = 5000, 300
    projection = Sparse(dim, 7)
    into = torch.zeros(coordinates, dim)
    projection.project("a", torch.eye(coordinates), into)
    buckets, signs = places(projection.key("a"), 0, coordinates, dim, into)
    assert (into[torch.arange(coordinates), buckets] == signs).all()
    assert into.abs().sum() == coordinates


def test_the_random_numbers_are_those_of_this_version_for_good() -> None:
    """Features that are stored today must fit those of tomorrow."""
    into = torch.zeros(1, 6)
    Sparse(6, 1).project("model.layers.0.self_attn.q_proj.weight", torch.arange(1.0, 9.0)[None], into)
    assert into.tolist() == [[0, 7, 12, -4, -2, 1]]


def test_dense_is_made_in_blocks_of_one_matrix() -> None:
    layer = factors(3)
    whole = projected(Dense(WIDTH, 0), ("a", layer))
    np.testing.assert_allclose(projected(Dense(WIDTH, 0, signs=WIDTH * 7), ("a", layer)), whole, atol=1e-4)


def test_two_sided_never_forms_what_an_optimizer_needs() -> None:
    inputs, errors = factors(1)
    with pytest.raises(ValueError, match="never forms the gradient"):
        TwoSided(WIDTH, 0).add("a", inputs, errors, torch.zeros(1, WIDTH), lambda name, gradients: gradients)
