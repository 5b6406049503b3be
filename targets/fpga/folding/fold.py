"""How far to unroll each layer: the shortest interval that fits, or the least area that is in time.

Every layer has foldings, each with an exact period and a cost. A design's interval is the longest
period; its latency follows from all of them (`flow`). What stands between the layers follows from
the foldings as well: so a design is made for what was found, and if it takes more than the search
had reckoned with, the search starts anew with what it has learnt.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from ....errors import BudgetError, Problem, UsageError
from ..elaboration.elaborate import connect, elaborate, fifo_of
from ..elaboration.inventory import cost_of
from ..engines import engine
from ..engines.names import inputs_of
from ..hardware.design import Design, Folding, Stage
from ..network.graph import Network
from ..timing.trace import trace
from .choices import choices
from .device import Device
from .flow import Flow
from .frontier import Frontier, frontier
from .search import shortest, smallest
from .space import Point, Space

#: Times that a search starts anew before it is given up.
_ROUNDS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Folded:
    """A design that fits.

    Attributes:
        point: its foldings; interval, latency and cost are the design's own.
        search: what it was found by.
    """

    point: Point
    design: Design
    search: _Search

    @functools.cached_property
    def frontier(self) -> Frontier:
        """The other ways to fold the network."""
        return self.search.frontier([self.point])


def fold(network: Network, device: Device, latency: int | None = None) -> Folded:
    """Return a design that fits a device.

    Args:
        latency: cycles in which one frame must be through: the least area is sought that keeps to
            it. None: the shortest interval is.

    Raises:
        BudgetError: none fits; the problems are the nearest foldings, and what each lacks.
    """
    search = _Search(network, device, latency)
    for _ in range(_ROUNDS):
        point = search.found()
        if point is None:
            break
        exact, design = designed(network, point.foldings, device)
        if search.accepts(exact):
            return Folded(exact, design, search)
        search.learn(point, exact)
    raise search.refusal()


@dataclasses.dataclass(frozen=True, eq=False)
class Sketch:
    """What `fold` would make a design of, before there is one.

    Attributes:
        point: its interval is exact; latency and cost are estimated, the latter for FIFOs' depths.
        frontier: the other ways to fold the network.
    """

    point: Point
    frontier: Frontier


def sketch(network: Network, device: Device, latency: int | None = None) -> Sketch:
    """Return what `fold` would try first; it takes a fraction of a second.

    Raises:
        BudgetError: as `fold` does.
    """
    search = _Search(network, device, latency)
    point = search.found()
    if point is None:
        raise search.refusal()
    return Sketch(point, search.frontier([point]))


class _Search:
    """What is known so far of what fits.

    `beside` is what stands beside the engines, `asked` the latency by the estimate: both are learnt
    from what was found and did not fit.
    """

    def __init__(self, network: Network, device: Device, latency: int | None) -> None:
        self._network, self._device, self._latency = network, device, latency
        self._offered = [
            choices(layer, network, device.memory, device.limit.multipliers)
            for layer in network.layers
        ]
        self._beside, self._asked = device.wrapper, latency

    def found(self) -> Point | None:
        """Return the best point for which also what is estimated to stand beside it fits."""
        for _ in range(_ROUNDS):
            space, asked = self._space(), self._asked
            point = shortest(space) if asked is None else smallest(space, asked)
            if point is None:
                break
            whole = _sketched(self._network, point, self._device)
            if self.accepts(whole):
                return whole
            self.learn(point, whole)
        return None

    def accepts(self, point: Point) -> bool:
        """Whether a point fits, and is in time."""
        in_time = self._latency is None or point.latency <= self._latency
        return in_time and self._device.limit.covers(point.cost)

    def learn(self, point: Point, whole: Point) -> None:
        """Reckon with what a point has turned out to be, from now on."""
        if self._asked is not None and self._latency is not None:
            self._asked -= max(0, whole.latency - self._latency)
        engines = point.cost - self._beside
        self._beside = self._beside.joined(whole.cost - engines)

    def _space(self) -> Space:
        return Space(self._network, self._offered, self._device.limit, self._beside)

    def frontier(self, found: Sequence[Point] = ()) -> Frontier:
        """Return the other points, and those that were found."""
        return frontier(self._space(), self._device, self._latency, found)

    def refusal(self) -> BudgetError:
        """Return the error that says what each point lacks."""
        return BudgetError(
            "no folding of the network's layers fits the device", self.frontier().problems()
        )


def _sketched(network: Network, point: Point, device: Device) -> Point:
    """Return a point with the cost of its whole design, whose FIFOs' depths are estimated."""
    waiting = Flow(network).waiting(_periods(network, point.foldings), point.interval)
    layers = {layer.name: layer for layer in network.layers}
    pixels = {
        inputs_of(layers[name], network)[number]: (count, layers[name].inputs[number])
        for (name, number), count in waiting.items()
    }
    design = connect(network, point.foldings, device.memory, dict.fromkeys(pixels, 1))
    if pixels:
        widths = {stage.name: int(stage.parameters["WIDTH"]) for stage in _fifos(design)}
        depths = {
            name: -(-count * network.tensor(read).channels * 8 // widths[fifo_of(name)])
            for name, (count, read) in pixels.items()
        }
        design = connect(network, point.foldings, device.memory, depths)
    return dataclasses.replace(point, cost=cost_of(design) + device.wrapper)


def _fifos(design: Design) -> list[Stage]:
    return [stage for stage in design.stages if stage.module == "fifo"]


def _periods(network: Network, foldings: Mapping[str, Folding]) -> np.ndarray:
    return np.array(
        [
            engine(layer, network).period(layer, foldings[layer.name], network)
            for layer in network.layers
        ]
    )


def designed(
    network: Network, foldings: Mapping[str, Folding], device: Device
) -> tuple[Point, Design]:
    """Return the design of a folding, and what it is worth: exactly, but for tables and registers.

    Args:
        foldings: of every layer, by its name.
    """
    design = elaborate(network, foldings, device.memory)
    (interval, latency), cost = _cycles(design), cost_of(design) + device.wrapper
    return Point(foldings, interval, latency, cost, is_designed=True), design


@functools.lru_cache(maxsize=4)
def _cycles(design: Design) -> tuple[int, int]:
    """Return the interval and the latency of a design; those of the last few are kept."""
    times = trace(design)
    return times.interval(), times.latency()


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
