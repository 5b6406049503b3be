"""The estimate of time on a GPU: its peaks, its caches, and the copies to it and back."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.budget import Figure, Usage
from tapeout.lowering.analysis import roofline
from tapeout.lowering.analysis.program import Sharing
from tapeout.profiles import catalog
from tapeout.targets.gpu import copies, machine_of, transfer, with_copies

import support

FUSED = Sharing(fusion="elementwise")
GPUS = catalog.names("gpu")

#: A convolution of 64 channels and 56x56 positions, in floats and between rounded numbers.
FLOATS = """
    g (DTYPE[1,64,56,56] x, DTYPE[64,64,3,3] w) => (DTYPE[1,64,56,56] y) {
        h = Conv <pads = [1,1,1,1]> (x, w)
        y = Relu (h)
    }
"""
ROUNDED = """
    g (DTYPE[1,64,56,56] q, float s, DTYPE z, DTYPE[64,64,3,3] v) => (DTYPE[1,64,56,56] y) {
        x = DequantizeLinear (q, s, z)
        w = DequantizeLinear (v, s, z)
        h = Conv <pads = [1,1,1,1]> (x, w)
        a = Relu (h)
        y = QuantizeLinear (a, s, z)
    }
"""


def convolution(dtype: str) -> ir.Model:
    text = ROUNDED if dtype in ("int8", "float8e4m3fn") else FLOATS
    return support.from_text(text.replace("DTYPE", dtype))


@pytest.mark.parametrize("name", GPUS)
def test_each_dtype_has_the_peak_of_what_computes_it(name: str):
    profile = catalog.load(name)
    machine = machine_of(profile, "fp32")
    single = profile.peak("float32") or 0
    for dtype in profile.compute:
        assert machine.rate("convolution", dtype) == 0.5 * (profile.peak(dtype) or 0)
        # What tensor cores do not compute is no faster in fewer bits.
        assert machine.rate("softmax", dtype) == pytest.approx(single * 0.3)
        assert machine.rate("depthwise", dtype) == pytest.approx(single * 0.3)


def test_a_kernel_takes_cycles():
    slow, fast = machine_of(catalog.load("a100"), "fp16"), machine_of(catalog.load("l4"), "fp16")
    assert slow.overhead == pytest.approx(4e-6, rel=0.01)
    assert slow.overhead * 1.41 == pytest.approx(fast.overhead * 2.04)


def test_tf32_is_for_products_in_float32_alone():
    profile = catalog.load("a100")
    exact, rounded = machine_of(profile, "fp32"), machine_of(profile, "tf32")
    assert exact.rate("matmul", "float32") == 0.6 * 19.5e12
    assert rounded.rate("matmul", "float32") == 0.6 * 156e12
    assert rounded.rate("elementwise", "float32") == pytest.approx(0.5 * 19.5e12)


@pytest.mark.parametrize("name", GPUS)
def test_the_cache_is_faster_than_the_memory_and_that_slower_than_its_peak(name: str):
    profile = catalog.load(name)
    assert profile.gpu is not None
    machine = machine_of(profile, "fp16")
    (cache,) = machine.caches
    assert cache.size == profile.gpu.l2.value
    assert machine.bandwidth < profile.main_memory.bandwidth.value
    assert machine.bandwidth < cache.bandwidth


@pytest.mark.parametrize(
    ("stored", "dtype", "width"),
    [("float", "float32", 4), ("float16", "float16", 2), ("bfloat16", "bfloat16", 2),
     ("float8e4m3fn", "float8e4m3fn", 1), ("int8", "int8", 1)],
)  # fmt: skip
def test_a_convolution_is_estimated_in_the_numbers_that_it_reads(
    stored: str, dtype: str, width: int
):
    profile = catalog.load("rtx-4090")
    machine = machine_of(profile, "fp16")
    (step,) = (
        step
        for step in roofline.estimate(convolution(stored), machine, FUSED).steps
        if step.limit != "none"
    )
    macs = 56 * 56 * 64 * 64 * 9
    products = 2 * macs / (0.5 * (profile.peak(dtype) or 0))
    assert step.macs == macs
    assert step.bytes == pytest.approx((2 * 64 * 56 * 56 + 64 * 64 * 9) * width, abs=16)
    assert products < step.compute < 1.5 * products


def test_copies_take_what_the_link_takes_and_a_start_each():
    model = convolution("float16")
    entries = 2 * 64 * 56 * 56 + 64 * 64 * 9  # x and w are inputs here, y the output
    profile = catalog.load("rtx-4060")
    assert profile.gpu is not None
    assert profile.gpu.pcie is not None
    moving = 2 * entries / (0.8 * profile.gpu.pcie.bandwidth.value)
    assert transfer(model, profile) == pytest.approx(moving + 3 * 10e-6)
    assert transfer(model, catalog.load("rtx-4090")) == pytest.approx(moving / 2 + 3 * 10e-6)
    taken = copies(model, profile)
    assert taken is not None
    found = roofline.estimate(model, machine_of(profile, "fp16"), FUSED, taken)
    assert found.by_limit()["transfer"] == transfer(model, profile)


def usage(seconds: float) -> Usage:
    return Usage(
        Figure(1, "B", "exact"), Figure(1, "B", "exact"), Figure(seconds, "s", "estimated")
    )


def test_copies_are_a_term_of_the_latency():
    model, profile = convolution("float16"), catalog.load("rtx-4090")
    found = with_copies(usage(0.001), model, profile)
    assert found.latency is not None
    assert found.latency.value == 0.001 + transfer(model, profile)
    assert [(name, figure.known) for name, figure in found.latency_parts] == [
        ("on the GPU", "estimated"),
        ("copies over PCIe", "estimated"),
    ]
    assert sum(figure.value for _, figure in found.latency_parts) == found.latency.value
    assert found.terms("latency")[1][1].note == "PCIe 4 x16: inputs and outputs"


@pytest.mark.parametrize("name", ["jetson-orin-nano", "dgx-spark"])
def test_a_gpu_that_shares_the_cpus_memory_copies_nothing(name: str):
    model, profile = convolution("float16"), catalog.load(name)
    assert transfer(model, profile) == 0
    assert copies(model, profile) is None
    assert with_copies(usage(0.001), model, profile) == usage(0.001)


def test_what_has_no_gpu_is_refused():
    with pytest.raises(ValueError, match="raspberry-pi-5 has no GPU"):
        machine_of(catalog.load("raspberry-pi-5"), "fp16")
