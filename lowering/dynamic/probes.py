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
    taken = {dim for dims in ranges.inputs.values() for dim in dims if isinstance(dim, int)} | {1}
    picked: list[tuple[int, int, int]] = []
    for dimension, step in zip(ranges.dimensions, steps, strict=True):
        found = _three(dimension, step, taken)
        taken |= set(found)
        picked.append(found)
    names = [dimension.name for dimension in ranges.dimensions]
    base = dict(zip(names, (first for first, _, _ in picked), strict=True))
    alone = [base | {name: found[1]} for name, found in zip(names, picked, strict=True)]
    return [base, *alone, dict(zip(names, (last for _, _, last in picked), strict=True))]


def _three(dimension: Dimension, step: int, taken: set[int]) -> tuple[int, int, int]:
    """Return three sizes, the nearest to the usual one first, whose distances differ.

    At equal distances a rounded fraction of a size can look like a whole multiple of it.
    """
    usual, chosen = dimension.usual, list[int]()
    for size in _candidates(dimension, step, usual):
        if size in taken:
            continue
        if len(chosen) == 2 and abs(size - chosen[1]) == abs(chosen[1] - chosen[0]):
            continue
        chosen.append(size)
        if len(chosen) == 3:
            break
    first, second, third = chosen
    return first, second, third


def _candidates(dimension: Dimension, step: int, usual: int) -> Iterator[int]:
    """Yield the sizes in the range, from the usual one outwards, then those beyond it, no end."""
    inside = range(-(-dimension.least // step) * step, dimension.most + 1, step)
    yield from sorted(inside, key=lambda size: (abs(size - usual), size))
    size = (dimension.most // step + 1) * step
    while True:
        yield size
        size += step


def sizes_text(sizes: Sizes) -> str:
    """Return sizes for a message: ``batch=3, height=64``."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
