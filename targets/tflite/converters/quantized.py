"""QuantizeLinear that no operator took in."""

from __future__ import annotations

from typing import Final

from ..call import Call, Converter


def quantize(call: Call) -> None:
    call.emit("QUANTIZE", [call.input()], None, ("QuantizeOptions", {}))


QUANTIZED: Final[dict[str, Converter]] = {
    "QuantizeLinear": quantize,
}
