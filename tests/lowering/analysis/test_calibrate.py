"""Calibration: the statistics of values against numpy on all samples at once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import UsageError
from tapeout.lowering.analysis.calibrate import Calibration, Statistics, calibrate
from tapeout.lowering.analysis.histogram import Histogram
from tapeout.lowering.analysis.probe import Batches
from tapeout.lowering.reference import Reference

import support

RNG = np.random.default_rng(0)


def conv() -> ir.Model:
    return support.from_text(
        """agraph (float[1,3,40,40] x, float[8,3,3,3] w, float zero) => (float[1,8] y) {
          c = Conv <pads = [1, 1, 1, 1]> (x, w)
          a = Clip (c, zero)
          g = GlobalAveragePool (a)
          y = Flatten (g)
        }""",
        w=RNG.standard_normal((8, 3, 3, 3)).astype(np.float32),
        zero=np.array(0, np.float32),
    )


def unary(operator: str, shape: str = "1,4") -> ir.Model:
    text = f"agraph (float[{shape}] x) => (float[{shape}] y) {{ y = {operator} (x) }}"
    return support.from_text(text)


def batches_of(array: np.ndarray, size: int = 1) -> Batches:
    return [{"x": array[start : start + size]} for start in range(0, len(array), size)]


def of(array: np.ndarray) -> Statistics:
    """Return the statistics of a graph input, fed in batches of one."""
    shape = ",".join(map(str, (1, *array.shape[1:])))
    return calibrate(unary("Relu", shape), batches_of(array.astype(np.float32)), ["x"]).values["x"]


def test_statistics_are_those_of_all_numbers() -> None:
    model = conv()
    data = RNG.standard_normal((70, 3, 40, 40)).astype(np.float32)
    data[:, 1] = 0  # a channel of zeros
    names = ("y", "a", "x", "c")
    found = calibrate(model, batches_of(data), names)
    assert found.samples == 70
    assert tuple(found.values) == names
    model.graph.outputs.extend(
        value for node in model.graph for value in node.outputs if value.name in ("a", "c")
    )
    reference = Reference(model, optimized=True)
    runs = [reference.run(batch) for batch in batches_of(data)]
    whole = {name: np.concatenate([run[name] for run in runs]) for name in ("a", "c", "y")}
    for name, expected in {**whole, "x": data}.items():
        actual = found.values[name]
        rest = tuple(axis for axis in range(expected.ndim) if axis != 1)
        assert (actual.minimum, actual.maximum) == (expected.min(), expected.max())
        assert actual.count == actual.histogram.count == expected.size
        np.testing.assert_array_equal(actual.largest, np.abs(expected).max(rest))
        straight = Histogram()
        straight.add(expected)
        np.testing.assert_array_equal(actual.histogram.counts, straight.counts)
        assert actual.histogram.width == straight.width


def test_model_is_not_changed() -> None:
    model = conv()
    before = ir.to_onnx_text(model)
    calibrate(model, batches_of(np.ones((2, 3, 40, 40), np.float32)), ["c", "x"])
    assert ir.to_onnx_text(model) == before


def test_large_samples_are_thinned_in_the_histogram_alone() -> None:
    array = RNG.standard_normal((3, 8, 101, 101)).astype(np.float32)
    array[1, 3, 50, 50] = 40
    array[2, 7, 100, 100] = -50
    found = of(array)
    step = 3  # 8 x 101 x 101 numbers are a little more than twice 2^15; 3 does not divide them
    assert found.count == array.size
    assert (found.minimum, found.maximum) == (-50, 40)
    assert (found.histogram.minimum, found.histogram.maximum) == (-50, 40)
    assert found.largest is not None
    assert (found.largest[3], found.largest[7]) == (40, 50)
    expected = Histogram()
    expected.cover(-50, 40)
    expected.add(array.reshape(3, -1)[:, ::step])
    assert found.histogram.count == expected.count
    np.testing.assert_array_equal(found.histogram.counts, expected.counts)


def test_histograms_may_be_left_out() -> None:
    array = RNG.standard_normal((3, 8, 101, 101)).astype(np.float32)
    model = unary("Relu", "1,8,101,101")
    full = of(array)
    found = calibrate(model, batches_of(array), ["x"], histograms=False).values["x"]
    assert found.histogram.count == found.histogram.counts.sum() == 0
    assert (found.minimum, found.maximum, found.count) == (full.minimum, full.maximum, full.count)
    np.testing.assert_array_equal(found.largest, full.largest)


@pytest.mark.parametrize("sizes", [(1, 6), (2, 3), (6, 1)])
def test_batches_do_not_matter(sizes: tuple[int, int]) -> None:
    array = RNG.standard_normal((6, 4, 150, 50)).astype(np.float32)
    reference = of(array)
    model = unary("Relu", f"{sizes[0]},4,150,50")
    found = calibrate(model, batches_of(array, sizes[0]), ["x"])
    assert found.samples == 6
    np.testing.assert_array_equal(found.values["x"].histogram.counts, reference.histogram.counts)
    np.testing.assert_array_equal(found.values["x"].largest, reference.largest)


def test_no_channels_below_rank_two() -> None:
    model = support.from_text(
        "agraph (float[4] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }"
    )
    found = calibrate(model, [{"x": np.full(4, index, np.float32)} for index in range(3)], "xy")
    for item in found.values.values():
        assert item.largest is None
    assert (found.values["y"].minimum, found.values["y"].maximum) == (0, 8)
    assert found.values["y"].count == 3
    assert found.samples == 12  # the first dimension is the batch


@pytest.mark.parametrize(
    ("array", "step"),
    [
        (np.arange(256) / 255, 1 / 255),
        (np.arange(256) * np.float32(1 / 255), 1 / 255),
        (np.arange(256), 1.0),
        (np.arange(-128, 128), 1.0),
        (np.arange(-128, 128) / 128, 1 / 128),
        (np.arange(256) / 256, 1 / 256),
        (np.array([0, 1]), 1 / 255),  # the finest of which they span at most 255 steps
        (np.arange(256) / 127.5 - 1, None),  # has no zero
        (np.arange(257), None),
        (np.linspace(0, 1, 255), None),
        (np.append(np.arange(256) / 255, 0.5), None),
        (np.arange(256) * 1e-8, None),  # not one step of any
        (np.zeros(5), None),
        (np.full(5, 7), None),
    ],
)
def test_grid(array: np.ndarray, step: float | None) -> None:
    assert of(array.reshape(-1, 1)).step == step
    assert of(array.reshape(1, -1)).step == step
    # Where only the last of many numbers lies off the grid, there is none.
    long = np.tile(array, 30000 // array.size + 1)
    assert of(long.reshape(1, -1)).step == step
    assert of(np.append(long, np.pi / 4).reshape(1, -1)).step is None


def test_only_inputs_have_a_grid() -> None:
    array = np.arange(256, dtype=np.float32).reshape(64, 4)
    found = calibrate(unary("Relu"), batches_of(array), ["x", "y"])
    assert (found.values["x"].step, found.values["y"].step) == (1.0, None)


@pytest.mark.parametrize("constant", [0.0, -3.5, 1e-42])
def test_constant_tensor(constant: float) -> None:
    found = of(np.full((3, 2), constant))
    assert found.minimum == found.maximum == np.float32(constant)
    assert found.histogram.counts.tolist() == [6]
    np.testing.assert_array_equal(found.largest, [abs(np.float32(constant))] * 2)


def test_single_sample_is_enough() -> None:
    found = calibrate(unary("Relu"), [{"x": np.array([[1, -2, 3, 4]], np.float32)}], ["x", "y"])
    assert found.samples == 1
    assert (found.values["y"].minimum, found.values["y"].maximum) == (0, 4)


def test_values_without_elements_have_no_statistics() -> None:
    model = support.from_text(
        """agraph (float[1,4] x, int64[1] start, int64[1] axes) => (float[1,0] y) {
          y = Slice (x, start, start, axes)
        }""",
        start=np.array([1]),
        axes=np.array([1]),
    )
    found = calibrate(model, [{"x": np.ones((1, 4), np.float32)}], ["y"]).values["y"]
    assert (found.minimum, found.maximum, found.count, found.histogram.count) == (0, 0, 0, 0)


def digest(batches: Batches) -> str:
    return calibrate(unary("Relu"), batches, ["x"]).digest


def test_digest_is_of_the_data() -> None:
    array = RNG.standard_normal((4, 4)).astype(np.float32)
    assert digest(batches_of(array)) == digest(batches_of(array.copy()))
    changed = array.copy()
    changed[3, 3] = np.nextafter(changed[3, 3], np.float32(9))
    assert digest(batches_of(changed)) != digest(batches_of(array))
    assert digest(batches_of(array[::-1])) != digest(batches_of(array))


def problems(model: ir.Model, batches: Batches, names: str = "xy") -> list[str]:
    with pytest.raises(UsageError) as caught:
        calibrate(model, batches, names)
    return [str(problem) for problem in caught.value.problems]


def test_no_samples_is_an_error() -> None:
    assert problems(unary("Relu"), []) == ["the data is empty"]
    assert problems(unary("Relu"), [{"x": np.ones((0, 4), np.float32)}]) == ["the data is empty"]


def test_every_bad_input_and_sample_is_named() -> None:
    model = support.from_text(
        "agraph (float[2,4] x, float[2,1] b, float[2,1] c) => (float[2,4] y) { y = Sum (x, b, c) }"
    )
    data = {name: np.ones((20, size), np.float32) for name, size in (("x", 4), ("b", 1), ("c", 1))}
    data["x"][[3, 4], 1] = [np.nan, np.inf]
    data["c"][5:17] = -np.inf
    batches = [
        {name: array[start : start + 2] for name, array in data.items()}
        for start in range(0, 20, 2)
    ]
    assert problems(model, batches) == [
        "input 'x': holds NaN or infinite values in samples 3, 4, counted from 0 "
        "(leave these samples out)",
        "input 'c': holds NaN or infinite values in samples 5, 6, 7, 8, 9, 10, 11, 12 and 4 more, "
        "counted from 0 (leave these samples out)",
    ]


def test_every_input_that_does_not_fit_is_named() -> None:
    model = support.from_text(
        "agraph (float[1,4] x, float[1,1] b, uint8[1] c) => (float[1,4] y, uint8[1] d)"
        "{ y = Add (x, b) d = Identity (c) }"
    )
    good = {"x": np.ones((1, 4), np.float32), "b": np.ones((1, 1), np.float32)}
    batches = [
        {**good, "d": np.ones(1, np.uint8)},
        {**good, "d": np.ones(1, np.uint8), "x": np.ones((1, 5), np.float32)},
        {**good, "d": np.ones(1, np.uint8), "b": np.ones((1, 1))},
    ]
    fix = "(the inputs are: 'x' float32 (1, 4), 'b' float32 (1, 1), 'c' uint8 (1,))"
    assert problems(model, batches) == [
        f"input 'c': is missing {fix}",
        f"input 'd': is none of the model's {fix}",
        f"input 'x': has shape (1, 5) in 1 of 3 batches, from 1 on {fix}",
        f"input 'b': has dtype float64 in 1 of 3 batches, from 2 on {fix}",
    ]


@pytest.mark.parametrize("size", [4, 70000])
def test_every_value_that_overflows_is_named_where_it_begins(size: int) -> None:
    model = support.from_text(
        f"""agraph (float[1,{size}] x) => (float[1,{size}] y) {{
          [log] l = Log (x)
          [exp] e = Exp (x)
          y = Add (l, e)
        }}"""
    )
    data = np.ones((5, size), np.float32)
    data[1, 0], data[3, -1], data[4, 1] = -1, 1000, 2000
    assert problems(model, batches_of(data), "xley") == [
        "value 'l' of Log 'log': becomes NaN or infinite on sample 1, counted from 0 "
        "(leave these samples out, or mend the model)",
        "value 'e' of Exp 'exp': becomes NaN or infinite on samples 3, 4, counted from 0 "
        "(leave these samples out, or mend the model)",
    ]


@pytest.mark.parametrize("name", ["resnet8_cifar10", "ad_autoencoder"])
def test_real_models(name: str) -> None:
    from tapeout.lowering.canonical import canonical
    from tapeout.lowering.importers.onnx import load

    model = canonical("nchw").run(load(support.MODELS / f"{name}.onnx"))
    (first,) = (str(value.name) for value in model.graph.inputs)
    data = support.real_inputs(name, 12)
    batches = [{first: data[index : index + 1]} for index in range(len(data))]
    names = [first, *(str(node.outputs[0].name) for node in model.graph)]
    once, again = (calibrate(model, batches, names) for _ in range(2))
    assert once.digest == again.digest
    for value in names:
        assert_same(once, again, value)
    assert once.values[first].step == (1.0 if name == "resnet8_cifar10" else None)


def assert_same(first: Calibration, second: Calibration, name: str) -> None:
    one, other = first.values[name], second.values[name]
    assert (one.minimum, one.maximum, one.count) == (other.minimum, other.maximum, other.count)
    np.testing.assert_array_equal(one.largest, other.largest)
    np.testing.assert_array_equal(one.histogram.counts, other.histogram.counts)
