"""What one layer can be: its foldings, with the exact period and the cost of each."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np

from ..engines import engine
from ..hardware.design import Folding
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import Chain, Conv, Layer, Network
from .packing import undominated

#: Bits of weights up to which products are made of logic: they need no multipliers.
_LOGIC_BITS: Final = 2


@dataclasses.dataclass(frozen=True)
class Choice:
    """One folding of one layer: its period in cycles, and what its stage takes."""

    folding: Folding
    period: int
    cost: Cost


def choices(layer: Layer, network: Network, memory: Memory, multipliers: int) -> tuple[Choice, ...]:
    """Return the foldings of a layer that no other one matches in everything, the slowest first.

    Args:
        memory: block RAM that the stages are made of.
        multipliers: of the device: foldings that need more are left out.
    """
    kind = engine(layer, network)
    is_logic = isinstance(layer, Conv) and layer.bits <= _LOGIC_BITS
    most = math.inf if is_logic else max(1, multipliers)
    found = [
        Choice(
            folding,
            kind.period(layer, folding, network),
            kind.cost(kind.stage(layer, folding, network, memory)),
        )
        for folding in kind.foldings(layer, network)
        if folding.pe * folding.simd <= most
    ]
    found.sort(key=lambda item: (-item.period, item.folding.pe))
    figures = np.array([(item.period, *dataclasses.astuple(item.cost)) for item in found])
    kept = undominated(figures)
    return tuple(item for item, good in zip(found, kept, strict=True) if good)


def lanes_in(layer: Layer, folding: Folding) -> int:
    """Return the elements in a beat of each of a layer's inputs."""
    adds_up = isinstance(layer, Chain) or (isinstance(layer, Conv) and not layer.is_depthwise)
    return folding.simd if adds_up else folding.pe
