"""How each operator is said in TFLite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ....lowering.dialect import DOMAIN
from ..call import Converter, Said
from .elementwise import ELEMENTWISE, is_rising, is_unit_elu
from .functions import FUNCTIONS
from .indexing import INDEXING
from .matrices import MATRICES
from .movement import MOVEMENT
from .quantized import QUANTIZED
from .reductions import REDUCTIONS
from .resize import RESIZE, has_operator
from .transposed import TRANSPOSED
from .windows import WINDOWS, is_even

#: (domain, operator) -> its converter.
CONVERTERS: Final[dict[tuple[str, str], Converter]] = {
    **{
        ("", name): converter
        for table in (
            ELEMENTWISE,
            FUNCTIONS,
            INDEXING,
            MATRICES,
            MOVEMENT,
            QUANTIZED,
            REDUCTIONS,
            RESIZE,
        )
        for name, converter in table.items()
    },
    **{(DOMAIN, name): converter for name, converter in {**TRANSPOSED, **WINDOWS}.items()},
}

#: Operators that apply an activation to their result.
FUSING: Final = frozenset(
    {
        "Add", "AveragePoolNhwc", "AveragePoolNwc", "ConvNhwc", "ConvNwc", "ConvTransposeNhwc",
        "ConvTransposeNwc", "Div", "Gemm", "MaxPoolNhwc", "MaxPoolNwc", "Mul", "Sub",
    }
)  # fmt: skip


def _always(_: Said) -> bool:
    return True


#: Operators with a kernel on int8 -> whether it computes a node of theirs.
INTEGER: Final[Mapping[str, Callable[[Said], bool]]] = {
    **dict.fromkeys(
        (
            "Add", "Clip", "Concat", "ConvNhwc", "ConvNwc", "ConvTransposeNhwc",
            "ConvTransposeNwc", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherND", "Gelu",
            "Gemm", "GlobalAveragePoolNhwc", "GlobalAveragePoolNwc", "GlobalMaxPoolNhwc",
            "GlobalMaxPoolNwc", "HardSwish", "LeakyRelu", "LogSoftmax", "MatMul", "MaxPoolNhwc",
            "MaxPoolNwc", "Mul", "PRelu", "Pad", "ReduceMax", "ReduceMean", "ReduceMin",
            "ReduceSum", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "SpaceToDepth", "Split",
            "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze",
        ),
        _always,
    ),
    **dict.fromkeys(("AveragePoolNhwc", "AveragePoolNwc"), is_even),
    "Elu": is_unit_elu,
    "HardSigmoid": is_rising,
    "Resize": has_operator,
    "Swish": is_rising,
}  # fmt: skip
