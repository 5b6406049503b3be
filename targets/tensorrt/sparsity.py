"""Plans with 2:4 sparse weights, for GPUs whose tensor cores skip the zeros.

Whether that makes a network faster shows on the device alone. TensorRT takes a sparse kernel where
it measures that it is faster than the dense one; TensorRT-RTX 1.7.1 chooses kernels when the engine
is loaded, and writes the same bytes whether it may take sparse ones or not (a test holds that). So
no estimate counts on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from ...budget import Figure
from ...profiles.schema import Profile
from ..base import Plan

#: The patterns that a plan's option ``sparsity`` may have, the preferred first.
_PATTERNS: Final = ("2:4", "2:4-surgery")

#: What sparse tensor cores multiply.
#: Source: NVIDIA, Parallel Thread Execution ISA, "mma.sp".
_PRECISIONS: Final = frozenset({"tf32", "fp16", "bf16", "int8", "fp8"})


def with_sparse(profile: Profile, dense: Sequence[Plan]) -> tuple[Plan, ...]:
    """Return plans, and after them those with sparse weights, where the device gains by them."""
    if profile.gpu is None or not profile.gpu.sparse:
        return tuple(dense)
    sparse = (
        dataclasses.replace(plan, options=(*plan.options, ("sparsity", pattern)))
        for pattern in _PATTERNS
        for plan in dense
        if plan.precision in _PRECISIONS
    )
    return (*dense, *sparse)


def noted(latency: Figure, plan: Plan) -> Figure:
    """Return an estimated latency that says what it does not count on."""
    if not plan.sparsity:
        return latency
    note = f"{latency.note}; as if dense: only the device tells whether sparse kernels are faster"
    return dataclasses.replace(latency, note=note)
