"""What is loaded on first use is not loaded before, and works afterwards."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
import tapeout.lowering.importers.onnx
import onnx_ir as ir

before = "sympy.core" in sys.modules
total = ir.SymbolicDim("n") + 1
import sympy
assert not any("tapeout" in type(finder).__module__ for finder in sys.meta_path)
print(before, total.value, total.evaluate({"n": 3}), sympy.Symbol("x") ** 2)
"""


def test_sympy_is_loaded_by_the_first_sum_of_symbolic_dimensions() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "False n + 1 4 x**2\n"
