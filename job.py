"""What is asked for: one imported model on its way to one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir

from .budget import Budget
from .bundle import ModelFile, Quantization, Tensor
from .data import Data
from .errors import Problem
from .lowering.dynamic.family import Family
from .lowering.dynamic.ranges import Given
from .lowering.quantized import meaning_of
from .profiles.schema import Profile
from .targets.base import Io, Precision, Progress
from .targets.tuning import Tuning


@dataclasses.dataclass(frozen=True)
class Options:
    """How to compile, the budget apart.

    Attributes:
        runtime: one of the device's runtimes; None lets the planner choose.
        shapes: by input name, a shape, a `ShapeRange`, or one `ShapeRange` for each optimization
            profile; what is said of an input once holds in all profiles.
        calibration: ``FILE.npz[:KEY]`` of inputs, for a precision in fewer bits; the first samples
            become the test vectors.
        evaluation: ``FILE.npz[:KEY]`` of inputs and labels, for the accuracy.
        verify_passes: check the dialect's rules after every pass.
        io: whether real inputs and outputs are int8, with scale and zero point, or float.
        plan: values that options of the plan must have: ``{"delegate": "gpu"}``.
        drop_profiles: leave out the optimization profiles that do not fit into the memory.
        tuning: how kernels are tuned; None: they are not.
    """

    precision: Precision = "auto"
    runtime: str | None = None
    shapes: Mapping[str, Given] = dataclasses.field(default_factory=dict)
    calibration: str | None = None
    evaluation: str | None = None
    verify_passes: bool = False
    io: Io = "auto"
    plan: Mapping[str, str] = dataclasses.field(default_factory=dict)
    drop_profiles: bool = False
    tuning: Tuning | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One imported model on its way to one device.

    Attributes:
        left_out: the optimization profiles that were dropped, and why.
        family: the model at other shapes, where ranges of them are asked for; `model` has those
            that the first profile is tuned for, and so do the data and all estimates.
    """

    file: ModelFile
    model: ir.Model
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profile: Profile
    budget: Budget
    options: Options
    samples: Data | None
    labelled: Data | None
    progress: Progress
    family: Family | None = None
    left_out: tuple[Problem, ...] = ()


def described(value: ir.Value) -> Tensor:
    """Describe an input or output of a model, with what its integers stand for."""
    found = meaning_of(value)
    if found is None or not found.is_narrow:
        return Tensor.of(value)
    meaning = Quantization(scale=(float(found.scale),), zero_point=(int(found.zero),))
    return Tensor.of(value).model_copy(update={"quantization": meaning})
