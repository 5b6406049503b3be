"""Networks in float as the target for Ethos-U takes them: quantized on few samples, lowered."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tapeout.lowering.importers.onnx import load
from tapeout.lowering.passes.integer_borders import IntegerBorders
from tapeout.lowering.pipeline import Pipeline
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.profiles import catalog
from tapeout.targets.base import Plan
from tapeout.targets.tflite.ethos_u.target import EthosUTarget

import support

TARGET = EthosUTarget()
DEVICES = ("ethos-u55-128", "ethos-u65-256")
PROFILE = catalog.load(DEVICES[0])


def plan_for(strategy: str = "performance") -> Plan:
    """Return the plan of a strategy, with integers in and out."""
    plans = TARGET.plans(PROFILE, "int8")
    chosen = next(plan for plan in plans if dict(plan.options)["optimise"] == strategy)
    return TARGET.with_io(PROFILE, chosen, "auto")


def lowered(model: ir.Model, samples: Sequence[dict[str, np.ndarray]]) -> ir.Model:
    """Return a model in float as `build` takes it, with integers in and out."""
    found = conversion(model, SCHEMES["tflite"], samples).converted({})
    pipeline = Pipeline((IntegerBorders(),)) + TARGET.pipeline(PROFILE, plan_for())
    return pipeline.run(found.clone())


@functools.cache
def real(name: str) -> ir.Model:
    """Return one of the real models, quantized on one real sample."""
    model = load(support.MODELS / f"{name}.onnx")
    (entry,) = model.graph.inputs
    return lowered(model, [{str(entry.name): item[None]} for item in support.real_inputs(name, 1)])


def with_activation(operator: str) -> ir.Model:
    """Return a network of two convolutions with an operator between them."""
    weights = np.random.default_rng(0).normal(size=(4, 4, 3, 3)).astype(np.float32) / 4
    model = support.from_text(
        f"""network (float[1,4,8,8] x, float[4,4,3,3] w) => (float[1,4,8,8] y) {{
            a = Conv<pads = [1, 1, 1, 1]> (x, w)
            b = {operator} (a)
            y = Conv<pads = [1, 1, 1, 1]> (b, w)
        }}""",
        w=weights,
    )
    return lowered(model, [support.random_feeds(model)])
