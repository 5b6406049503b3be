"""How far to unroll each layer: the shortest interval that fits, or the least area that is in time.

Every layer has foldings, each with an exact period and a cost. A design's interval is the longest
period; its latency follows from all of them (`flow`). What stands between the layers follows from
the foldings as well: so a design is made for what was found, and if it takes more than the search
had reckoned with, the search starts anew with what it has learnt.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from ...errors import BudgetError, Problem, UsageError
from .choices import choices
from .design import Design, Folding
from .device import Device
from .elaborate import elaborate
from .engines import engine
from .frontier import Frontier, frontier
from .graph import Network
from .inventory import cost_of
from .search import shortest, smallest
from .space import Point, Space
from .timing import trace

#: Designs that are made before the search is given up.
_ROUNDS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Folded:
    """A design that fits.

    Attributes:
        point: its foldings; interval, latency and cost are the design's own.
        frontier: the other ways to fold the network.
    """

    point: Point
    design: Design
    frontier: Frontier


def fold(network: Network, device: Device, latency: int | None = None) -> Folded:
    """Return a design that fits a device.

    Args:
        latency: cycles in which one frame must be through: the least area is sought that keeps to
            it. None: the shortest interval is.

    Raises:
        BudgetError: none fits; the problems are the nearest foldings, and what each lacks.
    """
    offered = [
        choices(layer, network, device.memory, device.limit.multipliers) for layer in network.layers
    ]
    beside, asked = device.wrapper, latency
    for _ in range(_ROUNDS):
        space = Space(network, offered, device.limit, beside)
        point = shortest(space) if asked is None else smallest(space, asked)
        if point is None:
            break
        exact, design = designed(network, point.foldings, device)
        late = 0 if latency is None else max(0, exact.latency - latency)
        if not late and device.limit.covers(exact.cost):
            return Folded(exact, design, frontier(space, device, latency, [exact]))
        asked = asked and asked - late
        beside = beside.joined(exact.cost - (point.cost - beside))
    space = Space(network, offered, device.limit, beside)
    nearest = frontier(space, device, latency)
    raise BudgetError("no folding of the network's layers fits the device", nearest.problems())


def designed(
    network: Network, foldings: Mapping[str, Folding], device: Device
) -> tuple[Point, Design]:
    """Return the design of a folding, and what it is worth: exactly, but for tables and registers.

    Args:
        foldings: of every layer, by its name.
    """
    design = elaborate(network, foldings, device.memory)
    times, cost = trace(design), cost_of(design) + device.wrapper
    return Point(foldings, times.interval(), times.latency(), cost, is_designed=True), design


def text_of(network: Network, foldings: Mapping[str, Folding]) -> str:
    """Return a folding of every layer as one word: PE x SIMD of each, in order: `4x16,8x1`."""
    taken = [foldings[layer.name] for layer in network.layers]
    return ",".join(f"{folding.pe}x{folding.simd}" for folding in taken)


def foldings_of(network: Network, text: str) -> dict[str, Folding]:
    """Return the folding of every layer, by its name, that `text_of` wrote.

    Raises:
        UsageError: it is not one of this network.
    """
    words = text.split(",")
    pairs = [re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", word) for word in words]
    found = [Folding(int(pair[1]), int(pair[2])) for pair in pairs if pair]
    if len(found) != len(network.layers) or len(words) != len(found):
        raise UsageError(
            f"{text!r} is not a folding of {len(network.layers)} layers; write PExSIMD for each, "
            "with commas between"
        )
    wrong = [
        Problem(layer.name, f"cannot be folded as {folding.pe}x{folding.simd}")
        for layer, folding in zip(network.layers, found, strict=True)
        if folding not in engine(layer, network).foldings(layer, network)
    ]
    if wrong:
        raise UsageError(f"{text!r} is not a folding of this network", wrong)
    return {layer.name: folding for layer, folding in zip(network.layers, found, strict=True)}
