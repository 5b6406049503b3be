"""All foldings of a network at once, held against one device.

A selection is the index of each layer's choice: int64 [layers]. Area is the sum of the shares of
the device's multipliers, block RAMs, tables and flip-flops.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ....budget import Known
from ..hardware.design import Folding
from ..hardware.resources import NOTHING, Cost
from ..network.graph import Network
from .choices import Choice, lanes_in
from .flow import Flow
from .packing import pack

#: Other choices of one layer that a step of the search tries: those nearest to what it is now.
_NEXT = 4


@dataclasses.dataclass(frozen=True)
class Point:
    """A folding of every layer.

    Attributes:
        foldings: by the layer's name.
        interval: cycles from one frame to the next: exact.
        latency: cycles from the first number in to the last one out.
        cost: of the stages, and of what was reserved beside them.
        is_designed: whether a design was made: then all figures are its own, and the latency is
            exact; otherwise it is estimated.
    """

    foldings: Mapping[str, Folding]
    interval: int
    latency: int
    cost: Cost
    is_designed: bool = False

    @property
    def latency_known(self) -> Known:
        return "exact" if self.is_designed else "estimated"


class Space:
    """The selections of one network, and what they are worth."""

    def __init__(
        self,
        network: Network,
        offered: Sequence[Sequence[Choice]],
        limit: Cost,
        reserved: Cost = NOTHING,
    ) -> None:
        """Take the choices of each layer.

        Args:
            limit: what the device has for the design.
            reserved: what is taken beside the stages: FIFOs, adapters, the board's wrapper.
        """
        self._network, self._offered, self._flow = network, offered, Flow(network)
        self._limit, self._reserved = _row(limit), _row(reserved)
        self._share = 1.0 / np.maximum(self._limit, 1)
        self._periods = [np.array([item.period for item in row]) for row in offered]
        self._costs = [np.array([_row(item.cost) for item in row]) for row in offered]
        self._areas = [costs @ self._share for costs in self._costs]
        self._readers = [
            (index, np.array([lanes_in(layer, item.folding) for item in row]))
            for index, (layer, row) in enumerate(zip(network.layers, offered, strict=True))
            if network.input.name in layer.inputs
        ]

    def intervals(self) -> list[int]:
        """Return every interval that makes a difference, the longest first."""
        quickest = max(int(periods.min()) for periods in self._periods)
        found = {int(period) for periods in self._periods for period in periods}
        return sorted((item for item in found if item >= quickest), reverse=True)

    def least(self, interval: float = math.inf) -> np.ndarray:
        """Return the selection of the least area with this interval, whether it fits or not.

        Args:
            interval: at least the last one of `intervals`.
        """
        within = [
            np.where(periods <= interval, areas, np.inf)
            for periods, areas in zip(self._periods, self._areas, strict=True)
        ]
        return np.array([np.argmin(areas) for areas in within])

    def fitting(self, interval: float = math.inf) -> np.ndarray | None:
        """Return the selection of the least area that fits, with this interval; None: none does."""
        selection = self.least(interval)
        if self._fits(self._totals(selection[None]))[0]:
            return selection
        rows = [np.flatnonzero(periods <= interval) for periods in self._periods]
        costs = [costs[row] for row, costs in zip(rows, self._costs, strict=True)]
        packed = pack(costs, self._limit - self._reserved, self._share)
        if packed is None:
            return None
        return np.array([row[index] for row, index in zip(rows, packed, strict=True)])

    def quickened(self, selection: np.ndarray, latency: int = 0, worth: float = 0.0) -> np.ndarray:
        """Return a selection with a shorter latency, made of what the device has left.

        One layer after another is unrolled further, each time the one that saves the most cycles
        for its area, until the latency is short enough or no step is worth it.

        Args:
            latency: in cycles.
            worth: the share of the latency that a step must save for the share of the area that it
                adds.
        """
        now = int(self.latencies(selection[None])[0])
        while now > latency:
            trials = self._changed(selection, lambda at, old: self._periods[at] < old.period)
            if not len(trials):
                break
            latencies, area = self.latencies(trials), self.areas(selection[None])
            more = np.maximum(self.areas(trials) / area - 1, 1e-6)
            gains = (1 - latencies / now) / more
            best = int(np.argmax(gains))
            if gains[best] <= worth:
                break
            selection, now = trials[best], int(latencies[best])
        return selection

    def trimmed(self, selection: np.ndarray, interval: int, latency: int) -> np.ndarray:
        """Return a selection of less area that keeps to this interval and latency, if there is one.

        One layer after another is exchanged, each time the one that saves the most area.
        """
        while True:
            trials = self._changed(
                selection,
                lambda at, old: (self._areas[at] < old.area) & (self._periods[at] <= interval),
            )
            trials = trials[self.latencies(trials) <= latency] if len(trials) else trials
            if not len(trials):
                return selection
            selection = trials[np.argmin(self.areas(trials))]

    def _changed(
        self, selection: np.ndarray, wanted: Callable[[int, _Figures], np.ndarray]
    ) -> np.ndarray:
        """Return all selections that fit and differ in one layer: int64 [n, layers].

        Args:
            wanted: a layer's index, and what its choice is now -> which choices are tried instead:
                bool [choices].
        """
        found = []
        for at, index in enumerate(selection):
            old = _Figures(int(self._periods[at][index]), float(self._areas[at][index]))
            others = np.flatnonzero(wanted(at, old))[:_NEXT]
            trials = np.repeat(selection[None], len(others), axis=0)
            trials[:, at] = others
            found.append(trials)
        trials = np.concatenate(found)
        return np.compress(self._fits(self._totals(trials)), trials, axis=0)

    def point(self, selection: np.ndarray) -> Point:
        """Return what a selection is, and what it is worth."""
        taken = [row[index] for row, index in zip(self._offered, selection, strict=True)]
        layers = zip(self._network.layers, taken, strict=True)
        foldings = {layer.name: item.folding for layer, item in layers}
        return Point(
            foldings,
            interval=max(*(item.period for item in taken), int(self._beats(selection[None])[0])),
            latency=int(self.latencies(selection[None])[0]),
            cost=Cost(*self._totals(selection[None])[0].tolist()),
        )

    def latencies(self, selections: np.ndarray) -> np.ndarray:
        """Return the latency of each selection, estimated: int64 [selections]."""
        columns = zip(self._periods, selections.T, strict=True)
        periods = np.stack([periods[column] for periods, column in columns], axis=1)
        return self._flow.latencies(periods, self._beats(selections))

    def _beats(self, selections: np.ndarray) -> np.ndarray:
        """Return the beats of one frame of the input: int64 [selections]."""
        lanes = [found[selections[:, at]] for at, found in self._readers]
        return np.asarray(self._network.input.size // np.gcd.reduce(lanes, axis=0))

    def areas(self, selections: np.ndarray) -> np.ndarray:
        """Return the area of each selection: float64 [selections]."""
        return np.asarray(self._totals(selections) @ self._share)

    def _totals(self, selections: np.ndarray) -> np.ndarray:
        """Return what selections take: int64 [selections, resources]."""
        columns = zip(self._costs, selections.T, strict=True)
        taken = [costs[column] for costs, column in columns]
        return np.asarray(np.sum(taken, axis=0) + self._reserved)

    def _fits(self, totals: np.ndarray) -> np.ndarray:
        return np.asarray((totals <= self._limit).all(axis=1))


@dataclasses.dataclass(frozen=True)
class _Figures:
    """What one layer's choice is worth."""

    period: int
    area: float


def _row(cost: Cost) -> np.ndarray:
    return np.array(dataclasses.astuple(cost))
