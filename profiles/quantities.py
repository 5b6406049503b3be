"""Quantities of a profile: text with a unit in a file, a number in the base unit in memory."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..units import UNITS, parse_quantity


def _quantity(dimension: str, example: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return what makes a field take text with a unit of `dimension`, or a base-unit number."""

    def parse(value: object) -> object:
        if not isinstance(value, str):
            return value
        number = parse_quantity(value, dimension)
        if not math.isfinite(number):
            raise ValueError(f"{value!r} is too large")
        # 12 digits: 17.1 GB/s is 17100000000 and not 17100000000.000002
        return round(number) if dimension == "bytes" else float(f"{number:.12g}")

    units = "|".join(UNITS[dimension])
    pattern = rf"^\s*[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*({units})\s*$"
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return BeforeValidator(parse), WithJsonSchema(schema)


_FINITE: Final = Field(gt=0, allow_inf_nan=False)
_BYTES, _BYTES_SCHEMA = _quantity("bytes", "512 KiB")
_HERTZ, _HERTZ_SCHEMA = _quantity("hertz", "1.5 GHz")
_RATE, _RATE_SCHEMA = _quantity("bytes/s", "17.1 GB/s")
_OPS, _OPS_SCHEMA = _quantity("ops/s", "153.6 Gop/s")
_SECONDS, _SECONDS_SCHEMA = _quantity("seconds", "5 ms")

Count = Annotated[int, Field(gt=0, le=1_000_000)]
ApiLevel = Annotated[int, Field(ge=21, le=99)]
FeatureLevel = Annotated[int, Field(ge=1, le=8)]
Number = Annotated[float, _FINITE]
Bytes = Annotated[int, Field(gt=0, le=2**60), _BYTES, _BYTES_SCHEMA]
Hertz = Annotated[float, _FINITE, _HERTZ, _HERTZ_SCHEMA]
BytesPerSecond = Annotated[float, _FINITE, _RATE, _RATE_SCHEMA]
OpsPerSecond = Annotated[float, _FINITE, _OPS, _OPS_SCHEMA]
Seconds = Annotated[float, _FINITE, _SECONDS, _SECONDS_SCHEMA]

#: The name of each kind of figure in the JSON Schema.
FIGURES: Final[dict[Any, str]] = {
    Count: "Count",
    ApiLevel: "ApiLevel",
    FeatureLevel: "FeatureLevel",
    Number: "Number",
    Bytes: "Size",
    Hertz: "Frequency",
    BytesPerSecond: "Bandwidth",
    OpsPerSecond: "Throughput",
}
