"""When Winograd's way to convolve takes the fewest cycles, and in what parts.

A tile of size x size outputs takes (size + 2)^2 multiplications for each pair of channels in place
of 9 size^2: 4 for each output with tiles of 2 x 2, and 2.25 with tiles of 4 x 4. It pays for that
with additions, once for each channel of the input and of the output, and with weights that are 16 /
9 and 4 times as many (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016).
All is an estimate, high by up to a half where weights come from another cache: it has to put the
ways to convolve in their order, as it does with the layers of ResNet-18 on a Zen 4.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

from .arithmetic import FLOAT, HALF, Arithmetic
from .core import Core
from .shares import evenness
from .tile import Tile, divisors, share_of_peak, tile_of

#: Outputs along each side of a tile, in the order of the weights they need. With tiles of 4 x 4,
#: sums in half precision would lose most of their digits; with those of 2 x 2, data becomes up to 4
#: times as large, the margin that calibration keeps (`lowering.analysis.overflow`).
_SIZES: Final[Mapping[Arithmetic, Sequence[int]]] = {FLOAT: (2, 4), HALF: (2,)}

#: Taps along each side of the window, and how much further a tile reads than it writes.
_TAPS: Final = 3
OVERLAP: Final = _TAPS - 1

#: Cycles for each number of a transformed tile, in vectors along the channels: loads, additions and
#: stores; on a core with one unit for vectors, measured on a Zen 4. With more it does more of each.
_TRANSFORM: Final = 7

#: What it takes to load bytes again that the second-level cache does not keep, of what it takes to
#: load them once for an inference: another cache may.
_AGAIN: Final = 0.5

#: Of blocks that take about as long, the smallest is best: estimates are not better than that.
_ALIKE: Final = 1.05

#: What is gained has to be so much: weights need memory, and sums lose digits.
_GAIN: Final = 0.8


@dataclasses.dataclass(frozen=True)
class WinogradTile:
    """How a convolution is computed.

    Attributes:
        size: outputs along each side of a tile.
        rows, across: tiles of a block, which is computed from its input to its output before the
            next is; the last block may be partly outside.
        blocks: of an image.
        product: tile of the products for one place of all tiles of a block.
    """

    size: int
    rows: int
    across: int
    blocks: int
    product: Tile

    @property
    def edge(self) -> int:
        """Numbers along each side of a transformed tile."""
        return self.size + OVERLAP

    @property
    def count(self) -> int:
        """Tiles of a block."""
        return self.rows * self.across


def winograd_tile(
    images: int,
    places: tuple[int, int],
    inputs: int,
    outputs: int,
    core: Core,
    arithmetic: Arithmetic,
) -> WinogradTile | None:
    """Return how to compute a convolution of 3 x 3 taps without strides; None: not this way.

    Args:
        places: height and width of the output.
        inputs, outputs: channels.
        core: as kernels with such numbers see it.
    """
    if 0 < arithmetic.most < inputs:
        return None
    best, least = None, _direct(images, places, inputs, outputs, core, arithmetic)
    for size in _SIZES[arithmetic]:
        found = [
            (_cycles(tile, images, inputs, outputs, core), tile)
            for rows in _heights(-(-places[0] // size))
            for tile in [_tile(size, rows, places, outputs, core, arithmetic)]
            if rows == 1 or _kept(tile, inputs, outputs, core) <= core.l2
        ]
        fastest = min(cycles for cycles, _ in found)
        cycles, tile = next(item for item in found if item[0] <= _ALIKE * fastest)
        if cycles < _GAIN * least:
            least, best = cycles, tile
    return best


def vector_of(channels: int, core: Core) -> int:
    """Return how many channels are transformed at once: as many as leave no rest."""
    return max(item for item in divisors(channels) if item <= core.lanes)


def _heights(down: int) -> list[int]:
    """Return how many rows of so many tiles a block may have, without needless ones outside."""
    return sorted({-(-down // parts) for parts in range(1, down + 1)})


def _tile(
    size: int,
    rows: int,
    places: tuple[int, int],
    outputs: int,
    core: Core,
    arithmetic: Arithmetic,
) -> WinogradTile:
    down, across = (-(-place // size) for place in places)
    filled = -(-outputs // core.lanes) * core.lanes
    product = tile_of((rows * across,), filled, core, arithmetic)
    return WinogradTile(size, rows, across, -(-down // rows), product)


def _kept(tile: WinogradTile, inputs: int, outputs: int, core: Core) -> int:
    """Return the bytes that are kept of one block: its input, transformed, and its products."""
    return tile.edge**2 * tile.count * (inputs + outputs) * core.width


def work_of(tile: WinogradTile, inputs: int, outputs: int, core: Core) -> tuple[int, float]:
    """Return the multiply-adds of vectors that one block takes, and cycles of its additions."""
    width, vectors = tile.product.width, -(-outputs // core.lanes)
    computed = -(-tile.count // width) * width
    transformed = inputs / vector_of(inputs, core) + outputs / vector_of(outputs, core)
    additions = _TRANSFORM / max(1, core.units) * tile.edge**2 * tile.count * transformed
    return tile.edge**2 * computed * inputs * vectors, additions


def _cycles(tile: WinogradTile, images: int, inputs: int, outputs: int, core: Core) -> float:
    multiplies, additions = work_of(tile, inputs, outputs, core)
    speed = core.units * share_of_peak(tile.product, core)
    weights = tile.edge**2 * inputs * -(-outputs // core.lanes) * core.lanes * core.width
    kept = _kept(tile, inputs, outputs, core)
    blocks = images * tile.blocks
    moved = weights * (1 + _AGAIN * (blocks - 1)) if weights + kept > core.l2 else 0.0
    if kept > core.l2 / 2:
        moved += 2 * kept * blocks * _AGAIN
    share = evenness(blocks, core.threads) if blocks > 1 else 1
    return (blocks * (multiplies / speed + additions) + moved / core.stream) / share


def _direct(
    images: int,
    places: tuple[int, int],
    inputs: int,
    outputs: int,
    core: Core,
    arithmetic: Arithmetic,
) -> float:
    """Return the cycles of the same with all multiplications."""
    filled = -(-outputs // core.lanes) * core.lanes
    tile = tile_of(places, filled, core, arithmetic)
    vectors = filled // core.lanes
    weights = _TAPS**2 * inputs * filled * core.width
    multiplies = _TAPS**2 * math.prod(places) * inputs * vectors
    moved = weights if weights > core.l2 else 0
    return images * (multiplies / (core.units * share_of_peak(tile, core)) + moved / core.stream)
