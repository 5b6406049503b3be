"""What a model goes through before it is read as a network of integers."""

from __future__ import annotations

from ...lowering.canonical import canonical, integers
from ...lowering.passes.expand_functions import ExpandFunctions
from ...lowering.passes.sign_quantization import SignQuantization
from ...lowering.passes.window_global_max import WindowGlobalMax
from ...lowering.pipeline import Pipeline


def pipeline() -> Pipeline:
    """Return the passes, in order: int8 and channels-last, and what lies between in integers."""
    first = Pipeline((ExpandFunctions(), SignQuantization()))
    return first + canonical("nhwc") + Pipeline((WindowGlobalMax(),)) + integers()
