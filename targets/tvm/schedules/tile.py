"""How much of a product is computed at once: sums in registers, operands in the caches.

A product has rows (pixels of an output, or rows of a matrix) and channels. Of a tile, every sum
stays in a register while all that it is made of goes by: in each step one vector of weights for
each vector of channels, and one number of the input for each row, for rows x vectors multiply-adds.
So a tile has to be large enough to keep the units busy (latency x units sums), square enough that
few operands are loaded for each multiply-add, and no larger than the registers (Goto and van de
Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).

The operands come from packed arrays: weights of a tile lie in the order in which they are used, and
so much of them as fits the first-level cache is used for all rows before the next is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Final

from .arithmetic import SHORT, Arithmetic
from .core import LATENCY, Core
from .shares import EVEN, evenness, shared_blocks, sharers

#: The widest tile, in vectors.
MOST_VECTORS: Final = 8

#: What a load of one number costs of the time of a multiply-add: with this, tiles come in the order
#: in which they were measured on a Cascade Lake (AVX-512).
_LOAD: Final = 0.25

#: So many times the sums that would just keep the units busy: no multiply-add starts as soon as its
#: operands are there.
_SLACK: Final = 1.5

#: Bytes of the words of input channels that lie side by side in packed data: a cache line. Fewer
#: words than the least are not worth packing apart.
_LINE: Final = 64
_LEAST_DEPTH: Final = 4

#: Shares of the caches: weights in the first level; packed rows, and sums, in the second.
_WEIGHTS: Final = 3 / 4
_ROWS: Final = 1 / 3
_SUMS: Final = 1 / 4

#: Bytes of a sum of parts.
_BYTES: Final = 4

#: Rows that are a multiple of this many bytes apart compete for places in the first-level cache,
#: whose ways have 4 KiB: eight of the rows, and no more, have places of their own.
_CLASH: Final = 512

#: The widest rows of windows that are written out.
_WIDEST: Final = 16


@dataclasses.dataclass(frozen=True)
class Tile:
    """Sums that are computed at once.

    Attributes:
        height, width: rows: neighbours along the last axis but one, and the last.
        channels: of each row.
        lanes: `channels`, rounded up to whole vectors; of less than one, to a power of two.
    """

    height: int
    width: int
    channels: int
    lanes: int


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What is kept in caches.

    Attributes:
        depth: words of input channels that lie side by side.
        group: so many blocks of `depth` are used for all rows before the next: their weights fit.
        rows: so many rows of the output are computed before the next: their input fits. Those of
            the last block may be partly outside.
        packs: whether the input is copied, so that what a tile reads lies together.
    """

    depth: int
    group: int
    rows: int
    packs: bool


def divisors(number: int) -> list[int]:
    """Return the divisors of a number, in order."""
    small = [item for item in range(1, math.isqrt(number) + 1) if number % item == 0]
    return sorted({*small, *(number // item for item in small)})


def tile_of(places: tuple[int, ...], channels: int, core: Core, arithmetic: Arithmetic) -> Tile:
    """Return the best tile for an output; as `tiles_of` takes it."""
    return tiles_of(places, channels, core, arithmetic)[0]


def height_of(places: Sequence[int]) -> int:
    """Return the places along the axis of the space that tiles have a height along."""
    return places[-2] if len(places) > 1 else 1


def unit_of(height: int, width: int, places: Sequence[int]) -> int:
    """Return how many places along the first axis of the space a tile has."""
    return (1, height, width)[-len(places)]


@functools.lru_cache(maxsize=1024)
def tiles_of(
    places: tuple[int, ...], channels: int, core: Core, arithmetic: Arithmetic
) -> list[Tile]:
    """Return all tiles for an output of these places along each axis, the best first.

    Height and channels are divided evenly; the last tile of a row may be partly outside.

    Args:
        channels: as many as fill the shortest vectors of an instruction.
    """
    height, width = height_of(places), places[-1]
    found = [
        (
            _worth(tall * wide, vectors, used * useful, core, arithmetic.rows),
            wide,
            -each,
            tall,
            vectors,
        )
        for each in divisors(channels)
        if each % arithmetic.least_lanes == 0
        for vectors in (-(-each // core.lanes),)
        for useful in (each / (vectors * core.lanes),)
        if vectors <= MOST_VECTORS and (each % core.lanes == 0 or channels % core.lanes)
        for tall, wide, used in _shapes(height, width, core.registers, arithmetic.rows)
        if fits(tall * wide, _registers(each, core, arithmetic), core, arithmetic.rows)
    ]
    ranked = sorted(found, reverse=True)
    return [Tile(tall, wide, -each, lanes_of(-each, core)) for _, wide, each, tall, _ in ranked]


def _registers(channels: int, core: Core, arithmetic: Arithmetic) -> int:
    """Return how many registers hold the sums of a row: an instruction's lanes divide them."""
    lanes = [count for count in arithmetic.instructions if channels % count == 0]
    return -(-channels // max(lanes, default=core.lanes))


def lanes_of(channels: int, core: Core) -> int:
    """Return the lanes of a tile of so many channels."""
    if channels > core.lanes:
        return -(-channels // core.lanes) * core.lanes
    return 1 << (channels - 1).bit_length()


@functools.lru_cache(maxsize=256)
def _shapes(height: int, width: int, most: int, rows: int) -> list[tuple[int, int, float]]:
    """Return heights and widths of tiles of so many rows at most, and the share that is inside.

    Args:
        rows: that an instruction takes; they are side by side.
    """
    return [
        (tall, wide, width / (-(-width // wide) * wide))
        for wide in range(rows, min(width + rows - 1, most) + 1, rows)
        for tall in divisors(height)
        if tall * wide <= most
    ]


def fits(rows: int, vectors: int, core: Core, pairs: int = 1) -> bool:
    """Whether sums, weights and words of the input have registers; one sum always has.

    Of words in lanes, those of all rows: LLVM loads them long before it needs them. A core that
    takes words from memory needs two registers for what else there is; with one of them only, LLVM
    puts sums aside on the stack. Products that are added by another instruction need one.

    Args:
        pairs: rows that an instruction takes, and as many times fewer channels of each.
    """
    words = {"vector": -(-rows // pairs), "memory": 2, "apart": 0}[core.operands.number]
    taken = rows * vectors + pairs * vectors + words
    return taken <= core.registers or (rows == pairs and vectors == 1)


def steps_of(rows: int, vectors: int, core: Core) -> int:
    """Return how many steps of a tile to write out: two if words of both are loaded at once."""
    taken = rows * vectors + 2 * (rows + vectors)
    return 2 if core.operands.number == "vector" and taken <= core.registers else 1


def busy(sums: int, core: Core) -> float:
    """Return the share of its peak at which a core starts multiply-adds to so many sums in turn."""
    return min(1.0, sums / (_SLACK * LATENCY * core.units))


def _worth(rows: int, vectors: int, useful: float, core: Core, pairs: int = 1) -> float:
    """Return the share of its peak that a core reaches, if its caches hold all; an estimate."""
    sums = rows * vectors
    loads = (rows / pairs + core.operands.vector * vectors * pairs) / sums
    return useful * busy(sums, core) / (1 + _LOAD * loads)


def share_of_peak(tile: Tile, core: Core) -> float:
    """Return the share of its peak that a core reaches with a tile, all in its caches."""
    return _worth(tile.height * tile.width, -(-tile.lanes // core.lanes), 1, core)


def blocks_of(
    tile: Tile,
    taps: int,
    inputs: int,
    places: tuple[int, ...],
    packed_row: float,
    tiles: int,
    images: int,
    core: Core,
    arithmetic: Arithmetic,
    *,
    copied: bool,
) -> Blocks:
    """Return what is kept in caches.

    Args:
        taps: of the window.
        inputs: words of channels that a sum is over.
        places: of the output; blocks are along the first axis.
        packed_row: words of packed input for each row of the output along that axis.
        tiles: along the channels.
        images: that are computed like this, one after the other.
        copied: whether the input has to be copied anyway.
        arithmetic: of the words. Those of pairs of rows lie side by side, not those of one.
    """
    word = arithmetic.word // 8
    axis, *others = places
    room = core.l1 * _WEIGHTS / (taps * tile.lanes * word)
    if arithmetic.most:
        room = min(room, arithmetic.most / taps)
    depth = _depth(inputs, room, core) if arithmetic.rows == 1 else 1
    count = inputs // depth
    fitting = [item for item in divisors(count) if item * depth <= room]
    group = max(fitting, default=1)
    packs = copied or (tiles > 2 and (taps > 1 or inputs * word % _CLASH == 0))
    unit = unit_of(tile.height, tile.width, places)
    needed = [packed_row * word / (core.l2 * _ROWS)] if packs else []
    if group < count or tile.lanes != tile.channels:
        needed.append(math.prod(others) * tile.lanes * _BYTES / (core.l2 * _SUMS))
    units = -(-axis // unit)
    parts = min(units, math.ceil(max(needed, default=0) * unit * units) or 1)
    # Threads that take tiles from each other read all of the input, and else all of the weights.
    weights = taps * inputs * tiles * tile.lanes
    handled = images * axis * (packed_row * word + math.prod(others) * tiles * tile.lanes * _BYTES)
    threads = sharers(images * math.prod(places) * weights, int(handled), core)
    by_tiles = weights > packed_row * axis and evenness(tiles, threads) >= EVEN
    if images * parts > 1 or not by_tiles:
        parts = shared_blocks(units, parts, images, threads)
    return Blocks(depth, group, -(-units // parts) * unit, packs)


def _depth(inputs: int, room: float, core: Core) -> int:
    """Return how many words of channels lie side by side: a divisor, best a cache line's worth.

    Args:
        room: for so many there are weights in the first-level cache.
    """
    line = _LINE // core.width
    found = [item for item in divisors(inputs) if item <= line or item == inputs <= 2 * line]
    fitting = [item for item in found if item <= room]
    best = line if line in fitting else max(fitting, default=1)
    return best if best >= min(_LEAST_DEPTH, inputs) else inputs


def skips_pads(width: int) -> bool:
    """Whether what is known of rows of so wide a window, written out, is which of it are pads.

    Data of such windows needs no copy with pads: see `pads`.
    """
    return width <= _WIDEST


@dataclasses.dataclass(frozen=True)
class DepthwiseTile:
    """Sums of a depthwise convolution that are computed at once, and rows before the next.

    The last tile of a row and the last rows may be partly outside.
    """

    width: int
    channels: int
    rows: int


def depthwise_tile(
    places: Sequence[int],
    channels: int,
    taps: int,
    reach: Sequence[int],
    images: int,
    core: Core,
    arithmetic: Arithmetic,
) -> DepthwiseTile:
    """Return the tile for outputs of these places along each axis and channels.

    Each number of the input is used for few sums, so that the weights should stay in registers and
    sums of neighbours keep the units busy. Short sums of as many channels as numbers of 8 bits fit
    a register do that by themselves.
    """
    least, is_short = arithmetic.least_lanes, arithmetic == SHORT
    most = (4 if is_short else 2) * core.lanes
    fitting = [item for item in divisors(channels) if item <= most and item % least == 0]
    whole = [item for item in fitting if item % core.lanes == 0]
    lanes = max(fitting) if is_short else min(whole, default=max(fitting))
    vectors = -(-lanes // core.lanes)
    width = 1 if is_short else _depthwise_width(places[-1], taps, vectors, core, arithmetic)
    height = places[0] if len(places) > 1 else 1
    image = math.prod(reach) * channels * core.width
    rows = _even(height, max(1, int(height * core.l2 * _ROWS / image)))
    spent = channels // lanes * vectors * core.lanes
    handled = images * (math.prod(reach) + math.prod(places)) * channels * core.width
    threads = sharers(images * math.prod(places) * spent * taps, handled, core)
    rows = -(-height // shared_blocks(height, -(-height // rows), images, threads))
    return DepthwiseTile(width, lanes, rows)


def _depthwise_width(
    places: int, taps: int, vectors: int, core: Core, arithmetic: Arithmetic
) -> int:
    """Return how many sums beside each other have registers, with their weights."""
    # What becomes of integer sums takes registers, too: numbers of other kinds, and their limits.
    room = core.registers // (2 if arithmetic.together > 1 else 1)
    most = max(1, (room - min(taps, room // 2)) // vectors - 1)
    width = max(item for item in divisors(places) if item <= most)
    return _even(places, most) if width <= most // 2 else width


def _even(size: int, most: int) -> int:
    """Return the size of parts that are about equal, none larger than `most`."""
    return -(-size // -(-size // most))
