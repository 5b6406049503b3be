"""Instructions of `arithmetic` as TVM knows them: what they stand for, and how they are called."""

from __future__ import annotations

from typing import Any, Final

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import from_source

from .arithmetic import WORD, Arithmetic

#: Each lane adds the products of the numbers of one word, which is the same for all, with its own.
_SPREAD: Final = """
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

_SPREAD_MEANING: Final = """
        for i in T.serial(0, {lanes}):
            for k in T.serial(0, {together}):
                with T.sblock("product"):
                    lane, member = T.axis.remap("SR", [i, k])
                    sums[lane] = sums[lane] + T.cast(data[member], "int32") * T.cast(
                        weights[lane, member], "int32"
                    )
"""

_SPREAD_WORDS: Final = (
    'T.broadcast(T.reinterpret(data.vload([0], "{data}x{together}"), dtype="int32"), {lanes})'
)

#: Each lane has a word of its own.
_LANES: Final = """
@T.prim_func(s_tir=True)
def function(
    words: T.Buffer(({lanes},), "int32", offset_factor=1),
    weights: T.Buffer(({lanes}, {together}), "{weight}", offset_factor=1),
    sums: T.Buffer(({lanes},), "int32", offset_factor=1, scope="local"),
) -> None:
    with T.sblock("root"):
        T.reads(sums[0:{lanes}], words[0:{lanes}], weights[0:{lanes}, 0:{together}])
        T.writes(sums[0:{lanes}])
"""

_LANES_MEANING: Final = """
        for i in T.serial(0, {lanes}):
            with T.sblock("product"):
                lane = T.axis.spatial({lanes}, i)
                sums[lane] = sums[lane] + ({products})
"""

_LANES_WORDS: Final = 'words.vload([0], dtype="int32x{lanes}")'

#: Names would be buffers of their own.
_CALL: Final = """
        sums[T.ramp(T.int32(0), 1, {lanes})] = {plus} T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("{name}"),
            {first}
            T.reinterpret({words}, dtype="{operand}x{count}"),
            weights.vload([0, 0], dtype="{weight}x{count}"),
            dtype="int32x{lanes}",
        )
"""

#: The same of several words, which come as one vector: each is a lane of it.
_INDEXED: Final = """
@T.prim_func(s_tir=True)
def function(
    data: T.Buffer(({numbers},), "{data}", offset_factor=1),
    weights: T.Buffer(
        ({words}, {lanes}, {together}),
        "{weight}",
        strides=[{apart}, {together}, 1],
        offset_factor=1,
    ),
    sums: T.Buffer(({lanes},), "int32", offset_factor=1, scope="local"),
) -> None:
    with T.sblock("root"):
        T.reads(
            sums[0:{lanes}], data[0:{numbers}], weights[0:{words}, 0:{lanes}, 0:{together}]
        )
        T.writes(sums[0:{lanes}])
"""

_INDEXED_MEANING: Final = """
        for i, j, k in T.grid({lanes}, {words}, {together}):
            with T.sblock("product"):
                lane, word, member = T.axis.remap("SRR", [i, j, k])
                sums[lane] = sums[lane] + T.cast(
                    data[word * {together} + member], "int32"
                ) * T.cast(weights[word, lane, member], "int32")
"""

_INDEXED_CALL: Final = """T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("{name}"),
            {before},
            weights.vload([{at}, 0, 0], dtype="{weight}x{count}"),
            T.reinterpret(
                T.broadcast(
                    T.Shuffle(
                        [T.reinterpret(data.vload([0], "{data}x{numbers}"), dtype="int32x{words}")],
                        [{at}],
                    ),
                    {lanes},
                ),
                dtype="{data}x{count}",
            ),
            dtype="int32x{lanes}",
        )"""

#: Two rows have a word each, which two channels share.
_PAIRED: Final = """
@T.prim_func(s_tir=True)
def function(
    data: T.Buffer(({reach}, {together}), "{data}", offset_factor=1),
    weights: T.Buffer((2, {together}), "{weight}", offset_factor=1),
    sums: T.Buffer((2, 2), "int32", offset_factor=1, scope="local"),
) -> None:
    with T.sblock("root"):
        T.reads(sums[0:2, 0:2], data[0:{reach}, 0:{together}], weights[0:2, 0:{together}])
        T.writes(sums[0:2, 0:2])
"""

_PAIRED_MEANING: Final = """
        for i, j, k in T.grid(2, 2, {together}):
            with T.sblock("product"):
                row, lane, member = T.axis.remap("SSR", [i, j, k])
                sums[row, lane] = sums[row, lane] + T.cast(
                    data[row * {stride}, member], "int32"
                ) * T.cast(weights[lane, member], "int32")
"""

_PAIRED_NEXT: Final = 'data.vload([0, 0], dtype="{data}x{numbers}")'
_PAIRED_APART: Final = """T.Shuffle(
                [
                    data.vload([0, 0], dtype="{data}x{together}"),
                    data.vload([{stride}, 0], dtype="{data}x{together}"),
                ],
                {order},
            )"""

_PAIRED_CALL: Final = """
        sums[0, T.ramp(T.int32(0), 1, 4)] = T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("{name}"),
            sums.vload([0, 0], dtype="int32x4"),
            {words},
            weights.vload([0, 0], dtype="{weight}x{numbers}"),
            dtype="int32x4",
        )
"""


def member_of(word: Any, at: int, arithmetic: Arithmetic) -> Any:
    """Return a number of a word of int32 as int32; the first has the lowest bits."""
    bits = arithmetic.bits
    if arithmetic.data.startswith("u"):
        return tirx.bitwise_and(tirx.shift_right(word, _int32(bits * at)), _int32((1 << bits) - 1))
    moved = tirx.shift_left(word, _int32(WORD - bits * (at + 1)))
    return tirx.shift_right(moved, _int32(WORD - bits))


def _int32(value: int) -> Any:
    return tirx.const(value, "int32")


def instruction(arithmetic: Arithmetic, lanes: int, *, spread: bool) -> str:
    """Return the name by which schedules call an instruction for so many lanes.

    Args:
        spread: whether all lanes take the same word.
    """
    llvm = arithmetic.instructions[lanes]
    name = f"tapeout.{llvm}.{'spread' if spread else 'lanes'}"
    if TensorIntrin.get(name, allow_missing=True) is None:
        before = f'sums.vload([0], dtype="int32x{lanes}")'
        parts: dict[str, object] = {
            "lanes": lanes,
            "together": arithmetic.together,
            "count": lanes * arithmetic.together,
            "data": arithmetic.data,
            "weight": arithmetic.weight,
            "products": " + ".join(_product(at, arithmetic) for at in range(arithmetic.together)),
            # LLVM's vectors have no sign
            "operand": arithmetic.data.removeprefix("u"),
            "name": llvm,
            "first": f"{before}," if arithmetic.accumulates else "",
            "plus": "" if arithmetic.accumulates else f"{before} +",
        }
        parts["words"] = (_SPREAD_WORDS if spread else _LANES_WORDS).format(**parts)
        head, meaning = (_SPREAD, _SPREAD_MEANING) if spread else (_LANES, _LANES_MEANING)
        functions = (from_source((head + body).format(**parts)) for body in (meaning, _CALL))
        TensorIntrin.register(name, *functions)
    return name


def _product(at: int, arithmetic: Arithmetic) -> str:
    """Return the text of what `member_of` gives, times its weight."""
    bits = arithmetic.bits
    if arithmetic.data.startswith("u"):
        number = f"T.bitwise_and(T.shift_right(words[lane], {bits * at}), {(1 << bits) - 1})"
    else:
        moved = f"T.shift_left(words[lane], {WORD - bits * (at + 1)})"
        number = f"T.shift_right({moved}, {WORD - bits})"
    return f'{number} * T.cast(weights[lane, {at}], "int32")'


def indexed_instruction(arithmetic: Arithmetic, lanes: int, words: int, apart: int) -> str:
    """Return the name by which schedules call an instruction for several words, one after another.

    Args:
        apart: how far apart the weights of two words are.
    """
    llvm = arithmetic.instructions[lanes]
    name = f"tapeout.{llvm}.{words}.{apart}"
    if TensorIntrin.get(name, allow_missing=True) is None:
        parts: dict[str, object] = {
            "lanes": lanes,
            "together": arithmetic.together,
            "words": words,
            "apart": apart,
            "count": lanes * arithmetic.together,
            "numbers": words * arithmetic.together,
            "data": arithmetic.data,
            "weight": arithmetic.weight,
            "name": llvm,
        }
        total = f'sums.vload([0], dtype="int32x{lanes}")'
        for at in range(words):
            total = _INDEXED_CALL.format(**parts, before=total, at=at)
        call = f"\n        sums[T.ramp(T.int32(0), 1, {lanes})] = {total}\n"
        head = _INDEXED.format(**parts)
        functions = (from_source(head + body) for body in (_INDEXED_MEANING.format(**parts), call))
        TensorIntrin.register(name, *functions)
    return name


def paired_instruction(arithmetic: Arithmetic, stride: int) -> str:
    """Return the name by which schedules call an instruction for pairs of rows.

    Args:
        stride: how far apart the words of both are, in words.
    """
    [llvm] = arithmetic.instructions.values()
    name = f"tapeout.{llvm}.{stride}"
    if TensorIntrin.get(name, allow_missing=True) is None:
        parts: dict[str, object] = {
            "together": arithmetic.together,
            "data": arithmetic.data,
            "weight": arithmetic.weight,
            "reach": stride + 1,
            "stride": stride,
            "numbers": 2 * arithmetic.together,
            "order": list(range(2 * arithmetic.together)),
            "name": llvm,
        }
        parts["words"] = (_PAIRED_NEXT if stride == 1 else _PAIRED_APART).format(**parts)
        bodies = (_PAIRED_MEANING, _PAIRED_CALL)
        TensorIntrin.register(name, *(from_source((_PAIRED + it).format(**parts)) for it in bodies))
    return name
