"""Windows that are partly outside of an image, whose pads are neither copied nor multiplied."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.compile import compile_model

import kernels
import support


def depthwise(kernel: tuple[int, int], space: tuple[int, int], attributes: str) -> ir.Model:
    """Return a lowered depthwise convolution of 16 channels."""
    high, wide = kernel
    model = support.from_text(
        f"""g (float[1,16,{space[0]},{space[1]}] x, float[16,1,{high},{wide}] w)
            => (float[1,16,oh,ow] y) {{ y = Conv <group = 16, {attributes}> (x, w) }}""",
        w=np.random.default_rng(0).normal(size=(16, 1, high, wide)).astype(np.float32),
    )
    profile = kernels.host()
    return TARGET.pipeline(profile, TARGET.plans(profile, "fp32")[0]).run(model)


def text_of(model: ir.Model, core: str) -> str:
    """Return the lowered loops of the depthwise kernel."""
    compiled = compile_model(model, kernels.host().toolchain, kernels.CORES[core])
    functions = compiled.lowered.functions.items()
    return "".join(f.script() for name, f in functions if "depthwise" in str(name.name_hint))


@pytest.mark.parametrize("core", ["wide", "half", "two"])
@pytest.mark.parametrize(
    ("kernel", "space", "attributes"),
    [
        ((3, 3), (25, 40), "pads = [1, 1, 1, 1]"),
        ((3, 3), (5, 40), "pads = [1, 0, 2, 1], strides = [2, 2]"),
        ((5, 3), (9, 9), "pads = [4, 2, 4, 2], dilations = [2, 2]"),
        ((1, 7), (3, 50), "pads = [0, 3, 0, 3]"),
        ((7, 1), (50, 3), "pads = [6, 0, 6, 0]"),
        ((3, 17), (9, 40), "pads = [1, 8, 1, 8]"),
    ],
)
def test_numbers(
    kernel: tuple[int, int], space: tuple[int, int], attributes: str, core: str
) -> None:
    kernels.assert_same(depthwise(kernel, space, attributes), scheduled_for=kernels.CORES[core])


def test_nothing_is_copied_and_rows_are_asked_for_once() -> None:
    """A row is one tile, so that it is known which of its windows are partly outside."""
    text = text_of(depthwise((3, 3), (25, 20), "pads = [1, 1, 1, 1]"), "wide")
    assert "padded" not in text
    assert "if_then_else" not in text
    assert text.count(" if ") == text.count("in range(3)") == 1


def test_wide_windows_are_copied() -> None:
    assert "padded" in text_of(depthwise((3, 17), (9, 40), "pads = [1, 8, 1, 8]"), "wide")
