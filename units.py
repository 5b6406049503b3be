"""Quantities as people write them: ``512KiB``, ``17.1 GB/s``, ``5ms``, ``153.6 Gop/s``.

Every quantity is kept in its base unit (bytes, bytes/s, seconds, hertz, operations/s). Decimal
prefixes are powers of 1000 and binary ones (``Ki``, ``Mi``, ``Gi``) powers of 1024, as in
IEC 80000-13.
"""

from __future__ import annotations

import math
import re
from typing import Final

_DECIMAL: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _prefixed(unit: str, *tables: dict[str, float]) -> dict[str, float]:
    return {prefix + unit: factor for table in tables for prefix, factor in table.items()}


#: Dimension -> spelling -> factor to the base unit.
UNITS: Final[dict[str, dict[str, float]]] = {
    "bytes": _prefixed("B", _DECIMAL, _BINARY),
    "bytes/s": _prefixed("B/s", _DECIMAL, _BINARY),
    "seconds": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0},
    "hertz": _prefixed("Hz", _DECIMAL),
    "ops/s": _prefixed("op/s", _DECIMAL),
    "watts": {"mW": 1e-3, "W": 1.0},
}

_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([^\s\d][^\s]*)\s*")


def parse_quantity(text: str, dimension: str) -> float:
    """Return `text` in the base unit of `dimension` (a key of `UNITS`).

    Raises:
        ValueError: no number, no unit, or a unit of another dimension; the message quotes the text
            and lists the units that fit.
    """
    known = UNITS[dimension]
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in known:
        common = [unit for unit in known if not unit.startswith(("k", "P", "T"))]
        raise ValueError(
            f"{text!r} is not a quantity in {dimension}; write a number and one of "
            f"{', '.join(common)}"
        )
    value = float(match[1]) * known[match[2]]
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return value


def parse_bytes(text: str) -> int:
    """Return a size in whole bytes; raises ValueError as `parse_quantity` does."""
    return round(parse_quantity(text, "bytes"))


def parse_seconds(text: str) -> float:
    """Return a duration in seconds; raises ValueError as `parse_quantity` does."""
    return parse_quantity(text, "seconds")


def format_bytes(count: float) -> str:
    """Return bytes for people, in binary units: ``'1.50 MiB'``; below 10 KiB the exact count."""
    if abs(count) < 10 * 1024:
        return f"{count:,.0f} B"
    exponent = min(3, int(math.log(abs(count), 1024)))
    return f"{count / 1024**exponent:,.2f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"


def format_seconds(seconds: float) -> str:
    """Return a duration for people: ``'3.21 ms'``."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(seconds) >= factor:
            return (
                f"{seconds / factor:.3g} {unit}" if seconds / factor < 1000 else f"{seconds:.0f} s"
            )
    return f"{seconds * 1e9:.3g} ns"
