"""How much arithmetic an operator takes, by formulas over its static shapes.

A multiply-accumulate (MAC) is counted apart from the other arithmetic. Zero padding counts as data,
as is usual: a 3x3 convolution does nine MACs at the border too. Other arithmetic counts one for an
addition, a multiplication or a comparison; `DIVISION` and `TRANSCENDENTAL` stand for the longer
instruction sequences of a division or square root and of a vectorised polynomial (Cephes' ``expf``
is about twenty operations).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final

import onnx_ir as ir

from .contraction import einsum_macs
from .tensors import elements_of, outputs_of, shape_of

#: Additions that take as long as one division or square root.
DIVISION: Final = 4
#: Additions that take as long as one exponential, logarithm, sine, error function ...
TRANSCENDENTAL: Final = 20

SOFTMAX: Final = TRANSCENDENTAL + DIVISION + 3  # max, subtract, exp, sum, divide
SIGMOID: Final = TRANSCENDENTAL + DIVISION + 1


@dataclasses.dataclass(frozen=True)
class Work:
    """Arithmetic: multiply-accumulates, and everything else in operations."""

    macs: int = 0
    ops: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.ops + other.ops)

    def __mul__(self, times: int) -> Work:
        return Work(self.macs * times, self.ops * times)


#: Counts one node's arithmetic.
Formula = Callable[[ir.Node], Work]


def optional_input(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, None where it is left out."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.name == "" else value


def input_shape(node: ir.Node, index: int) -> tuple[int, ...]:
    """Return an input's shape, () where it is left out."""
    value = optional_input(node, index)
    return () if value is None else shape_of(value)


def _size(node: ir.Node, index: int = 0) -> int:
    value = optional_input(node, index)
    return 0 if value is None else elements_of(value)


def _written(node: ir.Node) -> int:
    """Return the elements of the first output that is there."""
    outputs = outputs_of(node)
    return elements_of(outputs[0]) if outputs else 0


def nothing(node: ir.Node) -> Work:
    """Data only moves."""
    return Work()


def per_output(ops: int) -> Formula:
    """So many operations for each element of the first output."""
    return lambda node: Work(ops=ops * _written(node))


def per_input(ops: int) -> Formula:
    """So many operations for each element of the first input."""
    return lambda node: Work(ops=ops * _size(node))


def variadic(node: ir.Node) -> Work:
    """One operation for each input after the first."""
    return Work(ops=max(1, len(node.inputs) - 1) * _written(node))


def convolution(weight: int, bias: int) -> Formula:
    """Weights OIHW: each output element takes I/group x H x W MACs, in any data layout."""

    def work(node: ir.Node) -> Work:
        taps = math.prod(input_shape(node, weight)[1:])
        added = _written(node) if optional_input(node, bias) is not None else 0
        return Work(_written(node) * taps, added)

    return work


def transposed_convolution(node: ir.Node) -> Work:
    """Weights IOHW: each input element is spread over O/group x H x W outputs."""
    taps = math.prod(input_shape(node, 1)[1:])
    return Work(_size(node) * taps, _written(node) if optional_input(node, 2) is not None else 0)


def deformable_convolution(node: ir.Node) -> Work:
    """A convolution, each of whose samples is interpolated from four neighbours (8 operations)."""
    weight = input_shape(node, 1)
    outputs = _written(node) // weight[0] if weight[0] else 0
    samples = outputs * input_shape(node, 0)[1] * math.prod(weight[2:])
    return convolution(1, 3)(node) + Work(ops=8 * samples)


def gemm(node: ir.Node) -> Work:
    """A (M, K), or its transpose, times B, plus C: M x N x K MACs."""
    rows = input_shape(node, 0)
    inner = rows[0] if node.attributes.get_int("transA", 0) else rows[1]
    return Work(
        _written(node) * inner, _written(node) if optional_input(node, 2) is not None else 0
    )


def matmul(node: ir.Node) -> Work:
    """The last dimension of A is summed over, for each element of the output."""
    return Work(_written(node) * input_shape(node, 0)[-1])


def einsum(node: ir.Node) -> Work:
    """As `contraction.einsum_macs` has it; of one operand there is nothing to multiply."""
    shapes = [input_shape(node, index) for index in range(len(node.inputs))]
    macs = einsum_macs(node.attributes.get_string("equation", ""), shapes)
    return Work(macs) if len(shapes) > 1 else Work(ops=macs)


def recurrent(gates: int, activations: int) -> Formula:
    """X @ W and H @ R in each step and direction: W (D, gates*H, I), R (D, gates*H, H)."""

    def work(node: ir.Node) -> Work:
        data, hidden = input_shape(node, 0), input_shape(node, 2)[-1]
        directions = input_shape(node, 1)[0]
        steps = data[0] * data[1]  # sequence x batch, in either layout
        cells = steps * directions * hidden
        macs = steps * (_size(node, 1) + _size(node, 2))
        return Work(macs, cells * (activations * TRANSCENDENTAL + 2 * gates))

    return work


def attention(node: ir.Node) -> Work:
    """Q K^T and its product with V; a causal mask is not discounted.

    Q, K, V are (batch, heads, length, size), or (batch, length, heads * size) with the heads in
    attributes; past keys lengthen K and V.
    """
    query, key, value = (input_shape(node, index) for index in range(3))
    past = input_shape(node, 4)
    if len(query) == 4:
        batch, heads, length, size = query
        keys, width = key[2], value[3]
    else:
        heads = node.attributes.get_int("q_num_heads", 1)
        kv_heads = node.attributes.get_int("kv_num_heads", 1)
        batch, length, size = query[0], query[1], query[2] // heads
        keys, width = key[1], value[2] // kv_heads
    keys += past[2] if past else 0
    scores = batch * heads * length * keys
    masked = scores if optional_input(node, 3) is not None else 0
    return Work(scores * (size + width), scores * SOFTMAX + scores + masked)


def linear_attention(node: ir.Node) -> Work:
    """Per token and head: one outer product into the state (d_k, d_v), and one read of it.

    The delta rules read the state once more. Q, K, V are (batch, length, heads * size).
    """
    query, value = input_shape(node, 0), input_shape(node, 2)
    heads = node.attributes.get_int("q_num_heads", 1)
    kv_heads = node.attributes.get_int("kv_num_heads", 1)
    state = (query[2] // heads) * (value[2] // kv_heads)
    rule = node.attributes.get_string("update_rule", "gated_delta")
    tokens = query[0] * query[1]
    reads = kv_heads if "delta" in rule else 0
    decay = state * kv_heads if "gated" in rule else 0
    return Work(tokens * state * (kv_heads + heads + reads), tokens * decay)


def pool(node: ir.Node) -> Work:
    """One operation per tap of the window, and a division where the result is a mean."""
    attribute = node.attributes.get("kernel_shape")
    taps = math.prod(attribute.as_ints()) if attribute is not None else 1
    return Work(ops=_written(node) * (taps + (DIVISION if "Average" in node.op_type else 0)))


def lrn(node: ir.Node) -> Work:
    """A sum of squares over ``size`` channels, a power and a division."""
    window = 2 * node.attributes.get_int("size", 1)
    return Work(ops=_written(node) * (window + TRANSCENDENTAL + DIVISION))


def top_k(node: ir.Node) -> Work:
    """A heap of k over each row: n log2(k) comparisons."""
    axis = node.attributes.get_int("axis", -1)
    shape = shape_of(outputs_of(node)[0])
    kept = shape[axis] if shape else 1
    return Work(ops=_size(node) * max(1, math.ceil(math.log2(max(2, kept)))))


def sort(node: ir.Node) -> Work:
    """A sort of all elements: n log2(n) comparisons."""
    return Work(ops=_size(node) * max(1, math.ceil(math.log2(max(2, _size(node))))))


def resize(node: ir.Node) -> Work:
    """Two operations per tap: 2 taps (linear) or 4 (cubic) along each axis that is scaled."""
    taps = {"linear": 2, "cubic": 4}.get(node.attributes.get_string("mode", "nearest"), 0)
    before, after = input_shape(node, 0), shape_of(node.outputs[0])
    scaled = sum(old != new for old, new in zip(before, after, strict=False))
    return Work(ops=2 * taps**scaled * _written(node) if taps and scaled else 0)


def grid_sample(node: ir.Node) -> Work:
    """Two operations per tap: 2 taps (linear) or 4 (cubic) along each axis of space."""
    axes = len(input_shape(node, 0)) - 2
    mode = node.attributes.get_string("mode", "linear")
    taps = {"nearest": 0, "cubic": 4, "bicubic": 4}.get(mode, 2)
    return Work(ops=_written(node) * (2 * taps**axes if taps else 0))


def roi_align(node: ir.Node) -> Work:
    """8 operations for each interpolated sample; where ``sampling_ratio`` is adaptive, 2 x 2."""
    ratio = node.attributes.get_int("sampling_ratio", 0) or 2
    return Work(ops=_written(node) * ratio * ratio * 8)


def _constant(node: ir.Node, index: int) -> int | None:
    """Return the value of a scalar input; None where it is left out or not constant."""
    value = optional_input(node, index)
    tensor = None if value is None else value.const_value
    return None if tensor is None else int(tensor.numpy().reshape(-1)[0])


def _fast_fourier(count: int, length: int) -> int:
    """Return the operations of transforms of length n: 5 n log2(n) each, as FFTs are rated."""
    return math.ceil(5 * count * length * math.log2(max(2, length)))


def dft(node: ir.Node) -> Work:
    """One transform along the axis for each of the other dimensions; the last is re and im."""
    shape = input_shape(node, 0)
    axis = _constant(node, 2)
    if axis is None:  # before opset 20 it is an attribute
        axis = node.attributes.get_int("axis", -2)
    others = math.prod(shape[:-1]) // shape[axis] if shape[axis] else 0
    return Work(ops=_fast_fourier(others, _constant(node, 1) or shape[axis]))


def stft(node: ir.Node) -> Work:
    """One windowed transform per frame; the output is (batch, frames, bins, 2)."""
    batch, frames, bins, _ = shape_of(node.outputs[0])
    window = input_shape(node, 2)
    length = window[0] if window else _constant(node, 3) or 2 * (bins - 1)
    windowed = batch * frames * length if window else 0
    return Work(ops=_fast_fourier(batch * frames, length) + windowed)


def determinant(node: ir.Node) -> Work:
    """LU factorization: n^3 / 3 MACs for each matrix."""
    shape = input_shape(node, 0)
    return Work(macs=math.prod(shape[:-2]) * (shape[-1] ** 3 // 3))
