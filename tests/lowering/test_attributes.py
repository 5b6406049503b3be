from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.lowering.attributes import Plain, attribute


@pytest.mark.parametrize("value", [3, -1, 0.5, "nearest", (1, 2), [0, 1], ()])
def test_kinds(value: Plain) -> None:
    found = attribute("name", value)
    if value != ():
        assert found == ir.convenience.convert_attribute("name", value)
    assert found.name == "name"
    assert found.value == (tuple(value) if isinstance(value, list) else value)
    assert (found.type == ir.AttributeType.INTS) == isinstance(value, list | tuple)
