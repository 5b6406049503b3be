"""What a whole design takes: its engines, and what stands between them."""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable, Mapping

from ..engines import costs
from ..hardware.design import Design, Stage
from ..hardware.resources import Cost


def cost_of(design: Design) -> Cost:
    """Return what all stages take."""
    return functools.reduce(operator.add, by_layer(design).values())


def by_layer(design: Design) -> dict[str, Cost]:
    """Return what the stages of each layer take, in the order of the flow."""
    found: dict[str, Cost] = {}
    for stage in design.stages:
        found[stage.layer] = found.get(stage.layer, Cost()) + stage_cost(stage)
    return found


def stage_cost(stage: Stage) -> Cost:
    """Return what one stage takes."""
    if stage.module in _BETWEEN:
        return _BETWEEN[stage.module](stage)
    name = _ENGINES.get(stage.module, stage.module)
    engine = importlib.import_module(f"..engines.{name}", __package__)
    found: Cost = engine.cost(stage)
    return found


def _adapt(stage: Stage) -> Cost:
    """A register of the wider side; the narrower one chooses between shifting and loading."""
    bits, lanes_in, lanes_out = (int(stage.parameters[name]) for name in ("BITS", "IN", "OUT"))
    held = bits * max(lanes_in, lanes_out)
    return Cost(luts=12 + (held if lanes_in > lanes_out else 0), flip_flops=held + 5)


def _tee(stage: Stage) -> Cost:
    """A register, and two bits of who has taken it."""
    return Cost(luts=6, flip_flops=int(stage.parameters["WIDTH"]) + 2)


def _fifo(stage: Stage) -> Cost:
    """A memory, counters of what is in it, and registers behind it."""
    width, depth = int(stage.parameters["WIDTH"]), int(stage.parameters["DEPTH"])
    counters = 4 * depth.bit_length()
    if stage.parameters["STYLE"] == "block":
        blocks = costs.ram(width, depth, int(stage.parameters["SLICE_WIDTH"])).blocks
        return Cost(0, blocks, 40 + 2 * counters + 2 * width, 26 + counters + 2 * width)
    return costs.queue(width, depth)


#: Module that stands between layers -> what it takes.
_BETWEEN: Mapping[str, Callable[[Stage], Cost]] = {"adapt": _adapt, "fifo": _fifo, "tee": _tee}

#: Module -> the engine whose file has another name.
_ENGINES: Mapping[str, str] = {"lookup": "table"}
