"""One layer as a network of its own: its engine, simulated, against the integer reference."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

import numpy as np

from tapeout.targets.fpga.elaboration.elaborate import lanes_in, lanes_out
from tapeout.targets.fpga.elaboration.verilog import VECTORS
from tapeout.targets.fpga.engines import engine
from tapeout.targets.fpga.hardware import memories
from tapeout.targets.fpga.hardware.design import Folding, Stage
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.graph import Layer, Network, Tensor
from tapeout.targets.fpga.timing.events import Process, Wire, run
from tapeout.targets.fpga.timing.rules import RULES

from rtl import Case, Cycles

#: Modules that pass on `ready` within a cycle.
UNREGISTERED = ("adapt", "argmax", "concat", "lookup", "tee")


FRAMES = 4
EXTREMES = np.array([-128, 127], np.int8)


def frames(random: np.random.Generator, tensor: Tensor) -> np.ndarray:
    """Return frames of any numbers, one in four of them the least or the greatest."""
    shape = (FRAMES, *tensor.shape)
    values = random.integers(-128, 128, shape, dtype=np.int8)
    return np.where(random.random(shape) < 0.25, random.choice(EXTREMES, shape), values)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCase(Case):
    """A case of `FRAMES` frames.

    Attributes:
        period: cycles from one frame to the next, as the engine says.
    """

    period: int = 0


def case_of(
    layer: Layer,
    inputs: Sequence[Tensor],
    folding: Folding,
    data: Sequence[np.ndarray],
    family: str = "ecp5",
) -> LayerCase:
    """Return the case of a layer's engine on frames, int8 [frames, height, width, channels]."""
    network = network_of(layer, inputs)
    maker = engine(layer, network)
    stage = maker.stage(layer, folding, network, memories.MEMORIES[family])
    return LayerCase(
        stage.module,
        stage.parameters,
        [item.reshape(-1, lanes_in(stage)) for item in data],
        [reference.compute(layer, *data).reshape(-1, lanes_out(stage))],
        stage.roms,
        is_registered=stage.module not in UNREGISTERED,
        vectors=stage.module in VECTORS,
        period=maker.period(layer, folding, network),
    )


def network_of(layer: Layer, inputs: Sequence[Tensor]) -> Network:
    """Return a network that ends in a layer; what else the layer reads is given by others."""
    others = tuple(Layer(item.name, (), item) for item in inputs[1:])
    return Network(inputs[0], (*others, layer))


def assert_timed(cases: Sequence[Case], cycles: Sequence[Cycles]) -> None:
    """Assert that beats moved in the cycles that the module's rule and the engine's period say."""
    for case, found in zip(cases, cycles, strict=True):
        expected = expected_cycles(case)
        for which, (wanted, moved) in enumerate(
            zip(expected, (*found.inputs, *found.outputs), strict=True)
        ):
            assert moved.tolist() == wanted, (case.module, case.parameters, which)
        if isinstance(case, LayerCase):
            (moved,) = found.outputs
            beats = len(moved) // FRAMES
            assert moved[-1] - moved[-1 - beats] == case.period, (case.module, case.parameters)


def expected_cycles(case: Case) -> list[list[int]]:
    """Return the edges at which the beats of each stream move, inputs first, if nothing stalls."""
    queue: deque[Process] = deque()
    wires = [Wire(queue) for _ in (*case.inputs, *case.expected)]
    inputs, outputs = wires[: len(case.inputs)], wires[len(case.inputs) :]
    stage = Stage("case", case.module, case.parameters, (), (), "", case.roms)
    queue.extend(RULES[case.module](stage, inputs, outputs))
    for wire, data in zip(inputs, case.inputs, strict=True):
        for _ in range(len(data)):
            wire.offer(0)
    for wire, data in zip(outputs, case.expected, strict=True):
        for _ in range(len(data)):
            wire.ready(0)
    run(queue)
    return [wire.moves for wire in wires]
