from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapeout.lowering.quantization import lattice


def gram_of(rng: np.random.Generator, groups: int, columns: int, alike: float) -> np.ndarray:
    """Return Gram matrices of inputs that have a common part, and sizes that differ."""
    inputs = rng.standard_normal((groups, columns, 8 * columns))
    inputs += alike * rng.standard_normal((groups, 1, 8 * columns))
    inputs *= np.exp(rng.standard_normal((groups, columns, 1)))
    gram: np.ndarray = inputs @ inputs.transpose(0, 2, 1) / inputs.shape[2]
    return gram


def problem(
    seed: int, groups: int, columns: int, outputs: int, alike: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    u = rng.uniform(-7, 7, (groups, columns, outputs))
    return u.astype(np.float32), gram_of(rng, groups, columns, alike)


def test_nearest() -> None:
    u = np.array([-9.0, -7.4, -0.5, 0.5, 1.5, 6.51, 7.0, 100])
    assert lattice.nearest(u, 7).tolist() == [-7, -7, 0, 0, 2, 7, 7, 7]


def test_errors_are_the_mean_squares_of_outputs() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((3, 5, 200))
    difference = rng.standard_normal((3, 5, 4))
    outputs = np.einsum("gko,gkp->gop", difference, inputs)
    gram = inputs @ inputs.transpose(0, 2, 1) / 200
    np.testing.assert_allclose(lattice.errors(difference, gram), (outputs**2).mean(axis=2))


@pytest.mark.parametrize("columns", [1, 2, 9, 31, 32, 33, 70])
def test_is_never_worse_than_to_the_nearest(columns: int) -> None:
    for seed, alike in itertools.product(range(4), (0.0, 1.0, 5.0)):
        u, gram = problem(seed, 2, columns, 16, alike)
        found = lattice.closest(u, gram, 7)
        assert found.shape == u.shape
        assert (found == np.rint(found)).all()
        assert np.abs(found).max() <= 7
        error = lattice.errors(u - found, gram).sum()
        assert error <= lattice.errors(u - lattice.nearest(u, 7), gram).sum() * (1 + 1e-6)


def test_numbers_of_a_grid_are_found_as_integers_are() -> None:
    def grid(array: np.ndarray) -> np.ndarray:  # 0, and powers of two with half steps between
        exponent = np.floor(np.log2(np.maximum(np.abs(array), 1e-3)))
        return np.rint(array / 2.0 ** (exponent - 1)) * 2.0 ** (exponent - 1)

    u, gram = problem(0, 2, 40, 16)
    found = lattice.closest(u, gram, 8, grid=grid)
    np.testing.assert_array_equal(found, grid(found))
    error = lattice.errors(u - found, gram).sum()
    assert error < 0.6 * lattice.errors(u - lattice.nearest(u, 8, grid), gram).sum()
    for k in range(u.shape[1]):  # no number beside one of them is better
        for factor in (0.75, 1.25, 1.5):
            other = found.copy()
            other[:, k] = np.clip(grid(found[:, k] * factor), -8, 8)
            assert lattice.errors(u - other, gram).sum() > error * (1 - 1e-5)


def test_is_much_better_where_inputs_are_alike() -> None:
    u, gram = problem(0, 1, 64, 64)
    found = lattice.closest(u, gram, 7)
    error = lattice.errors(u - found, gram).sum()
    assert error < 0.3 * lattice.errors(u - lattice.nearest(u, 7), gram).sum()


def test_is_the_nearest_where_inputs_have_nothing_in_common() -> None:
    u, _ = problem(0, 2, 40, 8)
    gram = np.stack([np.diag(np.arange(1.0, 41)), np.diag(np.arange(40.0, 0, -1))])
    np.testing.assert_array_equal(lattice.closest(u, gram, 7), lattice.nearest(u, 7))


def test_is_close_to_the_best_of_all() -> None:
    points = np.array(list(itertools.product(range(-7, 8), repeat=4)))
    ratios = []
    for seed in range(20):
        u, gram = problem(seed, 1, 4, 1)
        difference = (u[0, :, 0] - points).T[None]
        best = lattice.errors(difference, gram).min()
        ratios.append(lattice.errors(u - lattice.closest(u, gram, 7), gram).sum() / best)
    assert min(ratios) >= 1 - 1e-6
    assert np.mean(np.array(ratios) < 1 + 1e-6) >= 0.5
    assert np.median(ratios) < 1.2


def test_no_single_change_makes_it_better() -> None:
    u, gram = problem(3, 2, 20, 6)
    found = lattice.closest(u, gram, 7)
    error = lattice.errors(u - found, gram)
    for column, step in itertools.product(range(20), (-1, 1)):
        other = found.copy()
        other[:, column] = np.clip(other[:, column] + step, -7, 7)
        assert (lattice.errors(u - other, gram) >= error * (1 - 1e-5)).all()


def test_integers_that_fit_are_found_again() -> None:
    rng = np.random.default_rng(0)
    u = rng.integers(-7, 8, (2, 50, 9)).astype(np.float32)
    np.testing.assert_array_equal(lattice.closest(u, gram_of(rng, 2, 50, 3.0), 7), u)


def test_weights_beyond_the_range_are_made_up_for() -> None:
    # The second input is the first: what the first weight lacks, the second takes over.
    gram = np.array([[[1.0, 0.99], [0.99, 1.0]]])
    u = np.array([10.0, 0.0], np.float32).reshape(1, 2, 1)
    assert lattice.closest(u, gram, 7).reshape(2).tolist() == [7, 3]


def test_the_same_twice() -> None:
    u, gram = problem(5, 3, 40, 7)
    first, second = (lattice.closest(u, gram, 127) for _ in range(2))
    assert first.tobytes() == second.tobytes()
