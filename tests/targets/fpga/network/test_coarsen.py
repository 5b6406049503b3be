from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tapeout.targets.fpga.network.coarsen import coarsened
from tapeout.targets.fpga.network.requantize import reach, requantization, requantize


def outputs(
    weights: np.ndarray, bias: np.ndarray, factors: np.ndarray, x: np.ndarray
) -> np.ndarray:
    how = requantization(factors, reach(weights, bias), 0, -128, 127)
    return requantize(x @ weights.T.astype(np.int64) + bias, how)


def test_a_channel_that_hardly_varies_costs_the_others_nothing() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (4, 9)).astype(np.int8)
    # The last three give about 70 and next to nothing more: their biases have 23 to 30 bits.
    factors = np.array([2.0**-9, 2.0**-17, 2.0**-21, 2.0**-24])
    bias = np.rint(np.array([3, 70, 70, 70]) / factors).astype(np.int64)
    x = rng.integers(-128, 128, (1000, 9)).astype(np.int64)
    real = np.clip((x @ weights.T + bias) * factors, -128, 127)
    assert np.abs(outputs(weights, bias, factors, x) - real)[:, 0].max() > 1  # as it is
    found = coarsened(weights, bias, factors, 128)
    assert np.abs(outputs(*found, x) - real).max() < 0.6
    np.testing.assert_array_equal(found[0][0], weights[0])


@given(st.integers(0, 1 << 20), st.integers(1, 40))
def test_channels_alike_stay_as_they_are(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (5, count)).astype(np.int8)
    bias = rng.integers(-(1 << 14), 1 << 14, 5)
    factors = np.exp2(rng.uniform(-11, -8, 5))
    for found, given_ in zip(
        coarsened(weights, bias, factors, 255), (weights, bias, factors), strict=True
    ):
        np.testing.assert_array_equal(found, given_)
