"""The machine code of a convolution, for processors that are not here."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tapeout.lowering.canonical import canonical, integers
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.host import processor_features
from tapeout.targets.tvm.schedules.arithmetic import FLOAT
from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.tile import tile_of

import quantized
import support
from quantized import Integers

#: Device -> a multiply-add of all that a vector register holds, and an access to the stack.
DEVICES = {
    "raspberry-pi-5": (r"fmla\s+v\d+\.4s", r"\[sp"),
    "aws-graviton3": (r"fmla\s+v\d+\.4s", r"\[sp"),
    "intel-sapphire-rapids": (r"vfmadd\d+ps\s.*%zmm", r"\(%rsp"),
    "amd-epyc-milan": (r"vfmadd\d+ps\s.*%ymm", r"\(%rsp"),
}


#: Device -> the instruction that multiplies integers of 8 bits, with whole registers. The last has
#: none for words.
DOTS = {
    "raspberry-pi-5": r"sdot\s+v\d+\.4s",
    "aws-graviton3": r"sdot\s+v\d+\.4s",
    "intel-sapphire-rapids": r"vpdpbusd\s.*%zmm",
    "intel-n100": r"vpdpbusd\s.*%ymm",
    "amd-epyc-milan": r"vpmaddwd\s.*%ymm",
    "raspberry-pi-4b": r"s[mu]lal2?\s+v\d+\.4s",
}


def core_of(profile: Profile) -> Core:
    assert profile.cpu is not None
    return Core.of(profile.cpu, processor_features(profile.toolchain))


def assembly(library: Any) -> str:
    """Return the code of the kernels, without labels for debuggers."""
    return re.sub(r"\n\.?L(tmp|func)\w*:", "", library.inspect_source("asm"))


@pytest.mark.parametrize("name", DEVICES)
def test_the_innermost_loop_is_multiply_adds_of_whole_registers(name: str) -> None:
    multiply, stack = DEVICES[name]
    profile = catalog.load(name)
    core, size, channels = core_of(profile), 28, 64
    model = support.from_text(
        f"g (float[1,{channels},{size},{size}] x, float[{channels},{channels},3,3] w)"
        f" => (float[1,{channels},{size},{size}] y) {{ c = Conv <pads = [1,1,1,1]> (x, w)"
        " y = Relu(c) }",
        w=np.ones((channels, channels, 3, 3), np.float32),
    )
    compiled = compile_model(canonical("nhwc").run(model), profile.toolchain, core)
    blocks = re.split(r"\n(?=\.?L\w+:)", assembly(compiled.library))
    innermost = max(blocks, key=lambda block: len(re.findall(multiply, block)))
    label = innermost.partition(":")[0]
    assert re.search(rf"\b\w+\s+{re.escape(label)}\b", innermost), "it is no loop"

    tile = tile_of((size, size), channels, core, FLOAT)
    sums = tile.height * tile.width * tile.lanes // core.lanes
    assert sums >= 12
    found = len(re.findall(multiply, innermost))
    assert found % sums == 0  # LLVM may write several steps out
    # Per step one load for each row and each vector of weights: nothing is put aside on the stack.
    assert len(re.findall(stack, innermost)) <= found / sums


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "plain") for name in DOTS), *((name, "depthwise") for name in list(DOTS)[:-1])],
)
def test_integers_are_multiplied_by_the_best_instruction(name: str, kind: str) -> None:
    profile = catalog.load(name)
    group = 64 if kind == "depthwise" else 1
    weight = np.ones((64, 64 // group, 3, 3), np.int8)
    model = quantized.network(
        f"y = Conv <pads = [1, 1, 1, 1], group = {group}> (x, w)",
        {"y": Integers((1, 64, 14, 14), 0.5)},
        x=Integers((1, 64, 14, 14), 0.05),
        w=Integers(weight, 0.1),
    )
    lowered = (canonical("nhwc") + integers()).run(model)
    compiled = compile_model(lowered, profile.toolchain, core_of(profile))
    blocks = re.split(r"\n(?=\.?L\w+:)", assembly(compiled.library))
    found = max(len(re.findall(DOTS[name], block)) for block in blocks)
    assert found >= 6
