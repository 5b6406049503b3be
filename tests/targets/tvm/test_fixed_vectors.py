from __future__ import annotations

import tvm
from tvm import s_tir, te, tirx

from tapeout.profiles import catalog
from tapeout.targets.tvm.compile import processor
from tapeout.targets.tvm.fixed_vectors import with_fixed_vectors


def squares() -> tvm.IRModule:
    """Return a kernel with a vectorized loop, for a core with RISC-V's vectors."""
    x = te.placeholder((64,), "float32", "x")
    y = te.compute((64,), lambda i: x[i] * x[i], name="y")
    schedule = s_tir.Schedule(te.create_prim_func([x, y]))
    schedule.vectorize(*schedule.get_loops(schedule.get_sblock("y")))
    target = processor(catalog.load("banana-pi-f3").toolchain)
    return tirx.transform.BindTarget(target.with_host(target))(schedule.mod)


def test_vectors_keep_the_length_that_the_schedule_gave_them() -> None:
    lower, _, _ = tirx.get_tir_pipeline("default")
    scalable, fixed = lower(squares()), with_fixed_vectors(lower)(squares())
    assert "vscale" in scalable.script()
    assert "vscale" not in fixed.script()
    assert str(fixed["main"].attrs["target"]) == str(scalable["main"].attrs["target"])
