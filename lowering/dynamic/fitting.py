"""A whole number that was seen at several probes, as a function of the varying dimensions.

What is known of it is one number for each probe. The functions tried, simplest first: a constant;
a sum of whole multiples of dimensions of the inputs, and a constant; a product of several of them;
a whole multiple of a dimension of a tensor inside of the graph, which stands for whatever led to
its size (a pooling rounds down or up); and, where the sizes are multiples of some step, a multiple
by a fraction.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import onnx_ir as ir

from .ranges import Sizes

#: One number for each probe.
Seen = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Affine:
    """The sum of factor x dimension, and an offset; exact where it is used."""

    terms: tuple[tuple[str, Fraction], ...]
    offset: Fraction

    def at(self, sizes: Sizes) -> Fraction:
        return self.offset + sum(factor * sizes[name] for name, factor in self.terms)


@dataclasses.dataclass(frozen=True)
class Product:
    """A whole factor times several dimensions of the inputs."""

    names: tuple[str, ...]
    factor: int

    def at(self, sizes: Sizes) -> Fraction:
        return Fraction(self.factor * math.prod(sizes[name] for name in self.names))


@dataclasses.dataclass(frozen=True, eq=False)
class Inner:
    """A whole factor times a dimension of a tensor of the graph."""

    value: ir.Value
    axis: int
    factor: int


Expression = Affine | Product | Inner


@dataclasses.dataclass(frozen=True)
class Fitting:
    """Finds the functions; `probes` is what `probes.probes` gives.

    Attributes:
        inner: dimensions of tensors inside of the graph, by what they were at the probes.
        steps: what the sizes of each dimension are multiples of: so may the factors be fractions.
    """

    probes: Sequence[Sizes]
    inner: Mapping[Seen, tuple[ir.Value, int]]
    steps: Mapping[str, int]

    def fit(self, seen: Seen) -> Expression | None:
        """Return the simplest function that gives what was seen; None if there is none."""
        affine = self._affine(seen)
        if affine is not None and all(f.denominator == 1 for _, f in affine.terms):
            return affine
        found = self._product(seen) or self._inside(seen)
        return found or (affine if affine is not None and self._is_exact(affine) else None)

    def _is_exact(self, found: Affine) -> bool:
        """Whether every term is a whole number, whatever the sizes."""
        return all(self.steps[name] % factor.denominator == 0 for name, factor in found.terms)

    def _affine(self, seen: Seen) -> Affine | None:
        base, names = self.probes[0], list(self.probes[0])
        factors = [
            Fraction(number - seen[0], probe[name] - base[name])
            for name, probe, number in zip(names, self.probes[1:-1], seen[1:-1], strict=True)
        ]
        terms = tuple((name, factor) for name, factor in zip(names, factors, strict=True) if factor)
        offset = seen[0] - sum((factor * base[name] for name, factor in terms), Fraction(0))
        found = Affine(terms, offset)
        whole = offset.denominator == 1
        return found if whole and self._agrees(found, seen) else None

    def _product(self, seen: Seen) -> Product | None:
        names = list(self.probes[0])
        for count in range(2, len(names) + 1):
            for chosen in itertools.combinations(names, count):
                size = math.prod(self.probes[0][name] for name in chosen)
                if seen[0] % size == 0:
                    found = Product(chosen, seen[0] // size)
                    if self._agrees(found, seen):
                        return found
        return None

    def _inside(self, seen: Seen) -> Inner | None:
        for dims, (value, axis) in self.inner.items():
            factor = seen[0] // dims[0]
            if factor and all(
                number == factor * dim for number, dim in zip(seen, dims, strict=True)
            ):
                return Inner(value, axis, factor)
        return None

    def _agrees(self, found: Affine | Product, seen: Seen) -> bool:
        return all(found.at(sizes) == n for sizes, n in zip(self.probes, seen, strict=True))
