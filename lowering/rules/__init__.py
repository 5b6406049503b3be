"""The rules of the dialect; `lowering.dialect` makes them a table and holds models against it."""

from __future__ import annotations

from .canonical import CANONICAL
from .imported import IMPORTED
from .places import Breaches

__all__ = ["CANONICAL", "IMPORTED", "Breaches"]
