"""Kernels for processors that are not here, run by qemu: the reference's numbers, and how few
instructions they take.

Instructions are counted, not timed: the same code executes the same number anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import convolutions
import numpy as np
import onnx_ir as ir
import pytest
from emulated_kernels import program

from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.tvm.host import processor_features

import quantized
import support
from quantized import Integers

#: Without RISC-V's vectors and with them, NEON without SDOT and with it, and with SMMLA.
DEVICES = (
    "visionfive-2", "banana-pi-f3", "raspberry-pi-3b-plus", "raspberry-pi-5", "aws-graviton3",
)  # fmt: skip

#: In order and out of order, without SDOT and with it, and with SMMLA; RISC-V with vectors.
WITH_VECTORS = (
    "raspberry-pi-3b-plus", "raspberry-pi-4b", "raspberry-pi-5", "aws-graviton3", "banana-pi-f3",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")

#: Convolutions and a product by pairs of rows: odd numbers of them, windows apart, groups, words
#: and vectors that are not full.
PAIRS = """
    a = Conv <pads = [1,1,1,1], strides = [2,2]> (x, wa)  b = Conv <pads = [1,0,0,2]> (x, wb)
    c = Conv <pads = [2,2,2,2], dilations = [2,2], group = 3> (x, wc)
    d = Conv <strides = [1,3]> (x, wd)                    e = Conv <strides = [2,1]> (x, we)
    m = MatMul (v, wm)
"""
WEIGHTS = {
    "a": (20, 24, 3, 3), "b": (13, 24, 1, 1), "c": (36, 8, 3, 3), "d": (16, 24, 1, 3),
    "e": (72, 24, 1, 1), "m": (90, 68),
}  # fmt: skip
PLACES = {"a": (5, 4), "b": (10, 9), "c": (9, 7), "d": (9, 2), "e": (5, 7)}


def pairs(dtype: type[np.integer]) -> ir.Model:
    rng, zero = np.random.default_rng(0), int(np.iinfo(dtype).min) + 120
    weights = {
        f"w{name}": Integers(rng.integers(-127, 128, shape).astype(np.int8), 0.01)
        for name, shape in WEIGHTS.items()
    }
    shapes = {name: (1, WEIGHTS[name][0], *places) for name, places in PLACES.items()}
    outputs = {
        name: Integers(shape, 0.7, zero, dtype) for name, shape in {**shapes, "m": (5, 68)}.items()
    }
    data = {"x": (1, 24, 9, 7), "v": (5, 90)}
    inputs = {name: Integers(shape, 0.05, zero, dtype) for name, shape in data.items()}
    return (canonical("nhwc") + integers()).run(
        quantized.network(PAIRS, outputs, **inputs, **weights)
    )


#: Cores that compute in half precision.
WITH_HALVES = ("raspberry-pi-5", "banana-pi-f3")

#: A softmax of 40: at some lengths qemu 7.2 itself fails, where a block that it translates begins
#: with a conversion of RISC-V's vectors from floats to integers.
FLOATS = """g (float[1,5,13,11] x, float[24,5,3,3] w, float[24] b, float[24,1,3,3] d,
               float[24,24,1,1] p, float[24,40] f) => (float[1,24] n, float[1,40] y) {
    c = Conv <pads = [1,1,1,1], strides = [2,1]> (x, w, b)  s = Sigmoid(c)  a = Mul(c, s)
    e = Conv <pads = [1,1,1,1], group = 24> (a, d)          r = Relu(e)
    q = Conv(r, p)                                          t = Add(q, a)
    m = MaxPool <kernel_shape = [2,2], strides = [2,2]> (t)
    g = GlobalAveragePool(m)   v = Flatten(g)   n = Tanh(v)
    l = MatMul(n, f)           y = Softmax <axis = -1> (l)
}"""


def floats() -> ir.Model:
    rng = np.random.default_rng(0)
    shapes = {
        "w": (24, 5, 3, 3),
        "b": (24,),
        "d": (24, 1, 3, 3),
        "p": (24, 24, 1, 1),
        "f": (24, 40),
    }
    weights = {
        name: rng.standard_normal(shape).astype(np.float32) / np.float32(3)
        for name, shape in shapes.items()
    }
    return canonical("nhwc").run(support.from_text(FLOATS, **weights))


@pytest.mark.parametrize("device", DEVICES)
def test_floats_are_the_reference_s(device: str, tmp_path: Path) -> None:
    model = floats()
    feeds = support.random_feeds(model)
    found = program(model, catalog.load(device), feeds, tmp_path).outputs()
    for actual, wanted in zip(found, Reference(model).run(feeds).values(), strict=True):
        support.assert_equal_or_close(actual, wanted, 1e-5, device)


@pytest.mark.parametrize("device", WITH_HALVES)
def test_half_precision_is_near_the_reference(device: str, tmp_path: Path) -> None:
    model = canonical("nhwc").run(ConvertPrecision()(floats()).model)
    feeds = support.random_feeds(model)
    found = program(model, catalog.load(device), feeds, tmp_path).outputs()
    for actual, wanted in zip(found, Reference(model).run(feeds).values(), strict=True):
        support.assert_equal_or_close(actual, wanted, 5e-3, device)


@pytest.mark.parametrize("device", WITH_HALVES)
@pytest.mark.parametrize("group", [1, 64])
def test_half_precision_takes_about_half_the_instructions(
    device: str, group: int, tmp_path: Path
) -> None:
    counts = []
    for layer in (convolutions.of_halves, convolutions.of_floats):
        model, folder = layer(10, 64, group), tmp_path / layer.__name__
        folder.mkdir()
        made = program(model, catalog.load(device), convolutions.feeds(model), folder)
        counts.append(made.instructions)
    assert counts[0] < 0.6 * counts[1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("group", [1, 24])
def test_integers_are_the_reference_s_bit_for_bit(device: str, group: int, tmp_path: Path) -> None:
    model = convolutions.of_integers(11, 24, group)
    feeds = convolutions.feeds(model)
    [found] = program(model, catalog.load(device), feeds, tmp_path).outputs()
    [wanted] = Reference(model).run(feeds).values()
    assert len(np.unique(wanted)) > 50
    np.testing.assert_array_equal(found, wanted)


def tables() -> ir.Model:
    """Functions of integers with sign and without it, of many numbers and of a few."""
    shapes = {"x": (7, 5, 32), "z": (3,)}
    tensors = {
        "x": Integers(shapes["x"], 0.07, 3, np.int8),
        "z": Integers(shapes["z"], 0.05, 120, np.uint8),
    }
    outputs = {
        "u": Integers(shapes["x"], 1 / 127, 100, np.uint8),
        "v": Integers(shapes["z"], 1 / 127, 0, np.int8),
    }
    lowered = integers().run(quantized.network("u = Sin(x) v = Tanh(z)", outputs, **tensors))
    assert [node.op_type for node in lowered.graph] == ["QTable", "QTable"]
    return lowered


@pytest.mark.parametrize("device", DEVICES)
def test_tables_are_the_reference_s_bit_for_bit(device: str, tmp_path: Path) -> None:
    model = tables()
    feeds = quantized.integer_feeds(model)
    made = program(model, catalog.load(device), feeds, tmp_path)
    for found, wanted in zip(made.outputs(), Reference(model).run(feeds).values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    if "neon" in processor_features(catalog.load(device).toolchain):
        # Seven look 16 numbers up; by itself, each takes three.
        assert made.instructions < 1.5 * 7 * 5 * 32


@pytest.mark.parametrize("l1", [2 << 10, 64 << 10])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_pairs_are_the_reference_s_bit_for_bit(
    l1: int, dtype: type[np.integer], tmp_path: Path
) -> None:
    model, profile = pairs(dtype), catalog.load("aws-graviton3")
    assert profile.cpu is not None
    assert profile.cpu.l1 is not None
    small = profile.cpu.l1.model_copy(update={"value": l1})
    cpu = profile.cpu.model_copy(update={"l1": small, "l2": small})
    feeds = quantized.integer_feeds(model)
    made = program(model, profile.model_copy(update={"cpu": cpu}), feeds, tmp_path)
    for found, wanted in zip(made.outputs(), Reference(model).run(feeds).values(), strict=True):
        assert len(np.unique(wanted)) > 50
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("device", WITH_VECTORS)
@pytest.mark.parametrize("layer", [convolutions.of_floats, convolutions.of_integers])
def test_a_convolution_takes_an_eighth_of_the_naive_build_s_instructions(
    device: str, layer: Callable[[int, int], ir.Model], tmp_path: Path
) -> None:
    model = layer(4, 64)
    counts = {}
    for build in ("scheduled", "naive"):
        folder = tmp_path / build
        folder.mkdir()
        made = program(model, catalog.load(device), convolutions.feeds(model), folder, build)
        counts[build] = made.instructions
    assert counts["naive"] >= 8 * counts["scheduled"]


@pytest.mark.parametrize("device", ["raspberry-pi-5", "banana-pi-f3"])
def test_instructions_are_counted_as_qemu_executes_them_one_by_one(
    device: str, tmp_path: Path
) -> None:
    model = convolutions.of_floats(8, 16)
    profile = catalog.load(device)
    made = program(model, profile, convolutions.feeds(model), tmp_path)
    assert made.instructions == made.executed(1, "-singlestep") - made.executed(0, "-singlestep")
    assert profile.cpu is not None
    # With the fewest multiplications for each sum: 2.25.
    least = 8 * 8 * 16 * 16 * 9 / 4
    assert made.instructions > least / (profile.cpu.vector_bits.value / 32)
