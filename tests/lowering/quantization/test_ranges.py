"""Ranges: the expected error against the true one, each method against a plain reference."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.errors import UsageError
from tapeout.lowering.analysis.calibrate import Calibration, Statistics, calibrate
from tapeout.lowering.analysis.histogram import Histogram
from tapeout.lowering.quantization import ranges
from tapeout.lowering.quantization.parameters import LEAST_SCALE, Parameters, of_range
from tapeout.lowering.quantization.placement import Quantized
from tapeout.lowering.quantization.ranges import METHODS, choose, expected_error, of_histogram
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme, limits

import support

STATIC = {
    name: item for name, item in SCHEMES.items() if isinstance(item, Scheme) and not item.is_float
}
INT8, SYMMETRIC, POWERS = STATIC["int8"], STATIC["tensorrt"], STATIC["power-of-two"]
UINT8 = dataclasses.replace(INT8, activations=ir.DataType.UINT8)
EVERY = [*STATIC.values(), UINT8]
NAMES = ["auto", *METHODS]

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": RNG.standard_normal(50_000),
    "relu": np.maximum(RNG.standard_normal(50_000), 0),
    "negative": -np.abs(RNG.standard_normal(50_000)),
    "laplace": RNG.laplace(size=50_000),
    "student": RNG.standard_t(2, 50_000),
    "skew": np.exp(RNG.standard_normal(50_000)) - 0.3,
    "outlier": np.append(RNG.standard_normal(50_000), 1000),
    "image": RNG.integers(0, 256, 50_000) / 127.5 - 1,
}


def histogram_of(array: np.ndarray) -> Histogram:
    found = Histogram()
    found.add(np.asarray(array, np.float32))
    return found


def true_error(array: np.ndarray, found: Parameters) -> float:
    array = np.asarray(array, np.float32)
    return float(np.mean((array.astype(np.float64) - found.rounded(array)) ** 2))


def statistics(array: np.ndarray, step: float | None = None) -> Statistics:
    array = np.asarray(array, np.float32)
    return Statistics(
        histogram_of(array), float(array.min()), float(array.max()), array.size, step=step
    )


def calibration(**values: Statistics) -> Calibration:
    return Calibration(1, values, "")


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("scheme", EVERY, ids=lambda item: f"{item.name}-{item.activations.name}")
def test_expected_error_is_the_true_one(sample: str, scheme: Scheme) -> None:
    array = SAMPLES[sample]
    for share in (1.0, 0.7, 0.2):
        found = of_range(float(array.min()) * share, float(array.max()) * share, scheme)
        # Of one outlier and of a grid, a histogram knows the place to its own width.
        tolerance = 0.15 if sample in ("outlier", "image") else 0.03
        expected = expected_error(histogram_of(array), found)
        assert expected == pytest.approx(true_error(array, found), rel=tolerance)


def test_expected_error_of_a_bin_is_the_integral() -> None:
    """A single bin, over the steps of the rounding and beyond its ends, summed numerically."""
    one = Histogram()
    one.cover(-40.0, 200.0)
    for found in (
        of_range(-40.0, 200.0, INT8),
        of_range(-3.0, 50.0, INT8),
        dataclasses.replace(of_range(-40.0, 40.0, SYMMETRIC), narrow=True),
    ):
        for bin_ in (0, 1, 17, one.counts.size - 1):
            one.counts[:] = 0
            one.counts[bin_] = one.count = 3
            left, right = one.edges[bin_], one.edges[bin_ + 1]
            places = left + (np.arange(200_000) + 0.5) / 200_000 * (right - left)
            scale, zero = float(found.scale), int(found.zero_point)
            low, high = limits(found.dtype, narrow=found.narrow)
            rounded = np.clip(np.rint(places / scale), low - zero, high - zero) * scale
            integral = float(np.mean((places - rounded) ** 2))
            assert expected_error(one, found) == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize("sample", SAMPLES)
def test_minmax_is_the_range(sample: str) -> None:
    array = SAMPLES[sample].astype(np.float32)
    assert METHODS["minmax"](histogram_of(array), INT8) == (array.min(), array.max())


@pytest.mark.parametrize("sample", SAMPLES)
def test_percentile_is_that_of_numpy(sample: str) -> None:
    array = SAMPLES[sample].astype(np.float32)
    histogram = histogram_of(array)
    low, high = METHODS["percentile"](histogram, INT8)
    expected = np.quantile(array, [0.00005, 0.99995], method="inverted_cdf")
    np.testing.assert_allclose([low, high], expected, rtol=0, atol=histogram.width)
    low, high = METHODS["percentile"](histogram, SYMMETRIC)
    top = np.quantile(np.abs(array), 0.9999, method="inverted_cdf")
    expected = [max(array.min(), -top), min(array.max(), top)]
    np.testing.assert_allclose([low, high], expected, rtol=0, atol=histogram.width)


def plain_entropy(array: np.ndarray, groups: int, stride: int) -> tuple[float, list[float]]:
    """Return the threshold as TensorRT's slides find it, one bin at a time; and the divergences."""
    magnitudes = np.abs(array.astype(np.float64))
    width = 2.0**-60
    while math.floor(magnitudes.max() / width) >= 2048:
        width *= 2
    size = math.floor(magnitudes.max() / width) + 1
    bins = [0] * size
    for number in magnitudes:
        # A negative number on the border of two bins belongs to the one closer to zero.
        bins[math.floor(number / width)] += 1
    bins[0] = bins[1]
    ends = [*range(groups, size, stride), size]
    divergences = []
    for end in ends:
        reference = [float(count) for count in bins[:end]]
        reference[-1] += sum(bins[end:])
        quantized = [0.0] * end
        for group in range(groups):
            members = [index for index in range(end) if index * groups // end == group]
            occupied = [index for index in members if reference[index]]
            for index in occupied:
                quantized[index] = sum(bins[member] for member in members) / len(occupied)
        divergence = 0.0
        quantized = [max(q, 1e-4) if p else 0 for p, q in zip(reference, quantized, strict=True)]
        for p, q in zip(reference, quantized, strict=True):
            if p:
                p, q = p / sum(reference), q / sum(quantized)
                divergence += p * math.log(p / q)
        divergences.append(divergence if any(bins[:end]) else math.inf)
    return ends[int(np.argmin(divergences))] * width, divergences


@pytest.mark.parametrize("sample", ["laplace", "relu", "student"])
def test_entropy_is_that_of_the_definition(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_ENTROPY_STRIDE", 256)  # the plain loops are slow
    array = SAMPLES[sample][:20_000].astype(np.float32)
    array = array[array != 0] if sample == "relu" else array
    top, divergences = plain_entropy(array, 256 if sample == "relu" else 128, 256)
    assert np.ptp(divergences) > 0
    expected = (max(float(array.min()), -top), min(float(array.max()), top))
    assert METHODS["entropy"](histogram_of(array), INT8) == pytest.approx(expected)


def test_entropy_clips_long_tails_and_keeps_short_ones() -> None:
    student, uniform = SAMPLES["student"], RNG.uniform(-1, 1, 50_000).astype(np.float32)
    low, high = METHODS["entropy"](histogram_of(student), INT8)
    assert low > student.min() / 2
    assert high < student.max() / 2
    low, high = METHODS["entropy"](histogram_of(uniform), SYMMETRIC)
    assert high > 0.95
    assert low < -0.95


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("scheme", [INT8, SYMMETRIC, POWERS], ids=lambda item: item.name)
def test_mse_is_as_good_as_trying_every_range(sample: str, scheme: Scheme) -> None:
    histogram = histogram_of(SAMPLES[sample])
    found = expected_error(histogram, of_range(*METHODS["mse"](histogram, scheme), scheme))
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    shares = np.linspace(1, 0.02, 50)
    lows = low * shares if low else np.zeros(1)
    highs = high * shares if high else np.zeros(1)
    every = [
        expected_error(histogram, of_range(float(a), float(b), scheme)) for a in lows for b in highs
    ]
    assert found <= min(every) * 1.03
    assert found <= every[0]


def test_mse_moves_the_ends_apart() -> None:
    """An outlier on one side alone: that side shrinks, the other stays."""
    count, outlier = 400_000, -4.0
    array = np.append(RNG.uniform(-1, 1, count), outlier)
    low, high = METHODS["mse"](histogram_of(array), INT8)
    # The least of (low - outlier)² / count, of clipping, and (1 - low)² / 12 / 255², of rounding.
    clipping, rounding = 1 / count, 1 / 12 / 255**2
    assert low == pytest.approx((clipping * outlier + rounding) / (clipping + rounding), rel=0.1)
    assert high > 0.97


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("scheme", EVERY, ids=lambda item: f"{item.name}-{item.activations.name}")
def test_auto_has_the_least_expected_error(sample: str, scheme: Scheme) -> None:
    histogram = histogram_of(SAMPLES[sample])
    every = {
        name: expected_error(histogram, of_histogram(histogram, scheme, name)) for name in NAMES
    }
    assert every["auto"] == min(every.values())
    assert every["auto"] <= every["minmax"]


EDGES = {
    "zeros": np.zeros(100),
    "constant": np.full(100, 3.7),
    "negative constant": np.full(100, -3.7),
    "tiny constant": np.full(3, 1e-44),
    "one number": np.array([0.3]),
    "mostly zeros": np.append(np.zeros(9999), 1.0),
    "huge outlier": np.append(RNG.standard_normal(1000), 1e38),
    "two huge outliers": np.append(RNG.standard_normal(1000), [1e38, -1e38]),
    "denormal range": np.linspace(-1e-40, 1e-40, 50),
    "far from zero": 1e6 + np.arange(50),
    "largest numbers": np.array([-3e38, 3e38]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", EVERY, ids=lambda item: f"{item.name}-{item.activations.name}")
@pytest.mark.parametrize("edge", EDGES)
def test_edges_have_good_scales(edge: str, scheme: Scheme, name: str) -> None:
    array = EDGES[edge].astype(np.float32)
    found = of_histogram(histogram_of(array), scheme, name)
    assert LEAST_SCALE <= found.scale < math.inf
    assert found.rounded(np.zeros(1, np.float32))[0] == 0
    if edge == "zeros":
        assert found.scale == 1
    if "constant" in edge:
        error = np.abs(found.rounded(array) - array).max()
        bound = 0.5 if scheme.power_of_two else 0.01  # no rounding but that of the scale
        assert error <= found.scale * bound or array[0] < LEAST_SCALE


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=30),
    st.sampled_from(EVERY),
    st.sampled_from(NAMES),
)
@settings(max_examples=150)
def test_any_numbers_have_good_parameters(numbers: list[float], scheme: Scheme, name: str) -> None:
    array = np.array(numbers, np.float32)
    histogram = histogram_of(array)
    found = of_histogram(histogram, scheme, name)
    again = of_histogram(histogram_of(array[::-1]), scheme, name)
    assert (found.scale, found.zero_point) == (again.scale, again.zero_point)
    assert LEAST_SCALE <= found.scale < math.inf
    least, greatest = limits(scheme.activations)
    assert least <= found.zero_point <= greatest
    assert found.dtype == scheme.activations
    if scheme.symmetric:
        assert found.zero_point == (least + greatest + 1) // 2
    if name in ("mse", "auto"):
        widest = expected_error(histogram, of_histogram(histogram, scheme, "minmax"))
        assert expected_error(histogram, found) <= widest * (1 + 1e-9)


@pytest.mark.parametrize(
    ("step", "low", "high", "scheme", "expected"),
    [
        (1.0, 0, 255, INT8, (1.0, -128)),
        (1.0, 0, 254, INT8, (1.0, -128)),  # what an image can be, though not seen
        (1.0, 0, 254, UINT8, (1.0, 0)),
        (1 / 255, 0, 1, INT8, (float(np.float32(1 / 255)), -128)),
        (1.0, -255, 0, INT8, (1.0, 127)),
        (1 / 128, -1, 127 / 128, INT8, (1 / 128, 0)),
        (1.0, -50, 60, INT8, (1.0, 0)),
        (1.0, -200, 55, INT8, (1.0, 72)),
        (1.0, 0, 256, INT8, None),
        (1.0, 0, 255, SYMMETRIC, None),
        (1.0, -128, 127, SYMMETRIC, (1.0, 0)),
        (1.0, 0, 127, POWERS, (1.0, 0)),
        (1 / 127, 0, 1, SYMMETRIC, (float(np.float32(1 / 127)), 0)),
        (1 / 127, 0, 1, POWERS, None),
    ],
)
def test_grid_is_exact(
    step: float, low: float, high: float, scheme: Scheme, expected: tuple[float, int] | None
) -> None:
    found = ranges.on_grid(step, low, high, scheme)
    assert (found and (float(found.scale), int(found.zero_point))) == expected
    if found is not None:
        grid = (np.arange(round(low / step), round(high / step) + 1) * np.float32(step)).astype(
            np.float32
        )
        np.testing.assert_array_equal(found.rounded(grid), grid)


def test_auto_takes_the_grid_and_the_others_do_not() -> None:
    image = statistics(np.arange(12, 251) / 255, step=1 / 255)
    values = {"x": Quantized()}
    found = {name: choose(calibration(x=image), values, INT8, name)["x"] for name in NAMES}
    assert found["auto"].scale == np.float32(1 / 255)
    assert found["minmax"].scale == np.float32(250 / 255 / 255)
    # Where the integers do not reach as far, the grid is no help.
    wide = statistics(np.arange(256), step=1.0)
    assert choose(calibration(x=wide), values, SYMMETRIC)["x"].scale > 1.5


NUMBERS = RNG.uniform(-1, 2, 999)


@pytest.mark.parametrize(("samples", "share"), [(1, 0.25), (4, 0.25), (25, 0.1), (10_000, 0.005)])
@pytest.mark.parametrize("scheme", [INT8, SYMMETRIC], ids=lambda scheme: scheme.name)
def test_auto_leaves_room_for_samples_that_it_has_not_seen(
    scheme: Scheme, samples: int, share: float
) -> None:
    for sign in (1, -1):
        numbers = statistics(sign * NUMBERS)
        seen = dataclasses.replace(calibration(x=numbers), samples=samples)
        found = choose(seen, {"x": Quantized()}, scheme)["x"]
        best = of_histogram(numbers.histogram, scheme, "auto")
        assert float(found.scale) == pytest.approx(float(best.scale) * (1 + share), rel=1e-5)
        assert found.zero_point == best.zero_point
        for name in METHODS:
            plain = choose(seen, {"x": Quantized()}, scheme, name)["x"]
            assert plain.scale == of_histogram(numbers.histogram, scheme, name).scale


def test_there_is_no_room_where_nothing_can_come() -> None:
    def scale(numbers: np.ndarray, bounds: tuple[float, float], scheme: Scheme = INT8) -> float:
        seen = dataclasses.replace(calibration(x=statistics(numbers)), samples=25)
        found = choose(seen, {"x": Quantized(bounds=bounds)}, scheme)["x"]
        return float(found.scale * (found.integers(np.array(9e9)) - float(found.zero_point)))

    six = np.append(np.linspace(0, 6, 999), [6] * 99)  # a ReLU6
    assert scale(six, (0, 6)) == pytest.approx(6)
    assert scale(six, (0, math.inf)) == pytest.approx(6.6, rel=0.02)
    assert scale(six, (0, 6), SYMMETRIC) == pytest.approx(6)
    assert scale(six, (0, 6.2)) == pytest.approx(6.2)
    assert scale(-six, (-math.inf, math.inf)) == 0
    # The best power of two stays.
    four = np.linspace(-3.9, 3.9, 999)
    assert scale(four, (-math.inf, math.inf), POWERS) == pytest.approx(4, rel=0.01)
    assert scale(np.zeros(9), (-math.inf, math.inf)) == 255  # the scale is 1


def test_values_that_share_parameters_get_those_of_their_joint_range() -> None:
    seen = calibration(
        a=statistics(np.linspace(-1, 1, 99)),
        b=statistics(np.linspace(0, 3, 99)),
        c=statistics(np.linspace(-5, 0, 99)),
        d=statistics(np.linspace(0, 9, 99)),
    )
    values = {
        "a": Quantized(),
        "b": Quantized(like="a"),
        "c": Quantized(like="b"),
        "d": Quantized(),
    }
    found = choose(seen, values, INT8, "minmax")
    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"] is found["b"] is found["c"]
    assert found["a"].scale == of_range(-5, 3, INT8).scale
    assert found["d"].scale == of_range(0, 9, INT8).scale
    joint = of_histogram(
        histogram_of(
            np.concatenate([np.linspace(*ends, 99) for ends in ((-1, 1), (0, 3), (-5, 0))])
        ),
        INT8,
        "mse",
    )
    assert choose(seen, values, INT8, "mse")["c"].scale == joint.scale


def test_fixed_parameters_need_no_statistics() -> None:
    values = {"p": Quantized(fixed=(1 / 256, -128)), "q": Quantized(like="p")}
    found = choose(calibration(), values, INT8)
    for name in values:
        assert (found[name].scale, found[name].zero_point) == (1 / 256, -128)
        assert found[name].zero_point.dtype == np.int8


def test_roots_may_come_later() -> None:
    values = {"x": Quantized(like="y"), "y": Quantized()}
    seen = calibration(x=statistics([1.0]), y=statistics([-1.0]))
    assert choose(seen, values, INT8, "minmax")["x"].scale == of_range(-1, 1, INT8).scale


@pytest.mark.parametrize("like", ["x", "missing"])
def test_refuses_what_leads_nowhere(like: str) -> None:
    with pytest.raises(ValueError, match=f"lead to '{like}'"):
        choose(calibration(), {"x": Quantized(like=like)}, INT8)


def test_unknown_method_is_an_error() -> None:
    with pytest.raises(UsageError) as caught:
        choose(calibration(), {}, INT8, "guess")
    assert "no calibration method 'guess'" in str(caught.value)
    assert "auto, minmax, percentile, entropy, mse" in str(caught.value)


def test_value_without_numbers_has_scale_one() -> None:
    empty = Statistics(Histogram(), 0.0, 0.0, 0)
    assert choose(calibration(x=empty), {"x": Quantized()}, INT8)["x"].scale == 1


def test_from_model_to_parameters() -> None:
    """A relu after a sum: what comes of calibration has the error that it expects."""
    model = support.from_text(
        """agraph (float[1,64] x, float[32,64] w, float zero) => (float[1,32] y) {
          s = Gemm <transB = 1> (x, w)
          y = Clip (s, zero)
        }""",
        w=RNG.standard_normal((32, 64)).astype(np.float32),
        zero=np.array(0, np.float32),
    )
    data = RNG.integers(0, 256, (300, 1, 64)).astype(np.float32)
    seen = calibrate(model, [{"x": sample} for sample in data], ["x", "y"])
    found = choose(seen, {"x": Quantized(), "y": Quantized()}, INT8)
    assert (found["x"].scale, found["x"].zero_point) == (1.0, -128)
    assert found["y"].zero_point == -128
    most = seen.values["y"].maximum / 255 * (1 + 0.5 / math.sqrt(300))
    assert found["y"].scale <= np.float32(most)
