"""The constants that say what integers stand for: scale x (integer - zero)."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from .matching import array_of, shape_of


@dataclasses.dataclass(frozen=True, eq=False)
class Scales:
    """The scales and zero points of a QuantizeLinear or DequantizeLinear, as they are stored.

    Attributes:
        scale: one number; or a vector along `axis`; or, where there are blocks along `axis`, an
            array of the rank of the integers.
        zero: integers of the scale's size, or one; None for 0.
        axis: counted from the front; None for one scale, and for integers that have no axis.
        block: how many integers along `axis` have one scale in common; 0 where it is no blocks.
    """

    scale: np.ndarray
    zero: np.ndarray | None
    axis: int | None
    block: int

    @property
    def is_single(self) -> bool:
        """Whether one number is the scale, and one the zero point, of all integers."""
        return (
            self.block == 0 and self.scale.size == 1 and (self.zero is None or self.zero.size == 1)
        )


def scales_of(node: ir.Node) -> Scales | None:
    """Return what such a node says by constants; None if it computes a part of it."""
    scale, *rest = map(array_of, node.inputs[1:])
    zero = rest[0] if rest else None
    if scale is None or (zero is None and any(node.inputs[2:])):
        return None
    found = Scales(scale, zero, None, node.attributes.get_int("block_size", 0))
    rank = len(shape_of(node.inputs[0]) or ())
    if found.is_single or rank == 0:
        return found
    return dataclasses.replace(found, axis=node.attributes.get_int("axis", 1) % rank)
