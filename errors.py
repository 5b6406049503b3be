"""The tree of errors: one class for each exit code, each carrying *every* problem that was found.

A problem names the place (file, line, node or key), quotes the offending value and says the fix.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar


@dataclasses.dataclass(frozen=True)
class Problem:
    """One finding: where it is, what is wrong (with the offending value quoted), how to mend it."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f" ({self.fix})" if self.fix else ""
        return f"{self.where}: {self.what}{fix}" if self.where else f"{self.what}{fix}"


class TapeoutError(Exception):
    """The base of all errors that tapeout raises on purpose.

    Attributes:
        summary: one line that says what failed.
        problems: every reason, in the order of the file or graph; may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


class UsageError(TapeoutError):
    """The command line or a file that steers it (YAML, .npz) is wrong."""

    exit_code = 2


class ProfileError(UsageError):
    """A device profile is wrong, or no profile has the name."""


class ModelError(TapeoutError):
    """The model is invalid, or cannot be compiled for this device: every reason is listed."""

    exit_code = 3


class BudgetError(TapeoutError):
    """No plan fits the budget: the problems are the closest plans, with what each lacks."""

    exit_code = 4


class MissingToolError(TapeoutError):
    """A toolchain or runtime is not installed; the fix of each problem is the install command."""

    exit_code = 5


class VerificationError(TapeoutError):
    """A bundle's digests or numerics do not hold."""

    exit_code = 6
