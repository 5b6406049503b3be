"""Tensors side by side: vectors end where one does, and numbers are those of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tapeout.targets.tvm.compile import PIPELINE, lowered, processor

import kernels


def side_by_side(*channels: int) -> tvm.IRModule:
    """Return a kernel that puts what it makes of some tensors (6, C) side by side."""
    tensors = [te.placeholder((6, count), "float32", f"x{k}") for k, count in enumerate(channels)]
    starts = np.cumsum([0, *channels])

    def element(row: Any, channel: Any) -> Any:
        value = tirx.nearbyint(tensors[0](row, channel))
        for k in range(1, len(tensors)):
            moved = tirx.nearbyint(tensors[k](row, channel - int(starts[k])) * (k + 1))
            value = tirx.if_then_else(int(starts[k]) <= channel, moved, value)
        return value

    result = te.compute((6, int(starts[-1])), element, name="y")
    return tvm.IRModule({"main": te.create_prim_func([*tensors, result])})


@pytest.mark.parametrize(
    ("channels", "width"), [((64, 32), 32), ((16, 16, 32), 16), ((24, 48), 24), ((3, 5), None)]
)
def test_vectors_end_at_borders(channels: tuple[int, ...], width: int | None) -> None:
    target = processor(kernels.host().toolchain)
    module = kernels.finished(side_by_side(*channels))
    if width is not None:
        with target:
            assert f"float32x{width}" in str(lowered(module, target, PIPELINE))
    rng = np.random.default_rng(0)
    given = [rng.normal(0, 9, (6, count)).astype(np.float32) for count in channels]
    result = tvm.runtime.tensor(np.zeros((6, sum(channels)), np.float32))
    tvm.compile(module, target=target)["main"](*map(tvm.runtime.tensor, given), result)
    wanted = np.concatenate([np.rint(x * np.float32(k + 1)) for k, x in enumerate(given)], axis=1)
    np.testing.assert_array_equal(result.numpy(), wanted)
