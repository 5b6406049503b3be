"""How a layout goes through a Reshape: axes that are split or merged stay together."""

from __future__ import annotations

from collections.abc import Sequence

from .layout.layouts import Layout

_Group = tuple[list[int], list[int]]


def regroup(before: Sequence[int], after: Sequence[int], layout: Layout) -> Layout | None:
    """Return the layout of the reshaped tensor when its source is stored in `layout`.

    Reshaping the stored source to the stored result's shape then moves no element:
    ``transpose(reshape(x, after), result) == reshape(transpose(x, layout), stored shape)``.

    Returns:
        None when there is no such layout: a group of axes that is split or merged does not stay
        together and in order, or the tensor is empty.
    """
    groups = _groups(before, after)
    if groups is None:
        return None
    position = {axis: place for place, axis in enumerate(layout)}
    placed = []
    for sources, results in groups:
        places = [position[axis] for axis in sources]
        between = layout[places[0] : places[-1] + 1]
        if places != sorted(places) or any(
            before[axis] != 1 and axis not in sources for axis in between
        ):
            return None
        placed.append((places[0], results))
    order = [axis for _, results in sorted(placed) for axis in results]
    return _with_ones(after, order)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[_Group] | None:
    """Return the smallest runs of axes wider than 1 whose sizes multiply to the same."""
    if 0 in before or 0 in after:
        return None
    sources = [axis for axis, size in enumerate(before) if size != 1]
    results = [axis for axis, size in enumerate(after) if size != 1]
    groups: list[_Group] = []
    while sources or results:
        group: _Group = ([], [])
        left = right = 1
        while left != right or not group[0]:
            if left <= right:
                if not sources:
                    return None
                left *= before[sources[0]]
                group[0].append(sources.pop(0))
            else:
                if not results:
                    return None
                right *= after[results[0]]
                group[1].append(results.pop(0))
        groups.append(group)
    return groups


def _with_ones(shape: Sequence[int], order: list[int]) -> Layout:
    """Return the order with every axis of size 1 after the axis it stands after in the shape."""
    full: list[int] = []
    axis = 0
    while axis < len(shape) and shape[axis] == 1:
        full.append(axis)
        axis += 1
    for wide in order:
        full.append(wide)
        axis = wide + 1
        while axis < len(shape) and shape[axis] == 1:
            full.append(axis)
            axis += 1
    return tuple(full)
