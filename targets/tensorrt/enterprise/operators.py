"""Which operators the ONNX parser of a TensorRT version takes, by the project's published list."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx_ir as ir
import yaml

from ....errors import ProfileError

#: One file for each version whose list was published anew: `operators_10_15.yaml`.
_TABLES: Final = tuple(sorted(Path(__file__).resolve().parent.glob("operators_*.yaml")))


@dataclasses.dataclass(frozen=True)
class Table:
    """What one version takes.

    Attributes:
        version: of TensorRT, as ``10.15``.
        opset: the newest opset of the default domain that it takes.
        dtypes: operator -> the dtypes of its data; an operator that is not there is not taken.
        restrictions: operator -> names of the rules of `restrictions.RULES` that its nodes keep.
    """

    version: str
    opset: int
    dtypes: Mapping[str, tuple[ir.DataType, ...]]
    restrictions: Mapping[str, tuple[str, ...]]


@functools.cache
def tables() -> tuple[Table, ...]:
    """Return the tables that there are, the oldest first."""
    return tuple(sorted(map(_read, _TABLES), key=lambda table: number(table.version)))


def table_for(version: str) -> Table:
    """Return the newest table that is not newer than a version: the lists have only grown.

    Raises:
        ProfileError: all tables are newer.
    """
    found = [table for table in tables() if number(table.version) <= number(version)[:2]]
    if not found:
        raise ProfileError(
            f"TensorRT {version!r} is too old: the operators of {tables()[0].version} and later "
            "are known"
        )
    return found[-1]


def number(version: str) -> tuple[int, ...]:
    """Return ``10.3.0`` as (10, 3, 0); raises ProfileError for what is no version."""
    try:
        return tuple(map(int, version.split(".")))
    except ValueError:
        raise ProfileError(f"runtimes: version {version!r} is not like '10.3.0'") from None


def _read(path: Path) -> Table:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    dtypes = {
        name: tuple(ir.DataType[dtype] for dtype in group["dtypes"])
        for group in data["operators"]
        for name in group["names"]
    }
    restrictions = {name: tuple(rules) for name, rules in data["restrictions"].items()}
    return Table(data["version"], data["opset"], dtypes, restrictions)
