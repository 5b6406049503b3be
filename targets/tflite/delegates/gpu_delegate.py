"""What TFLite's GPU delegate takes of a model, and in which pieces.

What an operator must be like stands in `gpu_rules`. The delegate's options are the defaults: one
partition, the largest, and quantized models allowed. It computes in float16 where the caller
allows a loss of precision (`isPrecisionLossAllowed`), else in float32; float16 constants are read
as they are, int8 and uint8 data are computed on in float, within the range that they can hold.
Not all that is taken can be computed on every GPU: the delegate then fails when it is made.
"""

from __future__ import annotations

from typing import Final

from ..operators import Graph, Operator
from .gpu_rules import RULES
from .partitions import Delegate, Placement, place
from .rules import Refusal
from .rules import refusals as refusals_of

NAME: Final = "GPU"

#: Partitions that the delegate takes unless told otherwise: TfLiteGpuDelegateOptionsV2Default,
#: max_delegated_partitions.
MOST_PARTITIONS: Final = 1

_INTEGERS: Final = ("int8", "uint8")


def refusals(operator: Operator, graph: Graph, *, quantized: bool = True) -> tuple[Refusal, ...]:
    """Return why an operator is not taken; nothing if it is.

    Args:
        quantized: whether the delegate is allowed to take quantized models.
    """
    return refusals_of(RULES, operator, graph, int(quantized))


def placement(graph: Graph, *, quantized: bool = True, most: int = MOST_PARTITIONS) -> Placement:
    """Return what the delegate makes of a model.

    Args:
        quantized: whether the delegate is allowed to take quantized models.
        most: partitions that the delegate may take, at least 1.
    """

    def refusal(operator: Operator, seen: Graph) -> str | None:
        found = refusals(operator, seen, quantized=quantized)
        return "; ".join(item.reason for item in found) or None

    found = place(graph, Delegate(NAME, max(1, most), limits_first=True), refusal)
    return Placement(found.delegate, found.partitions, found.reasons, _notes(found))


def _notes(found: Placement) -> tuple[str, ...]:
    operands = [item for part in found.delegated for op in part.operators for item in op.outputs]
    if any(item.dtype in _INTEGERS for item in operands):
        return ("the GPU computes quantized operators in float: its results differ from int8's",)
    return ()
