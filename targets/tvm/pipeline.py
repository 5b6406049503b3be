"""The passes from an imported, or converted, model to what TVM's converters take."""

from __future__ import annotations

from typing import Final

from ...lowering.canonical import canonical
from ...lowering.passes.expand_functions import ExpandFunctions
from ...lowering.passes.sign_quantization import SignQuantization
from ...lowering.passes.unroll_recurrent import UnrollRecurrent
from ...lowering.pipeline import Pipeline

#: Nodes that a recurrent node without a kernel may become; the compiler takes its time for each.
_UNROLLED: Final = 2_000


def pipeline(*, unsigned: bool = False) -> Pipeline:
    """Return the passes for every device; `canonical.integers` may follow.

    Args:
        unsigned: whether quantized activations are to be uint8.
    """
    expand = Pipeline((UnrollRecurrent(_UNROLLED, uncommon=True), ExpandFunctions()))
    sign = Pipeline((SignQuantization(signed=False),)) if unsigned else Pipeline(())
    return expand + sign + canonical("nhwc", transposed=True, volumes=True)
