from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tapeout.lowering import provenance
from tapeout.lowering.editing import Editor

import support


def model() -> ir.Model:
    return support.from_text(
        """g (float[2,3] x) => (float[2,3] y) <float[2,3] w = {1,2,3,4,5,6}> {
            [first] a = Mul(x, w)
            [second] b = Exp(a)
            [third] y = Neg(b)
        }"""
    )


def test_replace_takes_the_name_shape_and_place() -> None:
    before = model()
    edit = Editor(before)
    first, second, third = before.graph
    new = edit.replace(third, "Relu", [before.graph.inputs[0]], absorbed=[first, second])
    assert support.body(before) == "y = Relu (x)"
    assert new.name == "third"
    assert provenance.origins(new) == ("first", "second", "third")
    assert new.outputs[0].dtype == ir.DataType.FLOAT
    assert new.outputs[0].shape == (2, 3)
    assert before.graph.outputs[0] is new.outputs[0]
    assert not before.graph.initializers
    assert edit.grown == -24
    assert edit.result(before).modified


def test_replace_leaves_absorbed_nodes_that_are_still_used() -> None:
    before = model()
    first, second, third = before.graph
    Editor(before).replace(third, "Relu", [first.outputs[0]], absorbed=[first, second])
    assert support.body(before) == "a = Mul (x, w)\ny = Relu (a)"


def test_new_names_are_unique() -> None:
    before = model()
    third = before.graph[-1]
    before.graph[0].outputs[0].name = "third/w"
    before.graph[1].name = "third/sum"
    edit = Editor(before)
    constant = edit.constant(third, "w", np.ones(3), ir.DataType.FLOAT)
    value = edit.insert(
        third,
        "Add",
        [third.inputs[0], constant],
        name="sum",
        dtype=ir.DataType.FLOAT,
        shape=(2, 3),
    )
    edit.replace(third, "Neg", [value])
    assert support.body(before) == (
        '"third/w" = Mul (x, w)\nb = Exp ("third/w")\n'
        '"third/sum" = Add (b, "third/w_1")\ny = Neg ("third/sum")'
    )
    assert [node.name for node in before.graph] == ["first", "third/sum", "third/sum_1", "third"]
    assert provenance.origins(before.graph[2]) == ("third",)
    assert edit.grown == 12


def test_an_editor_that_did_nothing_modified_nothing() -> None:
    before = model()
    edit = Editor(before)
    edit.remove_unused(before.graph[0])
    edit.drop_unused(before.graph.initializers["w"])
    edit.drop_unused(before.graph.inputs[0])
    assert not edit.result(before).modified
    assert len(before.graph) == 3
