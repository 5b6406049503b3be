"""What a window reads: of convolutions, poolings and matrix products alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from tvm import te, topi

from .call import Shape
from .tiles import Index, Tensor

#: How layouts spell the axes of the space, by their number.
SPACE = {1: "W", 2: "HW", 3: "DHW"}


@dataclasses.dataclass(frozen=True)
class Window:
    """The window of one node, every attribute explicit; one number for each axis of the space."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    begin: Shape
    end: Shape
    group: int = 1
    channels_last: bool = False

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def is_known(self) -> bool:
        """Whether `schedules` knows convolutions with such a window."""
        return self.channels_last

    @property
    def is_padded(self) -> bool:
        return any((*self.begin, *self.end))

    @property
    def extents(self) -> Shape:
        """How far one window reaches."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def layout(self) -> str:
        space = SPACE[self.rank]
        return f"N{space}C" if self.channels_last else f"NC{space}"

    def reach(self, places: Sequence[int]) -> Shape:
        """Return how far so many windows along each axis reach, from the first pad on."""
        return tuple(
            (count - 1) * stride + extent
            for count, stride, extent in zip(places, self.strides, self.extents, strict=True)
        )

    def space(self, shape: Shape) -> Shape:
        """Return the extents of a tensor without batch and channels."""
        return shape[1:-1] if self.channels_last else shape[2:]


def with_pads(x: Tensor, window: Window, fill: int = 0) -> Tensor:
    """Return the data of a kernel with pads, which hold the number that stands for zero."""
    if not window.is_padded:
        return x
    none = (0,) * (1 if window.channels_last else 2)
    last = (0,) * (2 - len(none))
    before, after = ([*none, *pads, *last] for pads in (window.begin, window.end))
    return topi.nn.pad(x, before, after, float(fill), name="padded")


def taps_of(window: Window) -> list[Any]:
    """Return the axes that a kernel sums over, one for each axis of the space."""
    return [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(window.kernel)]


def read_window(x: Tensor, window: Window, index: Index, channel: Any, taps: Index) -> Any:
    """Return the element of the padded data that a tap of the window at an index meets."""
    space = [
        place * stride + tap * dilation
        for place, stride, tap, dilation in zip(
            window.space(tuple(index)), window.strides, taps, window.dilations, strict=True
        )
    ]
    return x(index[0], *space, channel) if window.channels_last else x(index[0], channel, *space)
