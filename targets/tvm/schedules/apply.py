"""The pass that gives every kernel of a module its loops."""

from __future__ import annotations

from typing import Final

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.error import InternalError
from tvm.s_tir import ScheduleError

from .annotations import SCHEDULED, WORKLOAD
from .borders import with_borders
from .core import Core
from .loops import schedule_plain
from .pads import without_rows_outside
from .products import schedule_product
from .rows import schedule_rows
from .winograd import schedule_winograd

#: What TVM raises where a step of a schedule does not fit a kernel.
_MISFITS: Final = (ScheduleError, InternalError)


def scheduled(module: tvm.IRModule, core: Core) -> tvm.IRModule:
    """Return the module with the kernels scheduled for a core that have no schedule yet."""
    functions = {
        name: _scheduled(_labelled(function), core)
        if isinstance(function, tirx.PrimFunc)
        else function
        for name, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _labelled(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a kernel with the workload of its product: blocks do not outlive all instructions."""
    found: list[str] = []

    def note(block: s_tir.SBlock) -> None:
        if WORKLOAD in block.annotations:
            found.append(str(block.annotations[WORKLOAD]))

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, note))
    return function.with_attr(WORKLOAD, found[0]) if found else function


def _scheduled(function: tirx.PrimFunc, core: Core) -> tirx.PrimFunc:
    if function.attrs is not None and SCHEDULED in function.attrs:
        return function
    given = with_borders(function, core)
    for rule in (schedule_product, schedule_winograd, schedule_rows, schedule_plain):
        schedule = s_tir.Schedule(given)
        try:
            if rule(schedule, core) is not False:
                return without_rows_outside(schedule.mod["main"]).with_attr(SCHEDULED, True)
        except _MISFITS:  # a kernel that the rule was not made for is right as it is
            continue
    return function
