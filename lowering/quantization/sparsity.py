"""Weights of which sparse tensor cores skip half: two of every four consecutive ones are zero.

Consecutive along the axis that is summed: the input channels, for each tap of a convolution.
Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, section 3.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from ..matching import array_of, is_op
from .linear import Linear
from .scheme import LINEAR

#: How many of how many weights are kept.
KEPT: Final = 2
OF: Final = 4

#: Channels come in multiples of these, or the weights are left dense.
#: Source: NVIDIA's ASP, which prunes for sparse tensor cores (apex/contrib/sparsity/asp.py).
_INPUTS: Final = 16
_OUTPUTS: Final = 8


def fours(linear: Linear, matrix: np.ndarray) -> np.ndarray:
    """Return a matrix (columns, outputs) as (fours, 4, taps, outputs)."""
    taps = linear.columns // _inputs(linear)
    return matrix.reshape(-1, OF, taps, matrix.shape[1])


def is_sparse(linear: Linear) -> bool:
    """Whether the weights have the pattern, and so must keep their zeros."""
    if not linear.is_matrix or linear.groups != 1 or _inputs(linear) % OF or not linear.weight.size:
        return False
    [matrix] = linear.matrix(linear.weight)
    return bool(((fours(linear, matrix) != 0).sum(axis=1) <= KEPT).all())


def objections(model: ir.Model) -> dict[str, str | None]:
    """Return, for each node with weights to multiply, why sparse kernels take none; None: they do.

    Args:
        model: canonical, channels-first.
    """
    return {str(node.name): _objection(node) for node in model.graph if is_op(node, *LINEAR)}


def _objection(node: ir.Node) -> str | None:
    weight = array_of(node.inputs[1])
    if node.op_type == "ConvTranspose":
        return "sparse kernels take no ConvTranspose"
    if weight is None:
        return "its weight is computed"
    if weight.dtype != np.float32:
        return f"its weight is {weight.dtype}, not float32"
    linear = Linear.of(node)
    if not linear.is_matrix:
        return f"its weight has {weight.ndim} dimensions, not 2"
    if linear.groups != 1:
        return f"its channels are in {linear.groups} groups"
    for channels, name, multiple in (
        (_inputs(linear), "input", _INPUTS),
        (weight.shape[linear.axis], "output", _OUTPUTS),
    ):
        if not channels or channels % multiple:
            return f"it has {channels} {name} channels, no multiple of {multiple}"
    return "its weights have the pattern already" if is_sparse(linear) else None


def _inputs(linear: Linear) -> int:
    """Return how many channels are summed."""
    return int(linear.weight.shape[1]) if linear.node.op_type == "Conv" else linear.columns
