"""The cost of Einsum: its equation read, and contracted pairwise from left to right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_ELLIPSIS: Final = "..."


def _labels(term: str, rank: int) -> list[str]:
    """Return one label per dimension; those of an ellipsis are numbered from the right."""
    if _ELLIPSIS not in term:
        return list(term)
    before, after = term.split(_ELLIPSIS)
    hidden = rank - len(before) - len(after)
    return [*before, *(f"...{index}" for index in range(hidden, 0, -1)), *after]


def _implicit(terms: Sequence[Sequence[str]]) -> list[str]:
    """Return the output without an arrow: the ellipsis, then what occurs once, sorted."""
    every = [label for term in terms for label in term]
    hidden = sorted({label for label in every if label.startswith(_ELLIPSIS)}, reverse=True)
    return hidden + sorted({label for label in every if every.count(label) == 1} - set(hidden))


def einsum_macs(equation: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the multiplications (or, of one operand, the additions) of a checked Einsum.

    Two operands at a time, from the left, as ONNX Runtime does it: a step costs the product of the
    extents of all labels in it, and sums away those that nothing after it names. One operand that
    is only permuted costs nothing.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    written = left.split(",")
    terms = [_labels(term, len(shape)) for term, shape in zip(written, shapes, strict=True)]
    extent: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, size in zip(term, shape, strict=True):
            extent[label] = max(extent.get(label, 1), size) if size else 0
    hidden = max((sum(label.startswith(_ELLIPSIS) for label in term) for term in terms), default=0)
    output = _labels(right, len(right) - 3 + hidden) if arrow else _implicit(terms)
    if len(terms) == 1:
        summed = set(terms[0]) != set(output)
        return math.prod(extent[label] for label in set(terms[0])) if summed else 0
    total, kept = 0, set(terms[0])
    for index, term in enumerate(terms[1:], start=2):
        joined = kept | set(term)
        total += math.prod(extent[label] for label in joined)
        kept = joined & {*output, *(label for later in terms[index:] for label in later)}
    return total
