"""Read arithmetic with scalar constants as a polynomial, whatever the order it is written in.

x * 0.5 * (1 + erf(x / 1.414)) has dozens of spellings; over the values x and e = erf(...) all are
the polynomial 0.5 x + 0.5 x e. So a pass compares polynomials, not spellings.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

import onnx_ir as ir

from .matching import TOLERANCES, is_close, is_op, scalar_of, shape_of, sole_user

#: A product of values: each with its power. The empty one stands for the constant term.
Monomial = frozenset[tuple[ir.Value, int]]
Terms = dict[Monomial, float]

#: How deep an expression is read, and how many terms it may have: more than any pattern needs.
_DEPTH: Final = 6
_TERMS: Final = 8

#: How many operators may follow a function before the pattern it belongs to ends.
_CLIMB: Final = 6


def term(*values: ir.Value) -> Monomial:
    """Return the product of these values."""
    return frozenset(collections.Counter(values).items())


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """The terms of a value, and the nodes that compute them.

    Attributes:
        value: what the polynomial equals.
        terms: coefficients other than 0.
        nodes: the arithmetic that was read; a node below the first has no other user.
    """

    value: ir.Value
    terms: Mapping[Monomial, float]
    nodes: tuple[ir.Node, ...]

    def equals(self, expected: Mapping[Monomial, float]) -> bool:
        """Whether these are the terms, as exactly as constants of the dtype can say."""
        return self.terms.keys() == expected.keys() and all(
            is_close(figure, expected[key], self.value.dtype) for key, figure in self.terms.items()
        )

    def line(self) -> tuple[ir.Value, float, float] | None:
        """Return x, a, b if the polynomial is a x + b of one value; b may be 0, a not."""
        slopes = [key for key in self.terms if key]
        if len(slopes) != 1 or len(slopes[0]) != 1:
            return None
        ((value, power),) = slopes[0]
        offset = self.terms.get(term(), 0.0)
        return (value, self.terms[slopes[0]], offset) if power == 1 else None


def read(
    value: ir.Value, leaves: Collection[ir.Value] = (), depth: int = _DEPTH
) -> Polynomial | None:
    """Return a value as a polynomial of others.

    Read are Add, Sub, Mul, Neg, Sum, Div by a constant and Pow to a small power; scalar constants
    are numbers. A value becomes a variable if it is among `leaves`, computed by anything else, too
    deep, or, but for the first, has several users: it is needed anyway.

    Returns:
        None if the value is not floating-point or the polynomial has too many terms.
    """
    if value.dtype not in TOLERANCES:
        return None
    nodes: list[ir.Node] = []
    terms = _read(value, frozenset(leaves), depth, nodes)
    return None if terms is None else Polynomial(value, terms, tuple(nodes))


def climb(start: ir.Value, leaves: Collection[ir.Value]) -> Iterator[Polynomial]:
    """Yield the polynomials over `leaves` of what is computed from `start` alone, nearest first.

    `start` is one of the leaves. Only polynomials of the shape of `start` are yielded, and each
    after the first has one user more in between, with no other use of the values passed.
    """
    value = start
    for _ in range(_CLIMB):
        user = sole_user(value)
        if user is None or user.op_type not in _RULES or user.domain != "":
            return
        value = user.outputs[0]
        found = read(value, leaves)
        if found is None:
            return
        used = {item for key in found.terms for item, _ in key}
        if used <= set(leaves) and shape_of(value) == shape_of(start):
            yield found


def _read(
    value: ir.Value, leaves: frozenset[ir.Value], depth: int, nodes: list[ir.Node]
) -> Terms | None:
    number = scalar_of(value)
    if number is not None:
        return {term(): number} if number else {}
    node = value.producer()
    if (
        node is None
        or value in leaves
        or depth == 0
        or not is_op(node, *_RULES)
        or len(node.inputs) > _TERMS
        or (nodes and sole_user(value) is None)
    ):
        return {term(value): 1.0}
    mark = len(nodes)
    nodes.append(node)
    operands = [
        None if operand is None else _read(operand, leaves, depth - 1, nodes)
        for operand in node.inputs
    ]
    given = [operand for operand in operands if operand is not None]
    if len(given) != len(operands):
        return None
    terms = _RULES[node.op_type](given)
    if terms is None:
        del nodes[mark:]
        return {term(value): 1.0}
    return terms if len(terms) <= _TERMS else None


def _sum(operands: list[Terms]) -> Terms:
    total: Terms = {}
    for operand in operands:
        for key, figure in operand.items():
            total[key] = total.get(key, 0.0) + figure
    return {key: figure for key, figure in total.items() if figure}


def _scaled(operand: Terms, factor: float) -> Terms:
    return {key: figure * factor for key, figure in operand.items()} if factor else {}


def _product(left: Terms, right: Terms) -> Terms:
    return _sum(
        [
            {_joined(one, other): figure * factor}
            for one, figure in left.items()
            for other, factor in right.items()
        ]
    )


def _joined(one: Monomial, other: Monomial) -> Monomial:
    powers = collections.Counter(dict(one))
    powers.update(dict(other))
    return frozenset(powers.items())


def _number(operand: Terms) -> float | None:
    """Return the constant that an operand is."""
    return operand.get(term(), 0.0) if operand.keys() <= {term()} else None


def _quotient(operands: list[Terms]) -> Terms | None:
    divisor = _number(operands[1])
    return _scaled(operands[0], 1 / divisor) if divisor else None


def _power(operands: list[Terms]) -> Terms | None:
    exponent = _number(operands[1])
    if exponent not in (1, 2, 3):
        return None
    result = operands[0]
    for _ in range(int(exponent) - 1):
        result = _product(result, operands[0])
    return result


_RULES: Final[Mapping[str, Callable[[list[Terms]], Terms | None]]] = {
    "Add": _sum,
    "Div": _quotient,
    "Mul": lambda operands: _product(*operands),
    "Neg": lambda operands: _scaled(operands[0], -1.0),
    "Pow": _power,
    "Sub": lambda operands: _sum([operands[0], _scaled(operands[1], -1.0)]),
    "Sum": _sum,
}
