from __future__ import annotations

import onnx_ir as ir

from tapeout.lowering.editing import Editor
from tapeout.lowering.layout.transposes import merge_transposes

import support


def merged(model: ir.Model) -> bool:
    editor = Editor(model)
    merge_transposes(editor, model.graph)
    return editor.modified


def test_a_long_row_is_read_in_one_walk() -> None:
    lines = ["v0 = Transpose<perm=[1,2,0]>(x)"]
    lines += [f"v{i} = Transpose<perm=[1,2,0]>(v{i - 1})" for i in range(1, 400)]
    model = support.from_text(
        f"g (float[2,3,4] x) => (float[3,4,2] y) {{ {' '.join(lines)} y = Exp(v399) }}"
    )
    assert merged(model)
    assert support.body(model) == "v0 = Transpose <perm: ints = [1, 2, 0]> (x)\ny = Exp (v0)"
    assert not merged(model)


def test_the_first_that_is_needed_is_shared() -> None:
    """a is read by transposes alone: b, of the same bytes, is not made from it."""
    model = support.from_text(
        """g (float[1,3,4] x) => (float[4,3,1] y, float[4,1,3] z) {
            a = Transpose<perm=[0,2,1]>(x)
            b = Transpose<perm=[1,2,0]>(a)
            y = Exp(b)
            c = Transpose<perm=[1,0,2]>(a)
            z = Exp(c)
        }"""
    )
    assert merged(model)
    assert support.body(model) == "\n".join(
        [
            "b = Transpose <perm: ints = [2, 1, 0]> (x)",
            "y = Exp (b)",
            "c = Transpose <perm: ints = [0, 2, 1]> (b)",
            "z = Exp (c)",
        ]
    )
    assert not merged(model)
