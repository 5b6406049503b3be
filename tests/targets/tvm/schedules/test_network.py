"""Kernels that threads share because of what they share before and after."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.schedules.core import Core

import kernels
import support

TWO = Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20, threads=2)

#: A depthwise convolution that is over before another thread is awake, and products that are not.
_DEPTHWISE = "Conv <group: int = 64, pads: ints = [1, 1, 1, 1]>"


def lowered(text: str, **weights: tuple[int, ...]) -> ir.Model:
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    profile = kernels.host()
    plan = TARGET.plans(profile, "fp32")[0]
    return TARGET.pipeline(profile, plan).run(support.from_text(text, **arrays))


def shared(model: ir.Model) -> dict[str, bool]:
    """Return which kernels have loops that two threads share: a part of the name -> whether."""
    functions = compile_model(model, kernels.host().toolchain, TWO).program.module.functions
    return {
        part: any("T.parallel" in f.script() for name, f in functions.items() if part in str(name))
        for part in ("product", "depthwise", "mean")
    }


def test_a_short_kernel_by_itself_is_not_shared() -> None:
    model = lowered(
        f"""g (float[1,64,25,5] x, float[64,1,3,3] w) => (float[1,64,25,5] y) {{
            y = {_DEPTHWISE} (x, w)
        }}""",
        w=(64, 1, 3, 3),
    )
    assert not shared(model)["depthwise"]


@pytest.mark.parametrize("last", ["Relu", "GlobalAveragePool"])
def test_a_short_kernel_between_shared_ones_is_shared(last: str) -> None:
    """Each thread goes on with its own rows; sums over all rows are of one thread as before."""
    model = lowered(
        f"""g (float[1,64,25,5] x, float[64,64,1,1] v, float[64,1,3,3] w, float[64,64,1,1] u)
            => (float[1,64,oh,ow] y) {{
            a = Conv (x, v)
            b = Relu (a)
            c = {_DEPTHWISE} (b, w)
            d = Relu (c)
            e = Conv (d, u)
            f = Relu (e)
            y = {last} (f)
        }}""",
        v=(64, 64, 1, 1),
        w=(64, 1, 3, 3),
        u=(64, 64, 1, 1),
    )
    assert shared(model) == {"product": True, "depthwise": True, "mean": False}
    kernels.assert_same(model, scheduled_for=TWO)
