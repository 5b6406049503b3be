"""The canonical pipeline: from what an importer gives to the dialect's ``canonical`` stage.

And what follows it for a runtime that has kernels for our integer operators.
"""

from __future__ import annotations

from typing import Final, Literal

from .passes.to_nhwc import ToNhwc
from .pipeline import Pipeline

Layout = Literal["nhwc", "nchw"]

#: One form for each thing; what is equal is computed once.
_UNIFY: Final = (
    "eliminate-identities",
    "fold-constants",
    "unify-quantization",
    "normalize-attributes",
    "unify-reshapes",
    "unify-activations",
    "eliminate-common-subexpressions",
)

#: What exporters took apart; before anything folds a part of it into a neighbour.
_RESTORE: Final = (
    "restore-gelu",
    "restore-silu",
    "restore-hard-swish",
    "restore-layer-norm",
)

#: Operators that others do the work of.
_FUSE: Final = (
    "fuse-pad",
    "fuse-gemm",
    "fold-batch-norm",
    "fuse-global-pool",
)

#: Transposes moved, merged and folded into weights, after the layout is chosen. In the same layout,
#: more nodes are equal; sharing them may let more transposes go.
_LAY_OUT: Final = (
    "push-transposes",
    "fold-transpose-into-gemm",
    "eliminate-common-subexpressions",
    "push-transposes",
    "cancel-transposes",
)

#: The one form for what the passes before have made.
_TIDY: Final = (
    "unify-quantization",
    "unify-activations",
    "eliminate-common-subexpressions",
    "eliminate-dead-code",
    "normalize-attributes",
)


def canonical(
    layout: Layout = "nhwc", *, transposed: bool = False, volumes: bool = False
) -> Pipeline:
    """Return the canonical pipeline.

    Run again on its own result it changes nothing.

    Args:
        layout: of convolutions and poolings over signals and images: channels-last, as the
            operators of `lowering.layout.nhwc`, or channels-first, as ONNX has them.
        transposed: whether channels-last holds of transposed convolutions, too.
        volumes: whether it holds of data of three dimensions in space, too.
    """
    first = Pipeline.parse(",".join((*_UNIFY, *_RESTORE, *_FUSE)))
    chosen = Pipeline((ToNhwc(transposed, volumes),) if layout == "nhwc" else ())
    return first + chosen + Pipeline.parse(",".join((*_LAY_OUT, *_TIDY)))


def integers() -> Pipeline:
    """Return the passes that follow where quantized operators are computed in integers.

    A network without quantized values stays as it is.
    """
    return Pipeline.parse("sink-dequantize,cancel-transposes,to-integer")
