"""The machine code of convolutions for every CPU of the catalogue, most of which are not here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from tapeout.lowering.canonical import canonical, integers
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.host import architecture, processor_features
from tapeout.targets.tvm.schedules.arithmetic import FLOATS
from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.tile import tile_of

import quantized
import support
from quantized import Integers

#: LLVM's feature -> a float32 multiply-add of whole registers; the first that a processor has.
MULTIPLY_ADDS = {
    "avx512f": r"vfmadd\d+ps\s.*%zmm",
    "fma": r"vfmadd\d+ps\s.*%ymm",
    "v": r"vfmacc\.v[vf]\s",
    "fp-armv8": r"fmla\s+v\d+\.4s",
    "neon": r"vmul\.f32\s+q",  # LLVM takes what adds, too, for slow on these
    "f": r"fmadd\.s\s",
}

#: The same of float16, on processors that compute in it.
HALF_MULTIPLY_ADDS = {
    "avx512fp16": r"vfmadd\d+ph\s.*%zmm",
    "zvfh": r"vfmacc\.v[vf]\s",
    "fullfp16": r"fmla\s+v\d+\.8h",
}

#: LLVM's feature -> the instruction that multiplies integers of 8 bits, with whole registers. Those
#: from `v` on have none for words of several numbers.
DOTS = {
    "avx512vnni": r"vpdpbusd\s.*%zmm",
    "avxvnni": r"vpdpbusd\s.*%ymm",
    "avx2": r"vpmaddwd\s.*%ymm",
    "i8mm": r"smmla\s+v\d+\.4s",
    "dotprod": r"sdot\s+v\d+\.4s",
    "v": r"vwmacc\.v[vx]\s",
    "fp-armv8": r"s[mu]lal2?\s+v\d+\.4s",
    "neon": r"vmlal\.s16\s+q",
}

#: The same where each channel is by itself; from `v` on, multiply-adds of 16 bits.
ALONE = {
    **{name: DOTS[name] for name in ("avx512vnni", "avxvnni", "avx2")},
    "v": r"vmacc\.vv\s",
    "fp-armv8": r"smlal2?\s+v\d+\.8h",
    "neon": r"vmla\.i16\s+q",
}

#: An access to the stack, by the architecture of the LLVM triple.
STACK = {"x86_64": r"\(%rsp", "aarch64": r"\[sp", "armv7a": r"\[sp", "riscv64": r"\(sp\)"}


def processors() -> Iterable[Profile]:
    """Yield the first CPU of the catalogue for each processor that code is generated for."""
    found = {}
    for name in catalog.names("cpu"):
        profile = catalog.load(name)
        if name != catalog.HOST:
            found.setdefault((profile.toolchain.cpu, profile.toolchain.features), profile)
    return found.values()


PROCESSORS = {profile.name: profile for profile in processors()}


def best(table: dict[str, str], profile: Profile) -> str | None:
    features = processor_features(profile.toolchain)
    return next((feature for feature in table if feature in features), None)


def core_of(profile: Profile) -> Core:
    assert profile.cpu is not None
    return Core.of(profile.cpu, processor_features(profile.toolchain))


def assembly(library: Any) -> str:
    """Return the code of the kernels, without labels for debuggers."""
    return re.sub(r"\n\.?L(tmp|func)\w*:", "", library.inspect_source("asm"))


def blocks_of(library: Any) -> list[str]:
    return re.split(r"\n(?=\.?L\w+:)", assembly(library))


def multiplied(dtype: str, profile: Profile) -> str | None:
    """Return what multiplies and adds numbers of a dtype; None if a processor does not."""
    table = MULTIPLY_ADDS if dtype == "float" else HALF_MULTIPLY_ADDS
    return table.get(str(best(table, profile)))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name, profile in PROCESSORS.items()
        for dtype in ("float", "float16")
        if multiplied(dtype, profile)
    ],
)
def test_the_innermost_loop_is_multiply_adds_of_whole_registers(name: str, dtype: str) -> None:
    profile = PROCESSORS[name]
    multiply = str(multiplied(dtype, profile))
    stack = STACK[architecture(profile.toolchain.triple)]
    core, size, channels = core_of(profile), 28, 64
    numbers = np.dtype("float32" if dtype == "float" else dtype)
    model = support.from_text(
        f"g ({dtype}[1,{channels},{size},{size}] x, {dtype}[{channels},{channels},3,3] w)"
        f" => ({dtype}[1,{channels},{size},{size}] y) {{"
        " c = Conv <pads = [2,2,2,2], dilations = [2,2]> (x, w)  y = Relu(c) }",
        w=np.ones((channels, channels, 3, 3), numbers),
    )
    compiled = compile_model(canonical("nhwc").run(model), profile.toolchain, core)
    blocks = blocks_of(compiled.library)
    innermost = max(blocks, key=lambda block: len(re.findall(multiply, block)))
    label = innermost.partition(":")[0]
    assert re.search(rf"\b\w+\s+.*{re.escape(label)}\b", innermost), "it is no loop"

    core = core.of_dtype(str(numbers))
    tile = tile_of((size, size), channels, core, FLOATS[str(numbers)])
    sums = tile.height * tile.width * tile.lanes // (core.lanes * core.operands.group)
    found = len(re.findall(multiply, innermost))
    assert found % sums == 0  # LLVM may write several steps out
    # Per step one load for each row and each vector of weights: nothing is put aside on the stack.
    assert len(re.findall(stack, innermost)) <= found / sums


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, profile in PROCESSORS.items()
        for kind in ("plain", "depthwise")
        if best(ALONE, profile)
    ],
)
def test_integers_are_multiplied_by_the_best_instruction(name: str, kind: str) -> None:
    profile = PROCESSORS[name]
    table = ALONE if kind == "depthwise" else DOTS
    dot = table[str(best(table, profile))]
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
    found = max(len(re.findall(dot, block)) for block in blocks_of(compiled.library))
    assert found >= (6 if kind == "plain" else 4)
