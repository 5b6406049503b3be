"""Whole numbers that are nearest to floats, without a conversion."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from tvm import tirx

#: What a float32 with all its digits before the point is made with, and the bits of it.
_SHIFT: Final = 1.5 * 2**23
_SHIFT_BITS: Final = int(np.float32(_SHIFT).view(np.int32))


def whole(real: Any, zero: int) -> Any:
    """Return round(real) + zero as int32, halves to even, of float32 between -2^22 and 2^22.

    Such a number plus 1.5 x 2^23 has no digits after the point: the sum was rounded to nearest, and
    its last bits are the whole number.
    """
    moved = tirx.reinterpret("int32", real + tirx.const(_SHIFT, "float32"))
    return moved + tirx.const(zero - _SHIFT_BITS, "int32")
