"""What an engine will need on the device, before there is one: every figure is an estimate."""

from __future__ import annotations

import dataclasses
from typing import Final

import onnx_ir as ir

from ....lowering.analysis import report
from ....lowering.analysis.program import Sharing
from ....lowering.analysis.tensors import bytes_of
from ....lowering.dynamic.generalize import dynamic_of
from ....profiles.gpu_schema import number
from ...memo import per_model

#: Which tensors share memory: a chain of elementwise operators is one kernel, and the caller holds
#: inputs and outputs.
SHARING: Final = Sharing(fusion="elementwise", interface="apart")

#: Bytes that the builder may give to one layer while it runs: on Hopper and later what cuBLAS takes
#: unasked, elsewhere the least that NVIDIA suggests for a build.
_WORKSPACE: Final = 16 << 20
_WORKSPACE_HOPPER: Final = 32 << 20


@dataclasses.dataclass(frozen=True)
class Needed:
    """Bytes of the weights, of what lies between the layers, and of inputs and outputs."""

    weights: int
    activations: int
    interface: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.activations + self.interface


@per_model
def needed(model: ir.Model) -> tuple[Needed, ...]:
    """Return what a lowered model needs in each optimization profile, at its largest shapes.

    Its activations lie in a static plan.
    """
    found = dynamic_of(model)
    return tuple(map(_needed, (model,) if found is None else found.largest))


def _needed(model: ir.Model) -> Needed:
    found = report.explain_memory(model, None, SHARING, levers=())
    interface = sum(map(bytes_of, (*model.graph.inputs, *model.graph.outputs)))
    return Needed(found.weights, found.arena - interface, interface)


def workspace(capability: str) -> int:
    """Return the bytes that the builder may give to one layer."""
    return _WORKSPACE_HOPPER if number(capability) >= (9, 0) else _WORKSPACE
