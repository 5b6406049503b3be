"""Instructions of `arithmetic` as TVM knows them: what they stand for, and how they are called."""

from __future__ import annotations

from typing import Final

from tvm.s_tir import TensorIntrin
from tvm.script import from_source

from .arithmetic import Arithmetic

_HEAD: Final = """
@T.prim_func(s_tir=True)
def function(
    data: T.Buffer(({together},), "{data}", offset_factor=1),
    weights: T.Buffer(({lanes}, {together}), "{weight}", offset_factor=1),
    sums: T.Buffer(({lanes},), "int32", offset_factor=1, scope="local"),
) -> None:
    with T.sblock("root"):
        T.reads(sums[0:{lanes}], data[0:{together}], weights[0:{lanes}, 0:{together}])
        T.writes(sums[0:{lanes}])
"""

_MEANING: Final = """
        for i in T.serial(0, {lanes}):
            for k in T.serial(0, {together}):
                with T.sblock("product"):
                    lane, member = T.axis.remap("SR", [i, k])
                    sums[lane] = sums[lane] + T.cast(data[member], "int32") * T.cast(
                        weights[lane, member], "int32"
                    )
"""

#: Names would be buffers of their own.
_CALL: Final = """
        sums[T.ramp(T.int32(0), 1, {lanes})] = {plus} T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("{name}"),
            {first}
            T.reinterpret(
                T.broadcast(T.reinterpret(data.vload([0], "{data}x{together}"), dtype="int32"), {lanes}),
                dtype="{operand}x{count}",
            ),
            weights.vload([0, 0], dtype="{weight}x{count}"),
            dtype="int32x{lanes}",
        )
"""


def instruction(arithmetic: Arithmetic, lanes: int) -> str:
    """Return the name by which schedules call an instruction for so many lanes."""
    llvm = arithmetic.instructions[lanes]
    name = f"tapeout.{llvm}"
    if TensorIntrin.get(name, allow_missing=True) is None:
        before = f'sums.vload([0], dtype="int32x{lanes}")'
        parts = {
            "lanes": lanes,
            "together": arithmetic.together,
            "count": lanes * arithmetic.together,
            "data": arithmetic.data,
            "weight": arithmetic.weight,
            # LLVM's vectors have no sign
            "name": llvm,
            "operand": arithmetic.data.removeprefix("u"),
            "first": f"{before}," if arithmetic.accumulates else "",
            "plus": "" if arithmetic.accumulates else f"{before} +",
        }
        meaning, call = (from_source((_HEAD + body).format(**parts)) for body in (_MEANING, _CALL))
        TensorIntrin.register(name, meaning, call)
    return name
