"""The dialect of the IR, as a table of checkable rules.

``imported`` holds from the importers on and between all passes; ``canonical`` holds at the end of
the canonical pipeline as well. A rule is a function in `lowering.rules`; its docstring is the error
message (the first line) and the reason or the fix (the rest).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final, Literal

import onnx_ir as ir

from ..errors import Problem
from . import rules
from .opset import DOMAIN, IR_VERSION, SOURCE_OPSET, WORKING_OPSET

__all__ = [
    "DOMAIN",
    "IR_VERSION",
    "RULES",
    "SOURCE_OPSET",
    "WORKING_OPSET",
    "Rule",
    "Stage",
    "check",
]

Stage = Literal["imported", "canonical"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One statement about every model of a stage.

    Attributes:
        name: a short name.
        stage: from where on it holds.
        statement: what holds, in one sentence.
        reason: why, and what to do where it does not.
        breaches: finds where it does not hold.
    """

    name: str
    stage: Stage
    statement: str
    reason: str
    breaches: rules.Breaches

    @classmethod
    def of(cls, stage: Stage, breaches: rules.Breaches) -> Rule:
        statement, _, reason = (breaches.__doc__ or "").strip().partition("\n")
        name = breaches.__name__.replace("_", "-")
        return cls(name, stage, statement.rstrip("."), " ".join(reason.split()), breaches)

    def problems(self, model: ir.Model) -> Iterator[Problem]:
        """Yield every place where the rule does not hold, in the order of the graph."""
        for where, found in self.breaches(model):
            what = f"{found}; {self.statement[0].lower()}{self.statement[1:]}"
            yield Problem(where, what, self.reason)


RULES: Final = (
    *(Rule.of("imported", breaches) for breaches in rules.IMPORTED),
    *(Rule.of("canonical", breaches) for breaches in rules.CANONICAL),
)


def check(model: ir.Model, stage: Stage = "imported") -> list[Problem]:
    """Return every place where a model breaks a rule of the stage, rule by rule.

    The rules of the canonical stage are asked only of a model that keeps those of the imported one.
    """
    found = _broken(model, "imported")
    return found if found or stage == "imported" else _broken(model, stage)


def _broken(model: ir.Model, stage: Stage) -> list[Problem]:
    return [problem for rule in RULES if rule.stage == stage for problem in rule.problems(model)]
