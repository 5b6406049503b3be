"""At which single sizes a model is looked at, to tell how it depends on the varying dimensions.

Passes treat a dimension of 1 apart (an Expand is folded away, a Transpose becomes a Reshape), so a
probe is never 1 where anything else is possible, and not the size of another input's dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ranges import Dimension, Ranges, Sizes


def probes(ranges: Ranges, steps: Sequence[int]) -> list[dict[str, int]]:
    """Return sizes to look at: first a base, then one dimension changed at a time, then all.

    So a function that is affine in each dimension follows from all but the last, which tells
    whether it is one. The sizes lie inside of the ranges, near to what they are tuned for, as long
    as the ranges have enough of them.

    Args:
        steps: for each dimension, what its sizes are multiples of.
    """
    fixed = {dim for dims in ranges.inputs.values() for dim in dims if isinstance(dim, int)} | {1}
    picked: list[tuple[int, int, int]] = []
    for dimension, step in zip(ranges.dimensions, steps, strict=True):
        base = {first for first, _, _ in picked}
        second, third = {item for _, item, _ in picked}, {item for _, _, item in picked}
        picked.append(_three(dimension, step, fixed | base | second, fixed | base, fixed | third))
    names = [dimension.name for dimension in ranges.dimensions]
    sizes = dict(zip(names, (first for first, _, _ in picked), strict=True))
    alone = [sizes | {name: found[1]} for name, found in zip(names, picked, strict=True)]
    return [sizes, *alone, dict(zip(names, (last for _, _, last in picked), strict=True))]


def _three(dimension: Dimension, step: int, *taken: set[int]) -> tuple[int, int, int]:
    """Return the size nearest to the usual one, its neighbour, and one far away.

    So what rounds a fraction of the size changes between the first two by another slope than it
    does up to the third, and is not taken for a whole multiple, or for a constant.

    Args:
        taken: what the first, the second and the third must not be.
    """
    first = next(size for size in _candidates(dimension, step) if size not in taken[0])
    near = _some(dimension, step, taken[1] | {first})
    second = min(near, key=lambda size: (size > dimension.most, abs(size - first)))
    far = _some(dimension, step, taken[2] | {first, second})
    inside = [size for size in far if size <= dimension.most] or far[:1]
    return first, second, max(inside, key=lambda size: abs(size - first))


def _some(dimension: Dimension, step: int, taken: set[int]) -> list[int]:
    """Return the sizes of the range that are not taken, and one beyond it."""
    found = []
    for size in _candidates(dimension, step):
        if size not in taken:
            found.append(size)
            if size > dimension.most:
                break
    return found


def _candidates(dimension: Dimension, step: int) -> Iterator[int]:
    """Yield the sizes in the range, from the usual one outwards, then those beyond it, no end."""
    inside = range(-(-dimension.least // step) * step, dimension.most + 1, step)
    yield from sorted(inside, key=lambda size: (abs(size - dimension.usual), size))
    size = (dimension.most // step + 1) * step
    while True:
        yield size
        size += step


def sizes_text(sizes: Sizes) -> str:
    """Return sizes for a message: ``batch=3, height=64``."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
