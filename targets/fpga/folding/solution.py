"""What a network becomes on a device: products in a row by one engine, or each by its own."""

from __future__ import annotations

import dataclasses

from ....errors import BudgetError, Problem
from ..elaboration import system
from ..hardware.design import Design
from ..hardware.resources import Cost
from ..network.chains import chained
from ..network.graph import Network
from .device import Device
from .fold import Folded, designed, fold, foldings_of, text_of
from .space import Point


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A design that fits, and the network that it computes.

    Attributes:
        point: what it is worth.
    """

    network: Network
    point: Point
    design: Design

    @property
    def text(self) -> str:
        """Its foldings as one word, for `designed_as`."""
        return text_of(self.network, self.point.foldings)


def solve(network: Network, device: Device, latency: int | None = None) -> Solution:
    """Return the best design that fits a device together with the system around it.

    What that takes follows from the streams at the design's ends: room is left for the largest
    seen, until there is enough.

    Args:
        latency: cycles in which one frame must be through: of what keeps to it, the least is
            taken. None: what takes one frame through the soonest.

    Raises:
        BudgetError: none fits; the problems are the nearest foldings, and what each lacks.
    """
    around = device.wrapper
    while True:
        found = _solved(network, dataclasses.replace(device, wrapper=around), latency)
        taken = system.cost(found.design, device.memory)
        if around.covers(taken):
            return found
        around = around.joined(taken)


def _solved(network: Network, device: Device, latency: int | None) -> Solution:
    found: list[tuple[Network, Folded]] = []
    refused: list[BudgetError] = []
    for variant in dict.fromkeys((chained(network), network)):
        try:
            found.append((variant, fold(variant, device, latency)))
        except BudgetError as error:
            refused.append(error)
    if not found:
        problems: list[Problem] = [item for error in refused for item in error.problems]
        raise BudgetError(refused[0].summary, problems)

    def worth(item: tuple[Network, Folded]) -> tuple[float, ...]:
        point = item[1].point
        speed = (float(point.latency), float(point.interval))
        return speed if latency is None else (_share(point.cost, device.limit), *speed)

    best, folded = min(found, key=worth)
    return Solution(best, folded.point, folded.design)


def _share(cost: Cost, limit: Cost) -> float:
    """Return the sum of the shares that a design takes of what there is."""
    pairs = zip(dataclasses.astuple(cost), dataclasses.astuple(limit), strict=True)
    return float(sum(used / there for used, there in pairs if there))


def designed_as(network: Network, text: str, device: Device) -> Solution:
    """Return the design whose foldings `Solution.text` gave.

    Raises:
        UsageError: the text is not a folding of this network.
    """
    whole = chained(network)
    variant = whole if len(text.split(",")) == len(whole.layers) else network
    point, design = designed(variant, foldings_of(variant, text), device)
    return Solution(variant, point, design)
