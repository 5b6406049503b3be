"""The canonical pipeline: from what an importer gives to the dialect's ``canonical`` stage."""

from __future__ import annotations

from typing import Final, Literal

from .pipeline import Pipeline

Layout = Literal["nhwc", "nchw"]

#: One form for each thing, and the folding and fusing that need it.
_UNIFY: Final = (
    "eliminate-identities",
    "fold-constants",
    "normalize-attributes",
    "unify-reshapes",
    "unify-activations",
    "fuse-pad",
    "fold-batch-norm",
    "fuse-gemm",
)

#: Transposes moved, merged, folded into weights; it comes after the layout is chosen.
_LAY_OUT: Final = (
    "push-transposes",
    "fold-transpose-into-gemm",
    "cancel-transposes",
)

#: What the passes before leave behind.
_TIDY: Final = (
    "unify-activations",
    "normalize-attributes",
    "eliminate-common-subexpressions",
    "eliminate-dead-code",
)


def canonical(layout: Layout = "nhwc") -> Pipeline:
    """Return the canonical pipeline.

    Run again on its own result it changes nothing.

    Args:
        layout: of convolutions and poolings over signals and images: channels-last, as the
            operators of `lowering.nhwc`, or channels-first, as ONNX has them.
    """
    chosen = ("to-nhwc",) if layout == "nhwc" else ()
    return Pipeline.parse(",".join((*_UNIFY, *chosen, *_LAY_OUT, *_TIDY)))
