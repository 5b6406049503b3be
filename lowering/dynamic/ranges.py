"""Which sizes the dimensions of a model's inputs may have: optimization profiles, and their names.

Everything in the house works on static shapes; what is said here is which of them one engine has
to serve. A profile gives each input a least, a usual and a largest shape.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

#: The size of each varying dimension, by its name.
Sizes = Mapping[str, int]

#: A dimension's least, usual and largest size in one profile.
Interval = tuple[int, int, int]

_EXAMPLE: Final = "write INPUT=1x3x224x224..8x3x512x512@4x3x224x224"


@dataclasses.dataclass(frozen=True)
class ShapeRange:
    """The shapes that one input may have in one profile; `opt` is what the engine is tuned for."""

    min: Shape
    opt: Shape
    max: Shape

    def __post_init__(self) -> None:
        """Raise ValueError where no shape, or not `opt`, lies between `min` and `max`."""
        if not len(self.min) == len(self.opt) == len(self.max):
            raise ValueError(f"{self} has shapes of different ranks; {_EXAMPLE}")
        for axis, (least, usual, most) in enumerate(self.intervals):
            if not 1 <= least <= usual <= most:
                order = f"{least} (min), {usual} (opt), {most} (max)"
                raise ValueError(f"{self}: dimension {axis} is {order}, not in ascending order")

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Least, usual and largest size of each dimension."""
        return tuple(zip(self.min, self.opt, self.max, strict=True))

    def __str__(self) -> str:
        return f"{as_text(self.min)}..{as_text(self.max)}@{as_text(self.opt)}"


#: What a user says of one input: a shape, a range, or one range for each profile.
Given = Shape | ShapeRange | Sequence[ShapeRange]


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A dimension of the inputs that varies.

    Attributes:
        name: what the file calls it, or ``INPUT_AXIS``.
        intervals: its sizes in each profile.
    """

    name: str
    intervals: tuple[Interval, ...]

    @property
    def least(self) -> int:
        return min(least for least, _, _ in self.intervals)

    @property
    def most(self) -> int:
        return max(most for _, _, most in self.intervals)

    @property
    def usual(self) -> int:
        """The size that the first profile is tuned for."""
        return self.intervals[0][1]

    @property
    def step(self) -> int:
        """The greatest common divisor of all sizes that the user wrote."""
        return math.gcd(*(size for interval in self.intervals for size in interval))


@dataclasses.dataclass(frozen=True)
class Ranges:
    """What varies in the shapes of a model's inputs.

    Attributes:
        inputs: the dimensions of each input whose shape is settled here: sizes, and names of
            varying dimensions.
        dimensions: those that vary, in the order of the inputs.
    """

    inputs: Mapping[str, tuple[int | str, ...]]
    dimensions: tuple[Dimension, ...]

    def shapes(self, sizes: Sizes) -> Shapes:
        """Return the shape of every input where the varying dimensions have these sizes."""
        return {
            name: tuple(sizes[dim] if isinstance(dim, str) else dim for dim in dims)
            for name, dims in self.inputs.items()
        }

    @property
    def base(self) -> Shapes:
        """What the first profile is tuned for: the shapes of all that is static in the house."""
        return self.shapes({item.name: item.usual for item in self.dimensions})

    def tied(self) -> Ranges:
        """Return the ranges with those dimensions as one that stand at one axis of several inputs.

        Their intervals have to be the same.
        """
        places = {
            dim: axis
            for dims in self.inputs.values()
            for axis, dim in enumerate(dims)
            if isinstance(dim, str)
        }
        firsts: dict[tuple[int, tuple[Interval, ...]], Dimension] = {}
        for item in self.dimensions:
            firsts.setdefault((places[item.name], item.intervals), item)
        names = {
            item.name: firsts[places[item.name], item.intervals].name for item in self.dimensions
        }
        inputs = {
            name: tuple(names[dim] if isinstance(dim, str) else dim for dim in dims)
            for name, dims in self.inputs.items()
        }
        return Ranges(inputs, tuple(firsts.values()))

    def only(self, profiles: Sequence[int]) -> Ranges:
        """Return the ranges of some of the profiles."""
        chosen = (
            dataclasses.replace(item, intervals=tuple(item.intervals[k] for k in profiles))
            for item in self.dimensions
        )
        return dataclasses.replace(self, dimensions=tuple(chosen))

    def capped(self, profile: int, name: str, most: int) -> Ranges:
        """Return the ranges with one dimension no larger than `most` in one profile."""

        def cap(intervals: tuple[Interval, ...]) -> tuple[Interval, ...]:
            least, usual, _ = intervals[profile]
            return (
                *intervals[:profile],
                (least, min(usual, most), most),
                *intervals[profile + 1 :],
            )

        chosen = (
            dataclasses.replace(item, intervals=cap(item.intervals)) if item.name == name else item
            for item in self.dimensions
        )
        return dataclasses.replace(self, dimensions=tuple(chosen))

    @functools.cached_property
    def profiles(self) -> tuple[dict[str, ShapeRange], ...]:
        """The optimization profiles: a range for every input."""
        return tuple(
            {name: ShapeRange(*(corner[name] for corner in corners)) for name in self.inputs}
            for corners in map(self._corners, range(len(self.dimensions[0].intervals)))
        )

    def _corners(self, profile: int) -> tuple[Shapes, ...]:
        """The least, the usual and the largest shapes in one profile."""
        return tuple(
            self.shapes({item.name: item.intervals[profile][which] for item in self.dimensions})
            for which in range(3)
        )

    @property
    def corners(self) -> list[Shapes]:
        """The least, the usual and the largest shapes of every profile, each once."""
        every = (corner for k in range(len(self.profiles)) for corner in self._corners(k))
        return list({tuple(corner.items()): corner for corner in every}.values())


def is_dynamic(given: Mapping[str, Given]) -> bool:
    """Whether any input is given a range."""
    return any(ranges_in(item) for item in given.values())


def as_text(shape: Iterable[object]) -> str:
    """Return a shape as users write it: ``1x3x224x224``."""
    return "x".join(map(str, shape))


def as_arguments(shapes: Mapping[str, Shape | ShapeRange]) -> str:
    """Return shapes or ranges of inputs as users write them: ``x=1x8..4x8@2x8, y=1x3``."""
    return ", ".join(
        f"{name}={item if isinstance(item, ShapeRange) else as_text(item)}"
        for name, item in shapes.items()
    )


def ranges_in(item: Given) -> Sequence[ShapeRange]:
    """Return the ranges that are given for an input; none if a shape is."""
    several = (item,) if isinstance(item, ShapeRange) else item
    return [one for one in several if isinstance(one, ShapeRange)]


def singles(given: Mapping[str, Given]) -> Shapes:
    """Return the shapes of inputs none of which `is_dynamic`."""
    return {name: single(item) for name, item in given.items()}


def single(item: Given) -> Shape:
    """Return the shape that is given for an input; an empty one if ranges are."""
    if isinstance(item, ShapeRange):
        return ()
    return tuple(size for size in item if isinstance(size, int))
