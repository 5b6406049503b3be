"""What is found out once of a lowered model, which several plans share."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

import onnx_ir as ir

Found = TypeVar("Found")


def per_model(function: Callable[[ir.Model], Found]) -> Callable[[ir.Model], Found]:
    """Return a function that computes its answer once, for as long as the model lives.

    The model must not change after the first call, and the answer must not hold it.
    """
    known: weakref.WeakKeyDictionary[ir.Model, Found] = weakref.WeakKeyDictionary()

    @functools.wraps(function)
    def remembered(model: ir.Model) -> Found:
        if model not in known:
            known[model] = function(model)
        return known[model]

    return remembered
