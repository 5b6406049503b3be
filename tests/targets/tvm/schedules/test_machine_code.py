"""The machine code of a convolution, for processors that are not here."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tapeout.lowering.canonical import canonical
from tapeout.profiles import catalog
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.tile import tile_of

import support

#: Device -> a multiply-add of all that a vector register holds, and an access to the stack.
DEVICES = {
    "raspberry-pi-5": (r"fmla\s+v\d+\.4s", r"\[sp"),
    "aws-graviton3": (r"fmla\s+v\d+\.4s", r"\[sp"),
    "intel-sapphire-rapids": (r"vfmadd\d+ps\s.*%zmm", r"\(%rsp"),
    "amd-epyc-milan": (r"vfmadd\d+ps\s.*%ymm", r"\(%rsp"),
}


def assembly(module: Any) -> str:
    """Return the code of the kernels, without labels for debuggers."""
    texts = [item.inspect_source("asm") for item in module.imports]
    return re.sub(r"\n\.?L(tmp|func)\w*:", "", max(texts, key=len))


@pytest.mark.parametrize("name", DEVICES)
def test_the_innermost_loop_is_multiply_adds_of_whole_registers(name: str) -> None:
    multiply, stack = DEVICES[name]
    profile = catalog.load(name)
    assert profile.cpu is not None
    core, size, channels = Core.of(profile.cpu), 28, 64
    model = support.from_text(
        f"g (float[1,{channels},{size},{size}] x, float[{channels},{channels},3,3] w)"
        f" => (float[1,{channels},{size},{size}] y) {{ c = Conv <pads = [1,1,1,1]> (x, w)"
        " y = Relu(c) }",
        w=np.ones((channels, channels, 3, 3), np.float32),
    )
    compiled = compile_model(canonical("nhwc").run(model), profile.toolchain, core)
    blocks = re.split(r"\n(?=\.?L\w+:)", assembly(compiled.executable.mod))
    innermost = max(blocks, key=lambda block: len(re.findall(multiply, block)))
    label = innermost.partition(":")[0]
    assert re.search(rf"\b\w+\s+{re.escape(label)}\b", innermost), "it is no loop"

    tile = tile_of((size, size), channels, core)
    sums = tile.height * tile.width * tile.lanes // core.lanes
    assert sums >= 12
    found = len(re.findall(multiply, innermost))
    assert found % sums == 0  # LLVM may write several steps out
    # Per step one load for each row and each vector of weights: nothing is put aside on the stack.
    assert len(re.findall(stack, innermost)) <= found / sums
