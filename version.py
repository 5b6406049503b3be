"""The version of tapeout, from its own package metadata: one place says it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

VERSION: Final = version("tapeout")
