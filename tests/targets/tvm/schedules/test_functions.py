"""Functions in arithmetic, held to double precision in units in the last place."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tapeout.targets.tvm.compile import processor

import kernels

#: Where they overflow, underflow, are steep and are flat, and what is no ordinary number.
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 88.7, -103.9, 1e-30, -1e-30, 3e38, -3e38]

#: Name -> the exact function of doubles, and the units in the last place that are allowed.
FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "erf": (np.vectorize(math.erf), 6),
    "exp": (np.exp, 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 3),
    "tanh": (np.tanh, 4),
    "nearbyint": (np.rint, 0),
}


def computed(name: str, x: np.ndarray) -> np.ndarray:
    given = te.placeholder(x.shape, "float32", "x")
    found = te.compute(x.shape, lambda i: getattr(tirx, name)(given[i]), name="y")
    module = kernels.finished(tvm.IRModule({"main": te.create_prim_func([given, found])}))
    built = tvm.compile(module, target=processor(kernels.host().toolchain))
    result = tvm.runtime.tensor(np.zeros_like(x))
    built["main"](tvm.runtime.tensor(x), result)
    return np.asarray(result.numpy())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    exact, units = FUNCTIONS[name]
    normal = np.random.default_rng(0).standard_normal(20_000)
    parts = (np.linspace(-110, 95, 20_000), np.linspace(-1, 1, 20_000), 3 * normal, SPECIAL)
    x = np.concatenate(parts).astype(np.float32)
    with np.errstate(all="ignore"):
        wanted = exact(x.astype(np.float64))
        rounded = wanted.astype(np.float32)
    found = computed(name, x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(rounded))
    finite = np.isfinite(rounded)
    # Below the least number that is normal, units are those of that number.
    unit = np.maximum(np.spacing(np.abs(rounded[finite])), np.finfo(np.float32).smallest_normal)
    assert (np.abs(found[finite] - wanted[finite]) / unit).max() <= units
