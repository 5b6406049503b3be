"""The log of tuning: which choice is the best for a workload on a core, one line of JSON for each.

A log is made on a device, kept, merged and shared like any text: of lines for the same workload on
the same core the last one holds. Its lines are strangers' data, and a choice that does not fit its
workload is refused with its line. Those who write lock the file, and add to its end.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from ...errors import Problem, UsageError
from .schedules.arithmetic import arithmetic_for, feature_of
from .schedules.choices import misfits
from .schedules.core import Core, Operands
from .schedules.workload import Choice, Workload

#: What is used of a log.
Choices: TypeAlias = Mapping[Workload, Choice]

#: No log is so large: a network has tens of workloads, of some 400 bytes.
_LARGEST: Final = 64 << 20


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CoreKey(_Line):
    """What a log knows a core by: what the analysis knows of it.

    Attributes:
        integers: LLVM's feature that it computes products of integers with; empty: none.
    """

    lanes: PositiveInt
    registers: PositiveInt
    units: PositiveFloat
    l1: PositiveInt
    l2: PositiveInt
    integers: str
    threads: PositiveInt
    operands: Operands
    halves: bool = False

    @field_validator("integers")
    @classmethod
    def _is_known(cls, feature: str) -> str:
        arithmetic_for(feature)
        return feature

    @classmethod
    def of(cls, core: Core) -> Self:
        """Return the key of a core."""
        return cls(
            lanes=core.lanes,
            registers=core.registers,
            units=core.units,
            l1=core.l1,
            l2=core.l2,
            integers=feature_of(core.integers),
            threads=core.threads,
            operands=core.operands,
            halves=core.halves,
        )

    @property
    def core(self) -> Core:
        return Core(
            lanes=self.lanes,
            registers=self.registers,
            units=self.units,
            l1=self.l1,
            l2=self.l2,
            integers=arithmetic_for(self.integers),
            threads=self.threads,
            operands=self.operands,
            halves=self.halves,
        )


class Entry(_Line):
    """One line.

    Attributes:
        gain: so many times as fast as what the analysis chooses, measured.
        tried: so many alternatives were timed.
    """

    core: CoreKey
    workload: Workload
    choice: Choice
    gain: PositiveFloat | None = None
    tried: PositiveInt | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if problems := misfits(self.workload, self.choice, self.core.core):
            raise ValueError("the choice does not fit: " + "; ".join(problems))
        return self

    @property
    def line(self) -> str:
        return self.model_dump_json(exclude_none=True) + "\n"


def read(log: Path) -> dict[tuple[CoreKey, Workload], Entry]:
    """Return the lines of a log that hold.

    Raises:
        UsageError: it cannot be read, or lines of it are wrong; names all, with their keys.
    """
    try:
        with log.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{log}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise UsageError(f"{log} is larger than a log of tuning can be ({_LARGEST} bytes)")
    found: dict[tuple[CoreKey, Workload], Entry] = {}
    problems: list[Problem] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            where = f"{log.name}:{number}"
            problems += [
                Problem(".".join([where, *map(str, item["loc"])]), item["msg"])
                for item in error.errors(include_url=False)
            ]
        else:
            found[entry.core, entry.workload] = entry
    if problems:
        raise UsageError(f"{log} is no log of tuning", problems)
    return found


def add(log: Path, entries: Iterable[Entry]) -> None:
    """Add lines to a log, which others may be adding to; raises UsageError if it cannot be."""
    text = written(entries)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if stream.seek(0, os.SEEK_END) and stream.seek(-1, os.SEEK_END) >= 0:
                text = text if stream.read(1) == b"\n" else "\n" + text
            stream.write(text.encode())
    except OSError as error:
        raise UsageError(f"{log}: {error.strerror}") from error


def written(entries: Iterable[Entry]) -> str:
    """Return lines in an order of their own."""
    return "".join(sorted(entry.line for entry in entries))
