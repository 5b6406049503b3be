from __future__ import annotations

import numpy as np
import pytest

from tapeout.errors import ModelError
from tapeout.profiles import catalog
from tapeout.targets.tvm.cuda.compile import compile_model
from tapeout.targets.tvm.cuda.compiler_process import kernels

import support


def test_a_kernel_that_no_rule_spreads_over_threads_is_named() -> None:
    model = support.from_text(
        """g (float[1,5] x, int64[1,2] i, float[1,2] u) => (float[1,5] y) {
            y = ScatterElements <axis = 1> (x, i, u)
        }"""
    )
    with pytest.raises(ModelError, match="kernels run on no GPU") as caught:
        compile_model(model, catalog.load("h100").toolchain)
    assert [problem.where for problem in caught.value.problems] == ["scatter_elements"]


def test_half_precision_is_widened_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = support.from_text(
        "g (float16[1,96] x, float16[96,96] w) => (float16[1,96] y) { y = MatMul(x, w) }",
        w=np.ones((96, 96), np.float16),
    )
    monkeypatch.setenv("TVM_COMPILE_FORCE_FALLBACK", "1")
    compiled = compile_model(model, catalog.load("h100").toolchain)
    source = kernels(compiled.executable.mod)
    assert "(float)" in source
    assert "wmma" not in source
