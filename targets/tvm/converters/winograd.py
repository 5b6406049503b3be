"""Convolutions of 3 x 3 taps with fewer multiplications, as `schedules` makes them fast.

Winograd's way to convolve (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
2016): tiles of the input, taken as polynomials, are evaluated at some points, so are the weights,
here, once. At each point the product of the polynomials is that of the values, summed over
channels, and from these products the tile of the output is interpolated.

    padded (n, rows, columns, I)                  the input with its pads
    evaluated_rows (n, blocks, tiles, i, b, I)    tiles of the input: along the first axis
    evaluated (n, blocks, i, j, tiles, I)         and along the second
    sums (n, blocks, i, j, tiles, panels, lanes)  products with the weights, in registers
    products (n, blocks, i, j, tiles, channels)   the same
    rows (n, blocks, tiles, y, j, O)              tiles of the output: along the first axis
    tiles (n, blocks, tiles, y, x, O)             and along the second
    product (n, H, W, O)                          the same, without what is outside
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from tvm import relax, te, tirx

from ..schedules.annotations import WINOGRAD
from ..schedules.arithmetic import FLOATS
from ..schedules.winograd_tile import OVERLAP, WinogradTile, winograd_tile
from .call import Call, Expr, Shape, core_of
from .products import FUSABLE
from .tiles import Tensor
from .window import Window

#: Outputs along each side of a tile -> a, for each pair of points a and -a; 0 and infinity are
#: points, too. Of 3/4 and 3/2, which have short powers, sums lose a quarter of the digits that they
#: lose with 1 and 2 (as in Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
#: Convolution for Deep Neural Networks", 2020).
_POINTS: Final[Mapping[int, Sequence[float]]] = {2: (1.0,), 4: (0.75, 1.5)}

#: Places of a window, and numbers in double precision that a cache holds with what they are made
#: of.
_TAPS: Final = 9
_PART: Final = 1 << 15

#: Numbers along one axis, by their place.
_Line: TypeAlias = Callable[[int], Expr]


def winograd(call: Call, data: Expr, weight: np.ndarray, window: Window, out: Shape) -> Expr | None:
    """Return the convolution of channels-last data with a weight; None: not worth it, or not so.

    Args:
        data: (n, H, W, I), float32 or float16.
        weight: (kernel, I, O).
        out: (n, H, W, O).
    """
    if core_of(call).direct or not _is_fit(window):
        return None
    images, high, wide, outputs = out
    dtype = str(data.ty.dtype)
    core = core_of(call).of_dtype(dtype)
    tile = winograd_tile(images, (high, wide), weight.shape[-2], outputs, core, FLOATS[dtype])
    if tile is None:
        return None
    shape = tuple(int(dim) for dim in data.ty.shape)
    begin = window.begin[0], window.begin[1]
    kernel = _Kernel(tile, _POINTS[tile.size], shape, out, begin, dtype)
    return call.builder.emit_te(
        kernel.compute,
        data,
        relax.const(kernel.packed(weight)),
        primfunc_name_hint="winograd",
        primfunc_attrs={"op_pattern": FUSABLE},
    )


def _is_fit(window: Window) -> bool:
    steps = (*window.strides, *window.dilations, window.group)
    return window.kernel == (3, 3) and all(step == 1 for step in steps)


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """One convolution.

    Attributes:
        points: as `_POINTS` has them.
        shape, out: of the data and of the result, channels last.
        begin: pads before the first row and column.
    """

    tile: WinogradTile
    points: Sequence[float]
    shape: Shape
    out: Shape
    begin: tuple[int, int]
    dtype: str

    @property
    def _panels(self) -> int:
        return -(-self.out[-1] // self.tile.product.channels)

    def packed(self, weight: np.ndarray) -> np.ndarray:
        """Return the weight as (i, j, panels, I, lanes), computed in double precision."""
        at = _evaluation(self.points)
        factors, lanes = np.kron(at, at), self.tile.product.channels
        inputs, outputs = weight.shape[-2:]
        result = np.zeros((len(factors), self._panels, inputs, lanes), self.dtype)
        # In parts that the caches hold, each of which is put in its place at once.
        step = max(1, _PART // (len(factors) * outputs))
        for first in range(0, inputs, step):
            taps = weight[..., first : first + step, :].astype(np.float64)
            values = (factors @ taps.reshape(_TAPS, -1)).reshape(len(factors), -1, outputs)
            for panel, start in enumerate(range(0, outputs, lanes)):
                part = values[..., start : start + lanes]
                result[:, panel, first : first + step, : part.shape[-1]] = part
        return result.reshape(len(at), len(at), *result.shape[1:])

    def compute(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the tensor ``product``."""
        return self._result(self._products(self._evaluated(self._padded(x)), weight))

    @property
    def _blocks(self) -> Shape:
        return (self.out[0], self.tile.blocks)

    def _padded(self, x: Tensor) -> Tensor:
        """Return the input with zeros around it, as far as tiles reach."""
        tile, (top, left), (_, high, wide, _) = self.tile, self.begin, self.shape

        def element(n: Any, row: Any, column: Any, channel: Any) -> Any:
            y, x_at = row - top, column - left
            inside = tirx.all(y >= 0, y < high, x_at >= 0, x_at < wide)
            return tirx.if_then_else(inside, x(n, y, x_at, channel), tirx.const(0, self.dtype))

        reach = (tile.size * count + OVERLAP for count in (tile.blocks * tile.rows, tile.across))
        return te.compute((self.shape[0], *reach, self.shape[-1]), element, name="padded")

    def _evaluated(self, padded: Tensor) -> Tensor:
        tile, channels = self.tile, self.shape[-1]

        def rows(n: Any, block: Any, at: Any, i: Any, b: Any, channel: Any) -> Any:
            y = (block * tile.rows + tirx.floordiv(at, tile.across)) * tile.size
            x = tirx.floormod(at, tile.across) * tile.size + b
            return _chosen(i, _values(lambda a: padded(n, y + a, x, channel), self.points))

        shape = (*self._blocks, tile.count, tile.edge, tile.edge, channels)
        half = te.compute(shape, rows, name="evaluated_rows")

        def both(n: Any, block: Any, i: Any, j: Any, at: Any, channel: Any) -> Any:
            return _chosen(j, _values(lambda b: half(n, block, at, i, b, channel), self.points))

        shape = (*self._blocks, tile.edge, tile.edge, tile.count, channels)
        return te.compute(shape, both, name="evaluated")

    def _products(self, evaluated: Tensor, weight: Tensor) -> Tensor:
        tile, lanes = self.tile, self.tile.product.channels
        depth = te.reduce_axis((0, self.shape[-1]), "depth")

        def total(n: Any, block: Any, i: Any, j: Any, at: Any, panel: Any, lane: Any) -> Any:
            # Nothing is read from outside, and no test stops the sums.
            inside = tirx.min(at, tile.count - 1) if width > tile.count else at
            value = evaluated(n, block, i, j, inside, depth)
            return te.sum(value * weight(i, j, panel, depth, lane), [depth])

        width = -(-tile.count // tile.product.width) * tile.product.width
        before = (*self._blocks, tile.edge, tile.edge)
        said = [tile.size, tile.rows, tile.product.width, lanes]
        sums = te.compute(
            (*before, width, self._panels, lanes), total, name="sums", attrs={WINOGRAD: said}
        )

        def product(*index: Any) -> Any:
            *place, channel = index
            return sums(*place, tirx.floordiv(channel, lanes), tirx.floormod(channel, lanes))

        return te.compute((*before, tile.count, self._panels * lanes), product, name="products")

    def _result(self, products: Tensor) -> Tensor:
        tile, size = self.tile, self.tile.size

        def one(n: Any, block: Any, at: Any, y: Any, j: Any, channel: Any) -> Any:
            line = _interpolated(lambda i: products(n, block, i, j, at, channel), self.points)
            return _chosen(y, line)

        shape = (*self._blocks, tile.count, size, tile.edge, self.out[-1])
        rows = te.compute(shape, one, name="rows")

        def both(n: Any, block: Any, at: Any, y: Any, x: Any, channel: Any) -> Any:
            line = _interpolated(lambda j: rows(n, block, at, y, j, channel), self.points)
            return _chosen(x, line)

        shape = (*self._blocks, tile.count, size, size, self.out[-1])
        tiles = te.compute(shape, both, name="tiles")

        def element(n: Any, y: Any, x: Any, channel: Any) -> Any:
            row, inner = tirx.floordiv(y, size), (tirx.floormod(y, size), tirx.floormod(x, size))
            block, own = tirx.floordiv(row, tile.rows), tirx.floormod(row, tile.rows)
            return tiles(n, block, own * tile.across + tirx.floordiv(x, size), *inner, channel)

        return te.compute(self.out, element, name="product")


def _evaluation(points: Sequence[float]) -> np.ndarray:
    """Return the matrix (points, 3) of the values of a window's three taps (Lavin's G).

    The factors that interpolation needs are in it.
    """
    all_points = [0.0, *(sign * point for point in points for sign in (1, -1))]
    scales = [np.prod([a - b for b in all_points if b != a]) for a in all_points]
    rows = [
        [point**power / scale for power in range(3)]
        for point, scale in zip(all_points, scales, strict=True)
    ]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def _values(data: _Line, points: Sequence[float]) -> list[Expr]:
    """Return what stands for the values of one line of data at the points (Lavin's B^T data)."""
    whole = _factors(points)
    result = [_weighted(whole, data, 0)]
    for point in points:
        others = _factors([other for other in points if other != point])
        even, odd = _weighted(others, data, 2), _times(point, _weighted(others, data, 1))
        result += [even + odd, even - odd]
    return [*result, _weighted(whole, data, 1)]


def _factors(points: Sequence[float]) -> list[float]:
    """Return the factors of the product of (x^2 - a^2), those of low powers first."""
    factors = np.atleast_1d(np.poly([point * point for point in points]))
    return [float(factor) for factor in factors[::-1]]


def _weighted(factors: Sequence[float], line: _Line, first: int) -> Expr:
    """Return the sum of every second number, each times a factor; the last factor is 1."""
    *others, _ = factors
    total = line(first + 2 * len(others))
    for k, factor in enumerate(others):
        total = total + _times(factor, line(first + 2 * k))
    return total


def _interpolated(products: _Line, points: Sequence[float]) -> list[Expr]:
    """Return one line of a tile of the output from products at the points (Lavin's A^T m)."""
    pairs = [(products(2 * k + 1), products(2 * k + 2)) for k in range(len(points))]
    sums, differences = [a + b for a, b in pairs], [a - b for a, b in pairs]
    size = 2 * len(points)
    result = []
    for power in range(size):
        total = products(0) if power == 0 else products(size + 1) if power == size - 1 else None
        for point, each in zip(points, differences if power % 2 else sums, strict=True):
            part = each if point**power == 1 else _times(point**power, each)
            total = part if total is None else total + part
        result.append(total)
    return result


def _chosen(at: Any, items: Sequence[Expr]) -> Expr:
    """Return the item of a place that is known once loops are written out."""
    *others, result = items
    for k, item in reversed(list(enumerate(others))):
        result = tirx.Select(at == k, item, result)
    return result


def _times(factor: float, value: Expr) -> Expr:
    return tirx.const(factor, str(value.ty.dtype)) * value
