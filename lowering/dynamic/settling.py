"""What varies in a model's inputs: what the user says of them, held against the file and itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ...errors import Problem, UsageError
from .ranges import (
    Dimension,
    Given,
    Interval,
    Ranges,
    ShapeRange,
    as_text,
    is_dynamic,
    ranges_in,
    single,
)

#: The dimensions of an input in the file: sizes, names, None where there is neither.
Declared = Sequence[int | str | None] | None


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
    count = max(len(ranges_in(item)) for item in given.values())
    problems = list(_miscounted(given, count))
    rows: dict[str, list[list[Interval]]] = {}
    for name, item in given.items():
        plain = single(item)
        if not all(plain):
            problems.append(Problem(f"--shape {name}={as_text(plain)}", "has a dimension of 0"))
            continue
        said = ranges_in(item) or [ShapeRange(plain, plain, plain)]
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


def _varies(intervals: Sequence[Interval]) -> bool:
    return len({size for interval in intervals for size in interval}) > 1


def _said(intervals: Sequence[Interval]) -> str:
    parts = (str(a) if a == c else f"{a}..{c}@{b}" for a, b, c in intervals)
    return ", ".join(dict.fromkeys(parts))


def _miscounted(given: Mapping[str, Given], count: int) -> Iterator[Problem]:
    """Yield the inputs with a number of ranges that is neither one nor that of the profiles."""
    for name, item in given.items():
        if len(ranges_in(item)) not in (0, 1, count):
            yield Problem(
                f"--shape {name}",
                f"has {len(ranges_in(item))} ranges, another input has {count}",
                "give one range for each profile, or one that holds in all",
            )
