"""From an ONNX operator to Relax: one converter for each operator that the target takes.

TVM's own ONNX converters are not used: they leave some operators out, give wrong results for
others (found by ONNX's node tests) and guess shapes that the model already states.
"""

from __future__ import annotations

from ....lowering.dialect import DOMAIN
from .call import Call, Converter
from .elementwise import ELEMENTWISE
from .integer import INTEGER
from .movement import MOVEMENT
from .networks import NETWORKS
from .quantized import QUANTIZED
from .recurrent import RECURRENT
from .reductions import REDUCTIONS
from .resize import RESIZE
from .sampling import SAMPLING
from .transposed import LAST, TRANSPOSED
from .windows import CHANNELS_LAST, WINDOWS

__all__ = ["AS_STORED", "CONVERTERS", "Call", "Converter"]

#: Operators whose result is the same whether they compute in half precision or in single, and
#: round: single has more than twice the digits, and two. In single, TVM's code would have a tensor
#: of float32 for each step.
_EXACT = (
    "Abs", "Add", "Clip", "Max", "MaxPool", "MaxPoolNdhwc", "MaxPoolNhwc", "MaxPoolNwc", "Min",
    "Mul", "Neg", "Relu", "Sub",
)  # fmt: skip

#: Operators that get half precision as it is: they move it, say themselves what to do with it, or
#: do the same in it.
AS_STORED = frozenset(
    [*MOVEMENT, *QUANTIZED, *SAMPLING, *_EXACT, "BitCast", "Cast", "CastLike", "Where"]
)

#: (domain, operator) -> converter.
CONVERTERS: dict[tuple[str, str], Converter] = {
    **{
        ("", name): converter
        for table in (
            ELEMENTWISE,
            MOVEMENT,
            NETWORKS,
            QUANTIZED,
            RECURRENT,
            REDUCTIONS,
            RESIZE,
            SAMPLING,
            TRANSPOSED,
            WINDOWS,
        )
        for name, converter in table.items()
    },
    **{(DOMAIN, name): converter for name, converter in (CHANNELS_LAST | LAST | INTEGER).items()},
}
