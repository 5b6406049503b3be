"""How the data of a product is stored for its instruction."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from tvm import tirx

from ..schedules.arithmetic import Arithmetic

#: The bit that tells numbers with and without sign apart; by its value, the difference of both.
_SIGN: Final = {"uint8": 128, "int8": -128}


@dataclasses.dataclass(frozen=True)
class Storage:
    """How a product's data is stored in its packed copy.

    Attributes:
        arithmetic: what it is computed with.
        dtype: of the data: that of `arithmetic`, or int8 or uint8.
        point: the number that stands for zero.
    """

    arithmetic: Arithmetic
    dtype: str
    point: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether the data is stored as it is: no copy is needed."""
        return self.dtype == self.arithmetic.data

    @property
    def zero(self) -> int:
        """The stored number that stands for zero."""
        if self.is_plain:
            return self.point
        if self.arithmetic.data == "int16":
            return 0
        return self.point + _SIGN[self.arithmetic.data]

    @property
    def pad(self) -> Any:
        """The stored number of a pad."""
        return tirx.const(self.zero, self.arithmetic.data)

    def lacking(self, weight: np.ndarray) -> np.ndarray:
        """Return int32 (O): added to the sums of stored data times an int8 weight (..., O).

        They are then those of the data less its zero point.
        """
        total = weight.astype(np.int64).sum(axis=tuple(range(weight.ndim - 1)))
        return np.asarray(-self.zero * total).astype(np.int32)

    def stored(self, value: Any) -> Any:
        """Return what is stored of a number: with or without sign, or less its zero point."""
        data = self.arithmetic.data
        if self.is_plain:
            return value
        if data == "int16":
            return value.astype(data) - tirx.const(self.point, data)
        return tirx.bitwise_xor(tirx.reinterpret(data, value), tirx.const(_SIGN[data], data))
