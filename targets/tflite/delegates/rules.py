"""Statements about an operator that a delegate makes, as rows of a table.

A `Check` looks at one operator and says what is wrong with it, with the value that it has. A
`Rule` says whose operators it is for, when, and where the delegate's public code says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..operators import Graph, Operand, Operator

#: Says why an operator is refused; None if it is not.
Check = Callable[[Operator, Graph], str | None]

#: Beyond all levels.
NEVER: Final = 99

QUANTIZED: Final = ("uint8", "int8")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One row: an operator of these names must pass the check.

    Attributes:
        source: where the delegate's public code says so.
        since, until: the levels of the platform where it holds: since <= level < until.
    """

    operators: tuple[str, ...]
    check: Check
    source: str
    since: int = 0
    until: int = NEVER


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a delegate does not take an operator; `rule` is None if it has no such operator."""

    reason: str
    rule: Rule | None = None


def refusals(
    rules: Sequence[Rule], operator: Operator, graph: Graph, level: int = 0
) -> tuple[Refusal, ...]:
    """Return all reasons for which an operator is refused, in the table's order."""
    rows = [rule for rule in rules if operator.name in rule.operators]
    if not rows:
        return (Refusal(f"{operator.name} is not on its list"),)
    found = []
    for rule in rows:
        reason = rule.check(operator, graph) if rule.since <= level < rule.until else None
        if reason is not None:
            found.append(Refusal(reason, rule))
    return tuple(found)


def one(operand: Operand | None) -> Operand:
    """Return an input that the schema demands."""
    if operand is None:
        raise ValueError("a required input is absent")
    return operand


def statement(text: str, holds: Callable[[Operator], bool]) -> Check:
    """Return a check with a fixed text."""
    return lambda operator, graph: None if holds(operator) else text


def when(condition: Callable[[Operator], bool], check: Check) -> Check:
    """Return a check of those operators for which the condition holds."""
    return lambda operator, graph: check(operator, graph) if condition(operator) else None


def refuse(text: str) -> Check:
    """Return a check that nothing passes; ``{}`` stands for the operator's name."""
    return lambda operator, graph: text.format(operator.name)


def version(most: int) -> Check:
    def check(operator: Operator, graph: Graph) -> str | None:
        if operator.version <= most:
            return None
        return f"its version is {operator.version}, taken are up to {most}"

    return check


def dtype(index: int, *taken: str) -> Check:
    """An input has one of these dtypes."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = one(operator.input(index)).dtype
        return None if found in taken else f"input {index} is {found}, taken: {', '.join(taken)}"

    return check


def out_dtype(*taken: str) -> Check:
    """The first output has one of these dtypes."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = operator.outputs[0].dtype
        return None if found in taken else f"its output is {found}, taken: {', '.join(taken)}"

    return check


def rank(index: int, low: int, high: int) -> Check:
    """An input has a rank in this range, both ends included."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = one(operator.input(index)).rank
        if low <= found <= high:
            return None
        return f"input {index} has rank {found}, taken: {_range(low, high)}"

    return check


def out_rank(low: int, high: int) -> Check:
    """The first output has a rank in this range, both ends included."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = operator.outputs[0].rank
        return (
            None
            if low <= found <= high
            else f"its output has rank {found}, taken: " + (_range(low, high))
        )

    return check


def _range(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low} or more" if high >= NEVER else f"{low} to {high}"


def constant(index: int, *dtypes: str) -> Check:
    """An input is a constant (of one of these dtypes, if given)."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = one(operator.input(index))
        if found.is_constant and (not dtypes or found.dtype in dtypes):
            return None
        wanted = " or ".join(dtypes) + " " if dtypes else ""
        kind = "a constant" if found.is_constant else "data"
        return f"input {index} is {kind} of {found.dtype}, it must be a {wanted}constant"

    return check


def inputs(*counts: int) -> Check:
    """It has so many inputs, absent ones counted."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = len(operator.inputs)
        taken = " or ".join(map(str, counts))
        return None if found in counts else f"it has {found} inputs, taken: {taken}"

    return check


def field(name: str, *taken: Any, default: Any = 0) -> Check:
    """A field of its options has one of these values."""

    def check(operator: Operator, graph: Graph) -> str | None:
        found = operator.fields.get(name, default)
        return (
            None if found in taken else f"{name} is {found}, taken: " + (", ".join(map(str, taken)))
        )

    return check
