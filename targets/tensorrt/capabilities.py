"""What an NVIDIA GPU of each compute capability computes in, and what TensorRT builds for it.

Measured with the builder of TensorRT-RTX 1.7.1 on networks of one operator each; a test holds the
tables against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from ...errors import Problem
from ...lowering.matching import is_op, shape_of
from ...profiles.gpu_schema import number
from ...profiles.schema import Profile
from ..base import Plan, Precision
from .run.header import BITS

RTX: Final = "tensorrt-rtx"

#: The architecture of each compute capability.
ARCHITECTURES: Final = {
    "7.5": "Turing",
    "8.0": "Ampere",
    "8.6": "Ampere",
    "8.7": "Ampere",
    "8.9": "Ada",
    "9.0": "Hopper",
    "10.0": "Blackwell",
    "10.3": "Blackwell",
    "11.0": "Blackwell",
    "12.0": "Blackwell",
    "12.1": "Blackwell",
}


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What a precision is in a network, and what a GPU needs for it.

    Attributes:
        scheme: what the network is converted to (see `scheme`); None: its own numbers.
        since: the least compute capability that has it.
        instead: the precision to take where it is not there.
        peak: the dtype whose peak a profile must have; empty: it is computed wherever `since` is
            met, if only by converting.
    """

    scheme: str | None
    since: str
    instead: Precision
    peak: str = ""


#: Every precision that TensorRT has, the preferred first.
PRECISIONS: Final[dict[Precision, Numbers]] = {
    "fp32": Numbers(None, "7.5", "fp16"),
    "tf32": Numbers(None, "8.0", "fp16", "tfloat32"),
    "fp16": Numbers("fp16", "7.5", "fp32"),
    "bf16": Numbers("bf16", "8.0", "fp16"),
    "int8": Numbers("tensorrt-fp16", "7.5", "fp16"),
    "fp8": Numbers("fp8", "8.9", "int8"),
    "int4": Numbers("weights-int4-fp16", "8.0", "int8"),
}

#: Those tried where it is left open. The others lose accuracy for no speed that these have not, or
#: are for what is known to need them: networks whose numbers overflow, or that are all weights.
OPEN: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8")

#: The dtypes of a network's tensors that not all GPUs have -> the least compute capability.
_SINCE: Final = {
    ir.DataType.BFLOAT16: "8.0",
    ir.DataType.INT4: "8.0",
    ir.DataType.FLOAT8E4M3FN: "8.9",
}

#: What TensorRT-RTX computes by matrix products, which it has in float32 from 8.0 on only.
_PRODUCTS: Final = ("Attention", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN")

#: Of the convolutions those over volumes (rank 5).
_CONVOLUTIONS: Final = ("Conv", "ConvTranspose")

_NO_PRODUCTS: Final = "7.5"


def scheme(precision: str, runtime: str = "tensorrt") -> str | None:
    """Return the quantization scheme of one of `PRECISIONS`; None: the model's own numbers."""
    if (precision, runtime) == ("int8", RTX):
        return "tensorrt-rtx"
    return next(item.scheme for name, item in PRECISIONS.items() if name == precision)


def precisions(profile: Profile, runtime: str) -> tuple[Precision, ...]:
    """Return what a runtime of TensorRT can build for a GPU in, the preferred first."""
    return tuple(name for name in PRECISIONS if not refusals(profile, runtime, name))


def offered(profile: Profile, runtime: str, asked: Precision) -> tuple[Precision, ...]:
    """Return the precisions to plan with, where one is asked for or it is left open."""
    wanted = OPEN if asked == "auto" else (asked,)
    return tuple(name for name in precisions(profile, runtime) if name in wanted)


def refusals(profile: Profile, runtime: str, precision: Precision) -> list[Problem]:
    """Return every reason why nothing can be built for a device in a precision; often none.

    Each names the device, its compute capability and the precision, and says what to do.
    """
    if profile.gpu is None:
        return []
    capabilities = profile.gpu.capabilities
    if runtime == RTX and (wrong := [item for item in capabilities if item not in BITS]):
        return [_not_built(profile, capability) for capability in wrong]
    numbers = PRECISIONS.get(precision)
    if numbers is None:
        if precision == "auto":
            return []
        fix = "take --precision int8, with --calibration"
        return [Problem(runtime, f"has no {precision}: its scales are in the network", fix)]
    found = [
        Problem(
            f"{profile.name}, compute capability {_named(capability)}",
            f"has no {precision}: that is there from {_named(numbers.since)} on",
            f"take --precision {numbers.instead}, or a device that has it",
        )
        for capability in capabilities
        if number(capability) < number(numbers.since)
    ]
    if not found and numbers.peak and numbers.peak not in profile.compute:
        fix = f"take --precision {numbers.instead}"
        found = [Problem(profile.name, f"its profile has no peak in {numbers.peak}", fix)]
    return found


def problems(model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
    """Return every node of the lowered `model` that a GPU of the device has no kernel for.

    That is known from capabilities and dtypes alone, before anything is built.
    """
    capabilities = profile.gpu.capabilities if profile.gpu is not None else ()
    found = [problem for item in capabilities for problem in _without_dtype(model, profile, item)]
    if plan.runtime == RTX and _NO_PRODUCTS in capabilities:
        found += _products_in_float32(model, profile)
    return found


def _not_built(profile: Profile, capability: str) -> Problem:
    others = [item.name for item in profile.runtimes if item.name != RTX]
    instead = f"take --runtime {' or '.join(others)}" if others else "take another device"
    return Problem(
        f"{profile.name}, compute capability {_named(capability)}",
        f"TensorRT-RTX does not build for it, but for {', '.join(BITS)}",
        instead,
    )


def _without_dtype(model: ir.Model, profile: Profile, capability: str) -> Iterator[Problem]:
    lacking = {dtype for dtype, since in _SINCE.items() if number(capability) < number(since)}
    for node in model.graph:
        values = (*node.inputs, *node.outputs)
        dtypes = dict.fromkeys(value.dtype for value in values if value is not None)
        for dtype in dtypes:
            if dtype in lacking:
                yield Problem(
                    f"node {node.name!r}",
                    f"{node.op_type}: {profile.name} has no {dtype.name}: it is of compute "
                    f"capability {_named(capability)}, not {_named(_SINCE[dtype])} or later",
                    "take another --precision, or a device that has it",
                )


def _products_in_float32(model: ir.Model, profile: Profile) -> Iterator[Problem]:
    for node in model.graph:
        value = node.inputs[0] if node.inputs else None
        if value is None or value.dtype != ir.DataType.FLOAT:
            continue
        if is_op(node, *_PRODUCTS) and (node.op_type != "Einsum" or len(node.inputs) > 1):
            what = "matrix products"
        elif is_op(node, *_CONVOLUTIONS) and len(shape_of(value) or ()) == 5:
            what = "convolutions of volumes"
        else:
            continue
        yield Problem(
            f"node {node.name!r}",
            f"{node.op_type}: TensorRT-RTX has no {what} in float32 for compute capability "
            f"{_named(_NO_PRODUCTS)}, which {profile.name} is of",
            "take --precision fp16 or int8",
        )


def _named(capability: str) -> str:
    architecture = ARCHITECTURES.get(capability)
    return f"{capability} ({architecture})" if architecture else capability
