"""Modules that are only loaded when something in them is used.

onnx-ir imports SymPy, for arithmetic with symbolic dimensions. No model has such once it is
imported, and SymPy is more than half of the time and of the memory that importing onnx-ir takes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

#: The second one asks for functions of SymPy while it is loaded.
MODULES = frozenset({"sympy", "onnx_ir._symbolic_shapes"})


class _LoadsOnFirstUse(MetaPathFinder):
    """Finds `MODULES` where they are, and leaves their loading to the first use; then it goes."""

    def __init__(self) -> None:
        self._awaited = set(MODULES - sys.modules.keys())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._awaited:
            return None
        self._awaited.remove(fullname)
        if not self._awaited:
            sys.meta_path.remove(self)
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            found.loader = LazyLoader(found.loader)
        return found


def install() -> None:
    """Let `MODULES` load on first use, unless they are loaded already."""
    if MODULES - sys.modules.keys():
        sys.meta_path.insert(0, _LoadsOnFirstUse())
