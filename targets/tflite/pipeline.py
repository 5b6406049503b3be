"""What a model goes through before it is written as TFLite."""

from __future__ import annotations

from typing import Final

from ...lowering.canonical import canonical
from ...lowering.passes.cancel_transposes import CancelTransposes
from ...lowering.passes.expand_functions import ExpandFunctions
from ...lowering.passes.sink_dequantize import SinkDequantize
from ...lowering.pipeline import Pipeline

#: Operators that ONNX defines by others, and TFLite has no builtin for.
EXPANDED: Final = (
    "AffineGrid", "Attention", "CastLike", "Celu", "CenterCropPad", "DynamicQuantizeLinear",
    "GroupNormalization", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss",
    "RotaryEmbedding", "Selu", "Shrink", "SoftmaxCrossEntropyLoss", "Softsign",
    "ThresholdedRelu",
)  # fmt: skip


def pipeline() -> Pipeline:
    """Return the passes, in order: NHWC, integers passed on as integers.

    Of integers, more reshapes and transposes meet than of the real numbers before.
    """
    expand = Pipeline((ExpandFunctions("+".join(EXPANDED)),))
    return expand + canonical("nhwc") + Pipeline((SinkDequantize(), CancelTransposes()))
