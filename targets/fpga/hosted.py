"""A whole network in numpy: the host's steps around the integer reference of the hardware."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem, VerificationError
from ...lowering.analysis.probe import Probe
from ...lowering.matching import shape_of
from ..base import Arrays
from .network import reference
from .network.graph import ArgMax
from .network.importing import Imported
from .run import host

#: Steps, of 255, by which a number of the hardware may differ from ONNX Runtime's. Its factors have
#: 17 bits, so that each layer rounds a few numbers the other way, which later layers add up.
_STEPS: Final = 12


def frames(model: Imported, feeds: Arrays) -> np.ndarray:
    """Return what the hardware is given for samples: int8 [frames, height, width, channels]."""
    given = host.run(model.before, np.asarray(feeds[model.input]))
    return given.reshape(-1, *model.network.input.shape)


def outputs(model: Imported, feeds: Arrays) -> dict[str, np.ndarray]:
    """Return the model's output, as the bundle gives it."""
    given = reference.run(model.network, frames(model, feeds))
    return {model.output: host.run(model.after, given)}


def checked(lowered: ir.Model, model: Imported, feeds: Arrays) -> dict[str, np.ndarray]:
    """Return the model's output by ONNX Runtime's integers, which the hardware's are close to.

    They are compared before the host makes probabilities of them: one step of an integer is a small
    difference, of a probability it may be a large one.

    Raises:
        VerificationError: they differ by more than rounding explains.
    """
    network, last = model.network, model.network.layers[-1]
    name = last.inputs[0] if isinstance(last, ArgMax) else last.output.name
    given = frames(model, feeds)
    found = reference.tensors(network, given)[name]
    wanted = _in_onnx_runtime(lowered, model, feeds, name).reshape(found.shape)
    steps = np.abs(found.astype(np.int64) - wanted)
    if steps.max(initial=0) > _STEPS:
        where = [int(item) for item in np.unravel_index(steps.argmax(), steps.shape)]
        what = f"differs by {steps.max()} steps at {where}: {found[*where]} for {wanted[*where]}"
        raise VerificationError(
            "the hardware's integers are not the reference's", [Problem(f"value {name!r}", what)]
        )
    if isinstance(last, ArgMax):
        wanted = reference.compute(last, wanted.astype(np.int8))
    return {model.output: host.run(model.after, wanted)}


def _in_onnx_runtime(lowered: ir.Model, model: Imported, feeds: Arrays, name: str) -> np.ndarray:
    """Return a value of the lowered model for each of its batches, one after the other."""
    probe, (entry,) = Probe(lowered, [name]), lowered.graph.inputs
    data, shape = np.asarray(feeds[model.input]), shape_of(entry)
    size = shape[0] if shape else len(data)
    parts = [
        probe.run({str(entry.name): data[start : start + size]})[name]
        for start in range(0, len(data), size)
    ]
    return np.concatenate(parts)
