from __future__ import annotations

import onnx_ir as ir

from tapeout.lowering.provenance import KEY, origins, record


def test_a_node_of_the_file_is_its_own_origin() -> None:
    assert origins(ir.node("Relu", [], name="a")) == ("a",)
    assert origins(ir.node("Relu", [])) == ()


def test_a_new_node_stands_for_its_sources_in_their_order() -> None:
    new = ir.node("Gelu", [], name="b")
    record(new, [ir.node("Mul", [], name="c"), ir.node("Erf", [], name="a")])
    assert new.metadata_props[KEY] == "c,a"
    newer = ir.node("Gemm", [], name="d")
    record(newer, [ir.node("MatMul", [], name="m"), new, new])
    assert origins(newer) == ("m", "c", "a")


def test_a_node_that_stands_for_itself_carries_nothing() -> None:
    new = ir.node("Conv", [], name="a")
    record(new, [ir.node("Conv", [], name="a")])
    assert KEY not in new.metadata_props


def test_any_name_survives() -> None:
    names = ["a,b", "50%", "%2C", "layer 1/conv"]
    new = ir.node("Conv", [], name="n")
    record(new, [ir.node("Relu", [], name=name) for name in names])
    assert origins(new) == tuple(names)
