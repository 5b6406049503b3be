from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.importers.inference import InvalidNodeError, infer
from tapeout.lowering.importers.quantized import linear_fault, product_fault

FLOAT = ir.DataType.FLOAT

CONV = ((1, 2, 5, 5), (), ())
ONE = ((), ())


def node(
    op_type: str, *shapes: tuple[int, ...] | np.ndarray, outputs: int = 1, **attributes: Any
) -> ir.Node:
    """Return a node whose inputs are floats of these shapes, or constants."""
    inputs = [
        ir.val(f"x{index}", const_value=ir.Tensor(item))
        if isinstance(item, np.ndarray)
        else ir.val(f"x{index}", FLOAT, item)
        for index, item in enumerate(shapes)
    ]
    made = ir.node(op_type, inputs, attributes, num_outputs=outputs, name="n")
    constants = [value for value in inputs if value.const_value is not None]
    given = [value for value in inputs if value.const_value is None]
    ir.Graph(given, made.outputs, nodes=[made], initializers=constants)
    return made


def fault(made: ir.Node) -> str:
    with pytest.raises(InvalidNodeError) as caught:
        infer(made, {"": 26})
    return str(caught.value)


def dims(made: ir.Node) -> list[list[int | None] | None]:
    return [shape for _, shape in infer(made, {"": 26})]


def test_dtypes_and_shapes() -> None:
    weights = (4, 3, 3, 3)
    assert infer(node("Conv", (1, 3, 8, 8), weights), {"": 26}) == [(FLOAT, [1, 4, 6, 6])]
    cast = node("Cast", (2, 3), to=ir.DataType.BOOL)
    assert infer(cast, {"": 26}) == [(ir.DataType.BOOL, [2, 3])]
    assert dims(node("Split", (2, 6), outputs=3, axis=1, num_outputs=3)) == [[2, 2]] * 3


def test_small_constants_are_looked_at() -> None:
    shape = np.array([3, -1])
    assert dims(node("Reshape", (2, 6), shape)) == [[3, 4]]
    unknown = node("Reshape", (2, 6), (2,))
    unknown.inputs[1].dtype = ir.DataType.INT64  # type: ignore[union-attr]
    assert dims(unknown) == [[None, None]]


def test_what_depends_on_data_is_not_known() -> None:
    found = infer(node("NonZero", (2, 3)), {"": 26})
    assert found == [(ir.DataType.INT64, [2, None])]


@pytest.mark.parametrize("op_type", ["GroupNormalization", "MeanVarianceNormalization"])
def test_operators_that_onnx_has_no_inference_for(op_type: str) -> None:
    more = [(4,), (4,)] if op_type == "GroupNormalization" else []
    attributes = {"num_groups": 2} if more else {}
    made = node(op_type, (2, 4, 3), *more, **attributes)
    assert infer(made, {"": 26}) == [(FLOAT, [2, 4, 3])]


def test_comparisons_that_onnx_has_no_inference_for() -> None:
    for op_type in ("GreaterOrEqual", "LessOrEqual"):
        assert infer(node(op_type, (2, 1), (3,)), {"": 26}) == [(ir.DataType.BOOL, [2, 3])]


def test_the_message_of_an_invalid_node_is_onnx_own() -> None:
    assert fault(node("MatMul", (2, 3), (4, 5))) == (
        "Incompatible dimensions for matrix multiplication"
    )
    assert "unsupported type" in fault(node("And", (2,), (2,)))
    assert fault(node("Nonsense", (2,))) == "Nonsense is not known in opset 26"


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (
            node("Split", (4,), outputs=5, num_outputs=1),
            "num_outputs is 1, but the node has 5 outputs",
        ),
        (
            node("Split", (4,), outputs=2, num_outputs=2**31 - 1),
            "num_outputs is 2147483647, but the node has 2 outputs",
        ),
        (
            node("GatherND", (1, 2, 3), np.array([2]), batch_dims=-2),
            "batch_dims -2 is not in inputs of 1 dimensions",
        ),
        (
            node("LayerNormalization", (2, 8, 3), (3,), axis=2**63 - 1),
            "axis 9223372036854775807 is not in an input of 3 dimensions",
        ),
        (
            node("RMSNormalization", (2, 8, 3), (3,), axis=-4),
            "axis -4 is not in an input of 3 dimensions",
        ),
    ],
)
def test_what_would_end_the_process_is_refused(made: ir.Node, what: str) -> None:
    """Each of these was seen to end the process in ONNX's inference (1.23.2), or to fill memory."""
    assert fault(made) == what


@pytest.mark.parametrize(
    ("equation", "shapes", "what"),
    [
        ("not_larger", [(4, 4)], "is not one of Einsum"),
        ("ij->ijj", [(4, 4)], "is not one of Einsum"),
        ("ij->k", [(4, 4)], "is not one of Einsum"),
        ("......->", [(4, 4)], "is not one of Einsum"),
        ("i.j->ij", [(4, 4)], "is not one of Einsum"),
        ("ij->i->j", [(4, 4)], "is not one of Einsum"),
        ("ij,jk->ik", [(4, 4)], "has 2 terms for 1 inputs"),
        ("ijk->i", [(4, 4)], "does not fit an input of 2 dimensions"),
        ("i->i", [(4, 4)], "does not fit an input of 2 dimensions"),
        ("...ijk->i", [(4, 4)], "does not fit an input of 2 dimensions"),
    ],
)
def test_equations_that_einsum_does_not_have(
    equation: str, shapes: list[tuple[int, ...]], what: str
) -> None:
    """ONNX's inference was seen to run without end on such equations."""
    assert what in fault(node("Einsum", *shapes, equation=equation))


@pytest.mark.parametrize(
    ("equation", "shapes", "result"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], [2, 4]),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)], [5, 2, 4]),
        ("ij , jk", [(2, 3), (3, 4)], [2, 4]),
        ("ii->i", [(3, 3)], [3]),
        ("ij->", [(2, 3)], []),
        ("bhqd,bhkd->bhqk", [(1, 2, 3, 4), (1, 2, 5, 4)], [1, 2, 3, 5]),
    ],
)
def test_equations_of_einsum(
    equation: str, shapes: list[tuple[int, ...]], result: list[int]
) -> None:
    assert dims(node("Einsum", *shapes, equation=equation)) == [result]


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (
            node("Conv", (1, 8, 8, 3), (16, 3, 3, 3)),
            "input of shape [1, 8, 8, 3] does not go with weights of shape [16, 3, 3, 3] "
            "in 1 groups",
        ),
        (node("Conv", (1, 4, 8, 8), (6, 2, 3, 3), group=4), "in 4 groups"),
        (node("Conv", (1, 3, 8), (6, 3, 3, 3)), "do not go together"),
        (node("Conv", (1, 3, 8), (6, 3, 3), (5,)), "bias of shape [5] is not [6]"),
        (node("ConvTranspose", (1, 4, 8), (3, 2, 3)), "does not go with weights"),
        (node("Transpose", (2, 3), perm=[0, 0]), "perm [0, 0] does not order 2 dimensions"),
        (node("Transpose", (2, 3), perm=[0]), "perm [0] does not order 2 dimensions"),
    ],
)
def test_what_onnx_inference_lets_through(made: ir.Node, what: str) -> None:
    assert what in fault(made)


@pytest.mark.parametrize(
    "made",
    [
        node("Conv", (1, 4, 8, 8), (6, 2, 3, 3), (6,), group=2),
        node("ConvTranspose", (1, 4, 8), (4, 2, 3), (6,), group=3),
        node("ConvTranspose", (1, 4, 8), (4, 2, 3), (4,), group=2),
    ],
)
def test_grouped_convolutions(made: ir.Node) -> None:
    if made.op_type == "ConvTranspose" and made.attributes["group"].as_int() == 3:
        assert "in 3 groups" in fault(made)  # four channels are not three groups
    else:
        assert infer(made, {"": 26})[0][0] == FLOAT


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (
            node("DequantizeLinear", (2, 3), (2,), (2,)),
            "its scale has shape [2], but one that goes with its input of shape [2, 3] has [3]",
        ),
        (
            node("QuantizeLinear", (2, 3), (3,), ()),
            "its zero point has shape [], but its scale has [3]",
        ),
        (
            node("DequantizeLinear", (2, 3), (), (3,)),
            "its zero point has shape [3], but its scale has []",
        ),
        (node("DequantizeLinear", (2, 3), (3,), axis=2), "axis 2 is not in an input of 2"),
        (
            node("DequantizeLinear", (2, 8), (2, 3), axis=1, block_size=4),
            "its scale has shape [2, 3], but one that goes with its input of shape [2, 8] has "
            "[2, 2]",
        ),
        (node("DequantizeLinear", (2, 8), (2, 3), axis=1, block_size=-4), "block_size is -4"),
        (
            node("QLinearConv", *CONV[:3], (3, 2, 3, 3), (2,), (2,), *ONE),
            "the scale of w has shape [2], not [] or [3]",
        ),
        (
            node("QLinearConv", *CONV[:3], (3, 2, 3, 3), (), (), (3,), ()),
            "the scale of y has shape [3], not []",
        ),
        (node("QLinearConv", *CONV[:3], (3, 4, 3, 3), (), (), *ONE), "in 1 groups"),
        (
            node("QLinearConv", *CONV[:3], (3, 2, 3, 3), (), (), *ONE, (2,)),
            "bias of shape [2] is not [3]",
        ),
        (
            node("ConvInteger", (1, 2, 5, 5), (3, 2, 3, 3), (), (2,)),
            "the zero point of w has shape [2], not [] or [3]",
        ),
        (
            node("MatMulInteger", (2, 3), (3, 4), (), (3,)),
            "the zero point of b has shape [3], not [] or [4]",
        ),
        (
            node("QLinearMatMul", (2, 3), (3,), (), (3, 4), (), (), *ONE),
            "the scale of a has shape [3], not [] or [2]",
        ),
    ],
)
def test_scales_that_do_not_fit(made: ir.Node, what: str) -> None:
    assert what in fault(made)


@pytest.mark.parametrize(
    "made",
    [
        node("QLinearConv", *CONV[:3], (3, 2, 3, 3), (3,), (), *ONE, (3,)),
        node("QLinearMatMul", (2, 3), (2,), (2,), (3, 4), (4,), (), *ONE),
        node("QLinearMatMul", (5, 2, 3), (5, 2, 1), (), (5, 3, 4), (5, 1, 4), (), *ONE),
        node("ConvInteger", (1, 2, 5, 5), (3, 2, 3, 3), (), (3,)),
        node("DequantizeLinear", (2, 8), (2, 2), (2, 2), axis=1, block_size=4),
        node("DequantizeLinear", (2, 3), (1,), (), axis=7),
    ],
)
def test_scales_that_fit(made: ir.Node) -> None:
    fits = linear_fault if made.op_type == "DequantizeLinear" else product_fault
    assert fits(made) == ""
