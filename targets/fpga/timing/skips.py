"""How deep the FIFOs before layers with several inputs have to be.

What goes around a layer waits in a FIFO until the layer's result comes. Two depths matter, and both
follow from `trace`, because what a stream carries never depends on the time at which it does:

- *enough not to slow down*: the most beats that ever wait while frames come no faster than the
  slowest engine takes them, evenly. Sent faster, no beat comes later than so: engines only wait for
  beats and places, and never for time. So the design keeps that pace with FIFOs of this depth.
- *the bound*: with one beat less, a FIFO is full before what its reader waits for can have come
  out of the layer that the FIFO goes around; then all stops, for ever and at any speed.
"""

from __future__ import annotations

import dataclasses

from ....errors import ModelError, Problem
from ..hardware.design import Design, Stage
from .trace import FRAMES, trace


def depths(design: Design, interval: int) -> dict[str, int]:
    """Return for each FIFO of a design the depth that does not slow it down; 0: none is needed.

    Args:
        design: the depths of its FIFOs do not matter.
        interval: cycles from one frame to the next of the slowest engine.
    """
    paced = trace(unbounded(design), FRAMES, interval)
    return {
        stage.name: paced.occupancy(stage.name) if paced.waits(stage.name) else 0
        for stage in _fifos(design)
    }


def unbounded(design: Design) -> Design:
    """Return the design with FIFOs that never fill up in the frames that are looked at."""
    return resized(
        design,
        {stage.name: FRAMES * design.streams[stage.inputs[0]].beats for stage in _fifos(design)},
    )


def resized(design: Design, depths: dict[str, int]) -> Design:
    """Return the design with other depths of some FIFOs, by their names.

    The memory that they are made of stays: this is for looking at time.
    """
    stages = tuple(
        dataclasses.replace(stage, parameters={**stage.parameters, "DEPTH": depths[stage.name]})
        if stage.name in depths
        else stage
        for stage in design.stages
    )
    return dataclasses.replace(design, stages=stages)


def bound(design: Design, fifo: str) -> int:
    """Return the least depth of a FIFO with which the design does not stall for ever.

    Args:
        fifo: its name; all others hold as much as they need to.
    """
    loose = unbounded(design)
    low, high = 1, trace(loose, FRAMES).occupancy(fifo)
    while low < high:
        middle = (low + high) // 2
        if trace(resized(loose, {fifo: middle}), FRAMES).is_complete:
            high = middle
        else:
            low = middle + 1
    return low


def check(design: Design) -> None:
    """Raise ModelError if the design stalls for ever: names each FIFO that is too short."""
    if trace(design).is_complete:
        return
    found = [
        (stage, int(stage.parameters["DEPTH"]), bound(design, stage.name))
        for stage in _fifos(design)
    ]
    raise ModelError(
        "the design stalls for ever",
        [
            Problem(stage.layer, f"its FIFO {stage.name} holds {depth} beats", f"{least} or more")
            for stage, depth, least in found
            if depth < least
        ],
    )


def _fifos(design: Design) -> list[Stage]:
    return [stage for stage in design.stages if stage.module == "fifo"]
