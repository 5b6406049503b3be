"""What each node costs in accuracy, when its numbers alone are shortened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ..reference import Reference
from .sqnr import of_outputs


def sensitivity(
    model: ir.Model,
    nodes: Sequence[str],
    alone: Callable[[str], ir.Model],
    batches: Sequence[Mapping[str, np.ndarray]],
    samples: int = 8,
) -> dict[str, float]:
    """Return, for each node, the SQNR at the outputs when only its numbers are shortened.

    The SQNR is 10 log10(sum r^2 / sum (r - q)^2) in dB, over every element of every floating-point
    output r of the float model and q of the other, for all samples; it is infinite where nothing
    changes. The less, the more the node costs.

    It takes (nodes + 1) x samples runs of the model, and memory for one model and the float
    outputs.

    Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 3.7
    (debugging: quantize one layer at a time).

    Args:
        model: in float; not changed.
        nodes: names.
        alone: gives the model in which one node is shortened, by its name.
        batches: inputs by name, of the model's static shapes.
        samples: how many batches to take at most; they are spread evenly over all.

    Returns:
        Node name -> dB, in the order of `nodes`.

    Raises:
        ValueError: there are no batches, or `samples` is not positive.
    """
    if not batches or samples < 1:
        raise ValueError(f"{len(batches)} batches, {samples} samples: at least one is needed")
    count = min(samples, len(batches))
    chosen = [batches[index * len(batches) // count] for index in range(count)]
    reference = Reference(model)
    expected = [reference.run(batch) for batch in chosen]
    found = {}
    for name in nodes:
        session = Reference(alone(name))
        outputs = (session.run(batch) for batch in chosen)
        found[name] = of_outputs(zip(expected, outputs, strict=True))
    return found
