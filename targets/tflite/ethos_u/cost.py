"""How long a model takes whose operators the NPU and a Cortex-M share: what Vela does not say."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from ....lowering.analysis.memory import liveness
from ....lowering.analysis.program import Sharing
from ....lowering.analysis.program import of as program_of
from ....lowering.analysis.roofline import Machine, Offload, of_liveness
from ....profiles.schema import EthosU


def offload(model: ir.Model, left: Collection[str], npu: EthosU, bandwidth: float) -> Offload:
    """Return what the NPU takes over of a lowered model.

    Args:
        left: the names of the results that the CPU computes.
        bandwidth: of the memory that holds the tensors; nothing is copied.
    """
    machine = Machine({"int8": npu.peak.value}, bandwidth)
    made = (str(value.name) for node in model.graph for value in node.outputs)
    return Offload({name: machine for name in made if name not in left}, 0.0)


def left_seconds(model: ir.Model, cpu: Machine, sharing: Sharing, taken: Offload) -> float:
    """Return how long the CPU computes in one inference: its steps on the roofline."""
    alive = liveness(program_of(model, sharing))
    times = of_liveness(alive, cpu, taken).steps
    return sum(
        time.seconds
        for step, time in zip(alive.steps, times, strict=True)
        if taken.machine(step) is None
    )
