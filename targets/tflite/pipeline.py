"""What a model goes through before it is written as TFLite."""

from __future__ import annotations

from typing import Final

from ...lowering.canonical import canonical
from ...lowering.passes.cancel_transposes import CancelTransposes
from ...lowering.passes.expand_functions import ExpandFunctions
from ...lowering.passes.expand_quantization import ExpandQuantization
from ...lowering.passes.halve_weights import HalveWeights
from ...lowering.passes.quantize_at_run_time import QuantizeAtRunTime
from ...lowering.passes.sign_quantization import SignQuantization
from ...lowering.passes.sink_dequantize import SinkDequantize
from ...lowering.passes.unroll_recurrent import UnrollRecurrent
from ...lowering.passes.widen_integers import WidenIntegers
from ...lowering.passes.widen_weights import WidenWeights
from ...lowering.pipeline import Pipeline

#: Operators that ONNX defines by others, and TFLite has no builtin for.
EXPANDED: Final = (
    "AffineGrid", "Attention", "CastLike", "Celu", "CenterCropPad", "DynamicQuantizeLinear",
    "GroupNormalization", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss",
    "RotaryEmbedding", "Selu", "Shrink", "SoftmaxCrossEntropyLoss", "Softsign",
    "ThresholdedRelu",
)  # fmt: skip


def pipeline(precision: str = "fp32") -> Pipeline:
    """Return the passes, in order: NHWC, integers passed on as integers.

    Of integers, more reshapes and transposes meet than of the real numbers before.

    Args:
        precision: of the plan; in ``fp16`` weights of half precision are stored as such, in
            ``int8-dynamic`` kernels round what they multiply by integers.
    """
    first, last = _AROUND.get(precision, (Pipeline(()), Pipeline(())))
    functions = ExpandFunctions("+".join(EXPANDED))
    quantization = (SignQuantization(), ExpandQuantization())
    expand = Pipeline((UnrollRecurrent(), functions, *quantization, WidenIntegers()))
    lower = canonical("nhwc", transposed=True) + Pipeline((SinkDequantize(), CancelTransposes()))
    return first + expand + lower + last


#: Precision -> what comes before and after the passes of all.
_AROUND: Final = {
    "fp16": (Pipeline((WidenWeights(),)), Pipeline((HalveWeights(exact=True),))),
    "int8-dynamic": (Pipeline(()), Pipeline((QuantizeAtRunTime(),))),
}
