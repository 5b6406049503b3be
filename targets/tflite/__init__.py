"""Phones and boards: TensorFlow Lite, its files written directly."""

from __future__ import annotations

from .target import TfliteTarget

TARGET = TfliteTarget()
