"""How many cycles one core takes for a node's products.

The same analysis that chooses tiles says what they cost: so many multiply-adds of whole vectors, at
the share of its peak that a core reaches with such a tile. What memory holds back is for the
roofline to say, which knows in which cache a tensor lies.
"""

from __future__ import annotations

import math
from typing import Final

import onnx_ir as ir

from ...lowering.analysis.arithmetic import input_shape
from .kernels import Kernel
from .schedules.core import Core
from .schedules.shares import evenness, is_worth_sharing, sharing_cost
from .schedules.tile import busy
from .schedules.winograd_tile import WinogradTile, work_of

#: What a load of one number adds to the time of a multiply-add: little where one starts in a
#: cycle, as on a Zen 4, as most loads are done beside it; where two start, as on a Cascade Lake, as
#: much as `schedules.tile` counts.
_LOAD: Final = 0.06
_MOST: Final = 0.25

#: The share of its peak that a core reaches where each multiply-add loads a number of its own, as
#: in a convolution of each channel by itself: of words, and of data that is read as it is.
_DEPTHWISE: Final = {True: 0.6, False: 0.85}

#: Cycles to copy a vector of the input with its pads, and to join numbers of 8 bits to a vector of
#: words.
_COPY: Final = 1.5
_JOIN: Final = 5.0

_BYTES: Final = 4


def cycles_of(kernel: Kernel) -> float:
    """Return the cycles that one core takes for a kernel's products."""
    if kernel.work.kind == "depthwise":
        return _depthwise(kernel)
    return _product(kernel) if kernel.winograd is None else _winograd(kernel, kernel.winograd)


def _product(kernel: Kernel) -> float:
    work, choice, core = kernel.work, kernel.choice, kernel.core
    *high, wide = work.places
    rows, vectors = choice.height * choice.width, -(-choice.channels // core.lanes)
    computed = work.images * math.prod(high) * -(-wide // choice.width) * choice.width
    tiles = -(-work.outputs // choice.channels)
    multiplies = computed * work.taps * work.inputs * tiles * vectors * _instructions(kernel)
    copied = work.images * math.prod(work.reach) * work.inputs * work.group / core.lanes
    return multiplies / _speed(rows, vectors, core) + (_COPY * copied if choice.packs else 0)


def _winograd(kernel: Kernel, tile: WinogradTile) -> float:
    work, core = kernel.work, kernel.core
    blocks = work.images * tile.blocks
    share = evenness(blocks, core.threads) if blocks > 1 else 1
    multiplies, additions = work_of(tile, work.inputs, work.outputs, core)
    product = tile.product
    speed = _speed(product.height * product.width, -(-product.lanes // core.lanes), core)
    return blocks * (multiplies / speed + additions) / share


def _speed(rows: int, vectors: int, core: Core) -> float:
    """Return the multiply-adds of vectors in a cycle, of a tile whose operands are in caches."""
    sums = rows * vectors
    loads = (rows + core.operands.vector * vectors) / sums
    waiting = min(_LOAD * core.units**2, _MOST) * loads
    return core.units * busy(sums, core) / (1 + waiting)


def _depthwise(kernel: Kernel) -> float:
    work, core = kernel.work, kernel.core
    vectors = work.images * work.outputs / core.lanes
    multiplies = vectors * math.prod(work.places) * work.taps
    copied = vectors * math.prod(work.reach)
    words = kernel.arithmetic.together > 1
    each = _JOIN if words else _COPY if work.copies == "always" else 0
    speed = core.units * _DEPTHWISE[words] / _instructions(kernel)
    return multiplies / speed + each * copied


def _instructions(kernel: Kernel) -> int:
    return 1 if kernel.arithmetic.accumulates else 2


def recurrent_cycles(node: ir.Node, core: Core) -> float:
    """Return the cycles of RNN, GRU or LSTM, of the threads that share them.

    One product is for the inputs of all steps; in each step there is another, for the state.
    """
    length, batch, inputs = input_shape(node, 0)
    if node.attributes.get_int("layout", 0):
        length, batch = batch, length
    directions, gates, hidden = input_shape(node, 2)
    vectors = directions * -(-gates // core.lanes) / core.units
    weights = directions * gates * hidden * _BYTES
    near = core.near if weights <= core.l2 else core.stream
    once, each = length * batch * inputs * vectors, max(batch * hidden * vectors, weights / near)
    return _shared(once, core) + length * _shared(each, core)


def _shared(cycles: float, core: Core) -> float:
    """Return the cycles until as many threads as gain from it have computed something."""
    if not is_worth_sharing(cycles, core.threads, core.threads):
        return cycles
    return cycles / core.threads + sharing_cost(core.threads)
