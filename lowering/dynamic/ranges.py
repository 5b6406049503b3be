"""Which sizes the dimensions of a model's inputs may have: optimization profiles, and their names.

Everything in the house works on static shapes; what is said here is which of them one engine has
to serve. A profile gives each input a least, a usual and a largest shape.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ...errors import Problem, UsageError

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

#: The size of each varying dimension, by its name.
Sizes = Mapping[str, int]

#: The dimensions of an input in the file: sizes, names, None where there is neither.
Declared = Sequence[int | str | None] | None

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
    return any(_ranges(item) for item in given.values())


def ranges_of(given: Mapping[str, Given], declared: Mapping[str, Declared]) -> Ranges | None:
    """Settle what varies; None if nothing does.

    The i-th range of an input belongs to profile i; what is said of an input once holds in every
    profile. Dimensions of one name in the file are one. An input that is not given follows the
    names; an unnamed first dimension of it is 1.

    Args:
        declared: the dimensions of the model's inputs, as the file has them.

    Raises:
        UsageError: ranges contradict the file or each other; all are named.
    """
    if not is_dynamic(given):
        return None
    count = max(len(_ranges(item)) for item in given.values())
    problems = list(_miscounted(given, count))
    rows: dict[str, list[list[Interval]]] = {}
    for name, item in given.items():
        plain = single(item)
        if not all(plain):
            problems.append(Problem(f"--shape {name}={as_text(plain)}", "has a dimension of 0"))
            continue
        said = _ranges(item) or [ShapeRange(plain, plain, plain)]
        said = list(said) * (count if len(said) == 1 else 1)
        if len({len(one.opt) for one in said}) > 1:
            problems.append(Problem(f"--shape {name}", "has ranges of different ranks"))
        elif name in declared:
            rows[name] = [list(column) for column in zip(*(r.intervals for r in said), strict=True)]
    found = _Settling(declared)
    for name, row in rows.items():
        found.settle(name, row)
    problems += found.problems
    if problems:
        raise UsageError("the shapes of the model's inputs do not work out", problems)
    return found.ranges()


class _Settling:
    """Gives every dimension of every input a size, or a name and its intervals."""

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        self.problems: list[Problem] = []
        self._declared = declared
        self._named: dict[str, tuple[str, tuple[Interval, ...]]] = {}
        self._inputs: dict[str, tuple[int | str, ...]] = {}
        self._taken = {
            dim for dims in declared.values() for dim in dims or () if isinstance(dim, str)
        }

    def settle(self, name: str, row: Sequence[Sequence[Interval]]) -> None:
        """Take over what the user says of one input: the intervals of each of its dimensions."""
        declared = self._declared[name]
        if declared is not None and len(declared) != len(row):
            what = f"has {len(row)} dimensions; the input has {len(declared)}"
            self.problems.append(Problem(f"--shape {name}", what))
            return
        dims: list[int | str] = []
        for axis, intervals in enumerate(row):
            dim = declared[axis] if declared is not None else None
            dims.append(self._dimension(name, axis, dim, tuple(intervals)))
        self._inputs[name] = tuple(dims)

    def _dimension(
        self, name: str, axis: int, dim: int | str | None, intervals: tuple[Interval, ...]
    ) -> int | str:
        where, said = f"--shape {name}", _said(intervals)
        if isinstance(dim, int) and any(size != dim for item in intervals for size in item):
            what = f"dimension {axis} is {dim} in the model, not {said}"
            fix = "export the model with a symbolic dimension there" if _varies(intervals) else ""
            self.problems.append(Problem(where, what, fix))
        if isinstance(dim, str):
            first, known = self._named.setdefault(dim, (name, intervals))
            if known != intervals:
                what = f"dimension {axis} ({dim}) is {said}, but {_said(known)} in {first!r}"
                self.problems.append(Problem(where, what, "give both the same range"))
        if not _varies(intervals):
            return intervals[0][0]
        chosen = dim if isinstance(dim, str) else self._fresh(name, axis)
        self._named.setdefault(chosen, (name, intervals))
        return chosen

    def _fresh(self, name: str, axis: int) -> str:
        base = f"{re.sub('[^0-9A-Za-z_]', '_', name)}_{axis}"
        found = next(
            text
            for text in (base + "_" * k for k in range(len(self._taken) + 1))
            if text not in self._taken
        )
        self._taken.add(found)
        return found

    def ranges(self) -> Ranges | None:
        """Return what was settled, with the inputs that follow by their names."""
        inputs = {
            name: dims
            for name in self._declared
            if (dims := self._inputs.get(name) or self._followed(name)) is not None
        }
        used = dict.fromkeys(
            dim for dims in inputs.values() for dim in dims if isinstance(dim, str)
        )
        dimensions = tuple(Dimension(name, self._named[name][1]) for name in used)
        return Ranges(inputs, dimensions) if dimensions else None

    def _followed(self, name: str) -> tuple[int | str, ...] | None:
        """Return the dimensions of an input that is not given; None: the importer says the lack."""
        found: list[int | str] = []
        for axis, dim in enumerate(self._declared[name] or ()):
            if isinstance(dim, str) and dim in self._named:
                intervals = self._named[dim][1]
                found.append(dim if _varies(intervals) else intervals[0][0])
            elif isinstance(dim, int) or axis == 0:
                found.append(dim if isinstance(dim, int) else 1)
            else:
                return None
        return None if self._declared[name] is None else tuple(found)


def as_text(shape: Iterable[object]) -> str:
    """Return a shape as users write it: ``1x3x224x224``."""
    return "x".join(map(str, shape))


def as_arguments(shapes: Mapping[str, Shape | ShapeRange]) -> str:
    """Return shapes or ranges of inputs as users write them: ``x=1x8..4x8@2x8, y=1x3``."""
    return ", ".join(
        f"{name}={item if isinstance(item, ShapeRange) else as_text(item)}"
        for name, item in shapes.items()
    )


def _ranges(item: Given) -> Sequence[ShapeRange]:
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


def _varies(intervals: Sequence[Interval]) -> bool:
    return len({size for interval in intervals for size in interval}) > 1


def _said(intervals: Sequence[Interval]) -> str:
    parts = (str(a) if a == c else f"{a}..{c}@{b}" for a, b, c in intervals)
    return ", ".join(dict.fromkeys(parts))


def _miscounted(given: Mapping[str, Given], count: int) -> Iterator[Problem]:
    """Yield the inputs with a number of ranges that is neither one nor that of the profiles."""
    for name, item in given.items():
        if len(_ranges(item)) not in (0, 1, count):
            yield Problem(
                f"--shape {name}",
                f"has {len(_ranges(item))} ranges, another input has {count}",
                "give one range for each profile, or one that holds in all",
            )
