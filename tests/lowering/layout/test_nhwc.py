from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering import own_operators
from tapeout.lowering.dialect import DOMAIN, WORKING_OPSET
from tapeout.lowering.layout import nhwc


def test_every_operator_has_a_name_and_a_valid_definition() -> None:
    assert list(nhwc.operators()) == [
        f"{standard}{suffix}"
        for standard in (
            "AveragePool",
            "Conv",
            "ConvTranspose",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "MaxPool",
        )
        for suffix in ("Nwc", "Nhwc", "Ndhwc")
    ]
    for operator in nhwc.operators().values():
        function = ir.to_proto(operator.definition())
        assert (function.domain, function.name) == (DOMAIN, operator.name)
        assert own_operators.is_definition(operator.definition())


@pytest.mark.parametrize("name", ["ConvNhwc", "ConvTransposeNwc", "AveragePoolNdhwc"])
def test_attributes_are_those_of_the_standard_operator(name: str) -> None:
    operator = nhwc.operators()[name]
    schema = onnx.defs.get_schema(operator.standard, WORKING_OPSET)
    assert set(operator.attributes) == set(schema.attributes) - {"auto_pad", "output_shape"}


def test_a_changed_definition_is_noticed() -> None:
    function = nhwc.operators()["ConvNhwc"].definition()
    assert own_operators.is_definition(function)
    function.graph[0].attributes.add(ir.AttrInt64s("perm", [0, 3, 2, 1]))
    assert not own_operators.is_definition(function)


def test_there_is_none_for_more_dimensions_and_other_operators() -> None:
    assert nhwc.operator_for("Conv", 6) is None
    assert nhwc.operator_for("LpPool", 4) is None
    found = nhwc.operator_for("Conv", 3)
    assert found is not None
    assert found.name == "ConvNwc"
