import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.targets.fpga.network.graph import Requantization
from tapeout.targets.fpga.network.requantize import (
    MAX_SHIFT,
    SPREAD,
    ratios,
    reach,
    requantization,
    requantize,
)


def exact(sums: np.ndarray, how: Requantization) -> list[int]:
    """Return the rule of the module's docstring, written down once more in Python's integers."""
    found = []
    for total, multiplier, shift in zip(
        sums.tolist(), how.multiplier.tolist(), how.shift.tolist(), strict=True
    ):
        t = (total + (1 << how.before >> 1)) >> how.before
        t = min(max(t, -(1 << 17)), (1 << 17) - 1)
        y = ((t * multiplier + (1 << (shift - 1))) >> shift) + how.zero
        found.append(min(max(y, how.low), how.high))
    return found


@given(
    st.lists(st.floats(-30, 3), min_size=1, max_size=6),
    st.integers(1, (1 << 31) - 1),
    st.integers(-128, 127),
    st.randoms(use_true_random=False),
)
def test_is_the_rounded_product(
    powers: list[float], largest: int, zero: int, random: st.DrawFn
) -> None:
    factors = np.exp2(powers)
    most = np.full(len(factors), largest, np.int64)
    how = requantization(factors, (-most, most), zero, -128, 127)
    assert set((how.multiplier >> 17).tolist()) == {0}
    assert 1 <= how.shift.min() <= how.shift.max() <= min(how.shift.min() + SPREAD, MAX_SHIFT)
    for total in (
        -largest,
        -1,
        0,
        1,
        largest,
        *(random.randint(-largest, largest) for _ in "12345"),
    ):
        sums = np.full(len(factors), total, np.int64)
        found = requantize(sums, how)
        assert found.tolist() == exact(sums, how)
        # Lost: the last rounding, half a step of the shift before, half a step of the multiplier.
        early = 0.5 * 2.0**how.before * factors * (how.before > 0)
        most_t = np.minimum(1 << 17, 512 / (factors * 2.0**how.before))
        coarse = 0.5 * most_t / 2.0**how.shift
        real = np.clip(total * factors + zero, -128, 127)
        assert (np.abs(found - real) <= 0.5 + np.minimum(early, 255) + coarse + 1e-9).all()


def test_halves_go_up() -> None:
    how = requantization(np.array([0.5]), (np.array([-9]), np.array([9])), 3, -128, 127)
    sums = np.arange(-5, 6)[:, None]
    assert requantize(sums, how)[:, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]


def test_shifts_before_no_more_than_the_sums_ask_for() -> None:
    factors, zero = np.array([2.0**-12]), 0
    small, large = np.array([1 << 16]), np.array([1 << 25])
    assert requantization(factors, (-small, small), zero, -128, 127).before == 0
    # 2^17 x 2^-12 are 32 steps, so t must stand for four times as much to reach all 128.
    assert requantization(factors, (-large, large), zero, -128, 127).before == 2
    assert requantization(factors, (-large, small), -128, -128, 127).before == 0


def test_one_with_many_channels_is_that_with_one() -> None:
    factors = np.exp2(np.linspace(-14, -9, 11))
    most = np.full(11, 1 << 22)
    how = requantization(factors, (-most, most), -5, -128, 127)
    sums = np.arange(-1_000_000, 1_000_000, 7919)[:, None].repeat(11, axis=1)
    real = np.clip(np.rint(sums * factors) - 5, -128, 127)
    assert np.abs(requantize(sums, how) - real).max() <= 1


def test_a_factor_of_zero_gives_the_zero_point() -> None:
    most = np.array([1 << 20, 1 << 20])
    how = requantization(np.array([0.0, 2.0**-10]), (-most, most), 7, -128, 127)
    assert requantize(np.array([[1 << 20, 0]]), how).tolist() == [[7, 7]]


@pytest.mark.parametrize("factors", [(0.5, 0.25), (1.0, -3.7), (1e-3, 200.0), (2.0**-20, 2.0**-19)])
def test_ratios_have_17_bits(factors: tuple[float, float]) -> None:
    multipliers, shift = ratios(factors)
    largest = max(abs(item) for item in multipliers)
    assert 1 << 16 <= largest < 1 << 17 or shift == MAX_SHIFT
    assert np.allclose(np.ldexp(multipliers, -shift), factors, rtol=0, atol=2.0 ** -(shift + 1))


def test_reach_is_reached() -> None:
    weights = np.array([[3, -2], [127, 127]], np.int8)
    low, high = reach(weights, np.array([10, 0]))
    assert low.tolist() == [10 - 3 * 128 - 2 * 127, -2 * 127 * 128]
    assert high.tolist() == [10 + 3 * 127 + 2 * 128, 2 * 127 * 127]
