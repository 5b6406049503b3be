"""How each operator is said in TFLite."""

from __future__ import annotations

from typing import Final

from ....lowering.dialect import DOMAIN
from ..call import Converter
from .elementwise import ELEMENTWISE
from .matrices import MATRICES
from .movement import MOVEMENT
from .quantized import QUANTIZED
from .reductions import REDUCTIONS
from .resize import RESIZE
from .transposed import TRANSPOSED
from .windows import WINDOWS

#: (domain, operator) -> its converter.
CONVERTERS: Final[dict[tuple[str, str], Converter]] = {
    **{
        ("", name): converter
        for table in (
            ELEMENTWISE,
            MATRICES,
            MOVEMENT,
            QUANTIZED,
            REDUCTIONS,
            RESIZE,
            TRANSPOSED,
        )
        for name, converter in table.items()
    },
    **{(DOMAIN, name): converter for name, converter in WINDOWS.items()},
}

#: Operators that apply an activation to their result.
FUSING: Final = frozenset(
    {
        "Add", "AveragePoolNhwc", "AveragePoolNwc", "ConvNhwc", "ConvNwc", "Div", "Gemm",
        "MaxPoolNhwc", "MaxPoolNwc", "Mul", "Sub",
    }
)  # fmt: skip

#: Operators with a kernel on int8.
INTEGER: Final = frozenset(
    {
        "Add", "AveragePoolNhwc", "AveragePoolNwc", "Clip", "Concat", "ConvNhwc", "ConvNwc",
        "Flatten", "Gather", "Gemm", "GlobalAveragePoolNhwc", "GlobalAveragePoolNwc", "HardSwish",
        "LeakyRelu", "LogSoftmax", "MatMul", "MaxPoolNhwc", "MaxPoolNwc", "Mul", "Pad",
        "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Sub",
        "Tanh", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
