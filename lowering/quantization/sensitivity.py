"""What each linear node costs in accuracy, when it alone is quantized."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ..passes.quantize import Quantize
from ..reference import Arrays, Reference
from .placement import place
from .recipe import Recipe
from .sqnr import decibels, energy


def sensitivity(
    model: ir.Model,
    recipe: Recipe,
    batches: Sequence[Mapping[str, np.ndarray]],
    samples: int = 8,
) -> dict[str, float]:
    """Return, for each quantized linear node, the SQNR at the outputs when only it is quantized.

    Only it: its weights, its bias and the values it reads are rounded as the recipe says, all other
    nodes compute in float. The SQNR is 10 log10(sum r^2 / sum (r - q)^2) in dB, over every element
    of every floating-point output r of the float model and q of the other, for all samples; it is
    infinite where nothing changes. The less, the more the node costs.

    It takes (nodes + 1) x samples runs of the model, and memory for one model and the float
    outputs.

    Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 3.7
    (debugging: quantize one layer at a time).

    Args:
        model: the canonical, channels-first model in float; not changed.
        recipe: made for it.
        batches: inputs by name, of the model's static shapes.
        samples: how many batches to take at most; they are spread evenly over all.

    Returns:
        Node name -> dB, in graph order.

    Raises:
        ValueError: there are no batches, or `samples` is not positive.
        TapeoutError: the recipe is not one for this model.
    """
    if not batches or samples < 1:
        raise ValueError(f"{len(batches)} batches, {samples} samples: at least one is needed")
    count = min(samples, len(batches))
    chosen = [batches[index * len(batches) // count] for index in range(count)]
    placement = place(model, recipe.scheme, recipe.kept)
    reference = Reference(model)
    expected = [reference.run(batch) for batch in chosen]
    found = {}
    for name in placement.nodes:
        alone = {other: "not under test" for other in placement.integer if other != name}
        changed = dataclasses.replace(recipe, kept={**recipe.kept, **alone})
        session = Reference(Quantize(changed)(model.clone()).model)
        outputs = (session.run(batch) for batch in chosen)
        found[name] = _ratio([*zip(expected, outputs, strict=True)])
    return found


def _ratio(pairs: Sequence[tuple[Arrays, Arrays]]) -> float:
    signal = noise = 0.0
    for wanted, actual in pairs:
        for name, array in wanted.items():
            if array.dtype.kind == "f":
                signal += energy(array)
                noise += energy(array.astype(np.float64) - actual[name])
    return decibels(signal, noise)
