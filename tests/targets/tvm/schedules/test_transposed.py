"""Transposed convolutions of any shape on any core: the same numbers as ONNX Runtime's."""

from __future__ import annotations

import math

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_convolutions import FOLLOWING, followed

from tapeout.lowering.canonical import canonical
from tapeout.targets.tvm.compile import compile_model

import kernels
from kernels import CORES

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone", "threads_share_whatever_they_can")

#: Relative to the largest number: sums of up to 70 x 5 x 5 products in float32, in another order.
TOLERANCE = 1e-5


def transposed(
    shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...] = (),
    pads: tuple[int, ...] = (),
    padding: tuple[int, ...] = (),
    group: int = 1,
    following: str = "activation",
) -> ir.Model | None:
    """Return a transposed convolution and what follows; None where pads leave nothing of it.

    Args:
        shape: of the data (n, C, space).
        padding: ``output_padding``.
    """
    images, channels, *space = shape
    rank = len(space)
    dilations, pads = dilations or (1,) * rank, pads or (0,) * 2 * rank
    padding = padding or (0,) * rank
    sizes = [
        (size - 1) * s + (k - 1) * d + 1 + extra - low - high
        for size, s, k, d, extra, low, high in zip(
            space, strides, kernel, dilations, padding, pads[:rank], pads[rank:], strict=True
        )
    ]
    if min(sizes) < 1:
        return None
    attributes = {
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "output_padding": padding,
        "group": group,
    }
    weight, out = (channels, outputs // group, *kernel), (images, outputs, *sizes)
    return followed("ConvTranspose", attributes, shape, weight, out, following)


@st.composite
def convolutions(draw: st.DrawFn) -> ir.Model | None:
    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kind = draw(st.sampled_from(["plain", "plain", "plain", "grouped", "depthwise"]))
    inputs, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    group = 1
    if kind == "depthwise":
        group = inputs = outputs
    elif kind == "grouped":
        group = draw(st.integers(2, 4))
        inputs, outputs = group * (inputs % 20 + 1), group * (outputs % 20 + 1)
    strides = draw(st.sampled_from([(2,) * rank, each(1, 3), each(1, 5)]))
    pads = draw(st.sampled_from([(0,) * 2 * rank, (1,) * 2 * rank, each(0, 3) + each(0, 3)]))
    return transposed(
        (draw(st.integers(1, 2)), inputs, *each(1, 10)),
        outputs,
        draw(st.sampled_from([strides, (3,) * rank, (4,) * rank, each(1, 5)])),
        strides=strides,
        dilations=draw(st.sampled_from([(1,) * rank, (1,) * rank, each(1, 3)])),
        pads=pads,
        padding=tuple(draw(st.integers(0, stride - 1)) for stride in strides),
        group=group,
        following=draw(st.sampled_from(list(FOLLOWING))),
    )


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(model=convolutions())
def test_transposed_convolutions_of_any_shape(name: str, model: ir.Model | None) -> None:
    if model is not None:
        lowered = canonical("nhwc", transposed=True, volumes=True).run(model)
        kernels.assert_same(lowered, tolerance=TOLERANCE, scheduled_for=CORES[name])


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "strides"),
    [
        ((1, 24, 7, 9), 32, (2, 2), (2, 2)),
        ((1, 24, 7, 9), 32, (3, 3), (2, 2)),
        ((2, 16, 20), 48, (16,), (8,)),
    ],
)
def test_one_kernel_writes_all_phases(
    shape: tuple[int, ...], outputs: int, kernel: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Sums, bias and activation; the numbers of each phase are nowhere but in registers."""
    model = transposed(shape, outputs, kernel, strides=strides)
    assert model is not None
    lowered = canonical("nhwc", transposed=True, volumes=True).run(model)
    program = compile_model(lowered, kernels.host().toolchain, CORES["wide"]).program
    own = [name for name in program.calls if "transpose" not in name or "transposed" in name]
    assert len(own) == 1
    layouts = 4 * (math.prod(shape) + math.prod(program.outputs) // 4)
    assert program.workspace <= layouts + 2 * 64
    kernels.assert_same(lowered, tolerance=TOLERANCE, scheduled_for=CORES["wide"])
