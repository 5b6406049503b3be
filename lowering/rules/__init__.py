"""The rules of the dialect; `lowering.dialect` makes them a table and holds models against it."""

from __future__ import annotations

from typing import Final

from . import canonical
from .imported import IMPORTED
from .places import Breaches
from .quantized import QUANTIZED

CANONICAL: Final = (*canonical.CANONICAL, *QUANTIZED)

__all__ = ["CANONICAL", "IMPORTED", "Breaches"]
