"""Kernels for processors that are not here, run by qemu: the reference's numbers, and how few
instructions they take.

Instructions are counted, not timed: the same code executes the same number anywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from emulated_kernels import program

from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog

import quantized
import support
from quantized import Integers

#: Without RISC-V's vectors and with them, NEON without SDOT and with it.
DEVICES = ("visionfive-2", "banana-pi-f3", "raspberry-pi-3b-plus", "raspberry-pi-5")

#: In order and out of order, without SDOT and with it; RISC-V with vectors.
WITH_VECTORS = ("raspberry-pi-3b-plus", "raspberry-pi-4b", "raspberry-pi-5", "banana-pi-f3")

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
    shapes = {"w": (24, 5, 3, 3), "b": (24,), "d": (24, 1, 3, 3), "p": (24, 24, 1, 1), "f": (24, 40)}
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


def integer_convolution(size: int, channels: int, group: int = 1) -> ir.Model:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (channels, channels // group, 3, 3)).astype(np.int8)
    network = quantized.network(
        f"y = Conv <pads = [1, 1, 1, 1], group = {group}> (x, w)",
        {"y": Integers((1, channels, size, size), 2.5 if group == 1 else 0.4)},
        x=Integers((1, channels, size, size), 0.05, 3),
        w=Integers(weight, 0.1),
    )
    return (canonical("nhwc") + integers()).run(network)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("group", [1, 24])
def test_integers_are_the_reference_s_bit_for_bit(device: str, group: int, tmp_path: Path) -> None:
    model = integer_convolution(11, 24, group)
    feeds = integer_feeds(model)
    [found] = program(model, catalog.load(device), feeds, tmp_path).outputs()
    [wanted] = Reference(model).run(feeds).values()
    assert len(np.unique(wanted)) > 50
    np.testing.assert_array_equal(found, wanted)


def integer_feeds(model: ir.Model) -> dict[str, np.ndarray]:
    [entry] = model.graph.inputs
    shape = tuple(int(dim) for dim in entry.shape or ())
    return {str(entry.name): np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)}


def float_convolution(size: int, channels: int) -> ir.Model:
    rng = np.random.default_rng(0)
    shape = f"[1,{channels},{size},{size}]"
    text = (
        f"g (float{shape} x, float[{channels},{channels},3,3] w) => (float{shape} y)"
        " { c = Conv <pads = [1,1,1,1]> (x, w) y = Relu(c) }"
    )
    weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    return canonical("nhwc").run(support.from_text(text, w=weight))


@pytest.mark.parametrize("device", WITH_VECTORS)
@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_a_convolution_takes_an_eighth_of_the_naive_build_s_instructions(
    device: str, kind: str, tmp_path: Path
) -> None:
    """Layout changes at both ends included."""
    model = float_convolution(8, 64) if kind == "fp32" else integer_convolution(8, 64)
    feeds = support.random_feeds(model) if kind == "fp32" else integer_feeds(model)
    profile = catalog.load(device)
    counts = []
    for naive in (False, True):
        folder = tmp_path / str(naive)
        folder.mkdir()
        counts.append(program(model, profile, feeds, folder, naive=naive).instructions)
    assert counts[1] >= 8 * counts[0]


@pytest.mark.parametrize("device", ["raspberry-pi-5", "banana-pi-f3"])
def test_instructions_are_counted_as_qemu_executes_them_one_by_one(
    device: str, tmp_path: Path
) -> None:
    model = float_convolution(8, 16)
    made = program(model, catalog.load(device), support.random_feeds(model), tmp_path)
    one_by_one = made.executed(1, "-singlestep") - made.executed(0, "-singlestep")
    assert made.instructions == one_by_one
    multiplies = 8 * 8 * 16 * 16 * 9 // (profile_lanes(device))
    assert multiplies / 4 < made.instructions < 4 * multiplies


def profile_lanes(device: str) -> int:
    cpu = catalog.load(device).cpu
    assert cpu is not None
    return cpu.vector_bits.value // 32
