"""Phones, boards and microcontrollers: TensorFlow Lite, its files written directly."""

from __future__ import annotations

from .ethos_u.target import EthosUTarget
from .target import TfliteTarget

TARGET = TfliteTarget()
TARGETS = (TARGET, EthosUTarget())
