"""Optimization profiles: what the builder is told of them, and what the engine needs in each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import onnx_ir as ir

from ...budget import Figure, Usage
from ...lowering.analysis.tensors import bytes_of, packed
from ...lowering.dynamic.generalize import dynamic_of
from ...lowering.dynamic.ranges import as_arguments
from .builder import Ranges
from .log import Memory


def network_of(model: ir.Model) -> ir.Model:
    """Return what the builder is given for a lowered model: with the dimensions that vary open."""
    found = dynamic_of(model)
    return model if found is None else found.model


def profiles_of(model: ir.Model) -> tuple[Ranges, ...]:
    """Return the optimization profiles of a lowered model; none where its shapes are static."""
    found = dynamic_of(model)
    if found is None:
        return ()
    return tuple(
        tuple((name, (item.min, item.opt, item.max)) for name, item in profile.items())
        for profile in found.ranges.profiles
    )


def count(model: ir.Model) -> int:
    """Return for how many optimization profiles the builder plans memory: at least one."""
    return max(1, len(profiles_of(model)))


def interfaces(model: ir.Model) -> tuple[int, ...]:
    """Return the bytes of inputs and outputs at the largest shapes of each profile."""
    found = dynamic_of(model)
    if found is None:
        return (sum(map(bytes_of, (*model.graph.inputs, *model.graph.outputs))),)
    return tuple(
        sum(packed(math.prod(shape), dtype.bitwidth) for shape, dtype in found.interface(profile))
        for profile in range(len(found.ranges.profiles))
    )


def at_base(model: ir.Model, figure: Figure) -> Figure:
    """Return a figure of a lowered model with the shapes that it holds at, if others may come."""
    found = dynamic_of(model)
    if found is None:
        return figure
    return dataclasses.replace(figure, note=f"{figure.note}, at {as_arguments(found.ranges.base)}")


def usage(model: ir.Model, memory: Memory, storage: Figure, latency: Figure) -> Usage:
    """Return what an engine costs; one profile runs at a time, so the largest one counts.

    Args:
        model: lowered, static; `latency` is of its shapes.
    """
    found, interface = dynamic_of(model), interfaces(model)
    totals = [memory.needed(index) + size for index, size in enumerate(interface)]
    most = totals.index(max(totals))
    several = f", in profile {most + 1} of {len(totals)}" if len(totals) > 1 else ""
    parts = {
        "weights": memory.weights,
        "activations": memory.activations[most],
        "persistent": memory.persistent[most],
        "inputs and outputs": interface[most],
    }
    note = "on the card, as planned"
    return Usage(
        memory=Figure(totals[most], "B", "exact", note + several),
        storage=storage,
        latency=at_base(model, latency),
        parts=tuple((name, Figure(size, "B", "exact")) for name, size in parts.items()),
        profiles=tuple(
            Figure(total, "B", "exact", as_arguments(profile))
            for total, profile in zip(totals, found.ranges.profiles, strict=True)
        )
        if found is not None and several
        else (),
    )


def tuned(
    model: ir.Model, lower: Callable[[ir.Model], ir.Model]
) -> tuple[tuple[str, ir.Model], ...]:
    """Return each profile's shapes, in words, and the lowered model where the profile is tuned.

    Args:
        model: lowered, static.
        lower: the passes from the model in the plan's numbers to the lowered one.
    """
    found = dynamic_of(model)
    if found is None:
        return (("", model),)
    first, *others = found.ranges.profiles
    usual = [{name: item.opt for name, item in profile.items()} for profile in others]
    models = [model, *(lower(found.source(shapes)) for shapes in usual)]
    return tuple(zip(map(as_arguments, (first, *others)), models, strict=True))
