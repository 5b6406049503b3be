"""The table of operators: which there are, and how they touch memory."""

from __future__ import annotations

import numpy as np
import onnx.defs
import onnx.parser
import onnx.reference
import onnx_ir as ir
import pytest

from tapeout.lowering.analysis.costs import work_of
from tapeout.lowering.analysis.operators import OPERATORS, kind_of
from tapeout.lowering.own_operators import operators as own_operators

import graphs

#: Operators of ONNX that no row counts: strings, sequences, optionals, control flow (counted by its
#: body), and two whose work depends on the data.
UNCOUNTED = {
    "ConcatFromSequence", "If", "ImageDecoder", "Loop", "NonMaxSuppression", "Optional",
    "OptionalGetElement", "OptionalHasElement", "RegexFullMatch", "Scan", "SequenceAt",
    "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
    "SequenceMap", "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit",
    "TfIdfVectorizer",
}  # fmt: skip


def schemas() -> dict[str, onnx.defs.OpSchema]:
    """Return the newest schema of every operator of the default domain that is not deprecated."""
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    newest = {name: onnx.defs.get_schema(name) for name in sorted(names)}
    return {name: schema for name, schema in newest.items() if not schema.deprecated}


def test_every_operator_of_onnx_has_a_row_or_a_reason() -> None:
    assert set(schemas()) - set(OPERATORS) == UNCOUNTED
    assert {name for name in OPERATORS if "." not in name} <= set(schemas())


def test_every_operator_of_our_own_has_a_row() -> None:
    ours = {name for name in OPERATORS if name.startswith("tapeout.")}
    assert ours == {f"tapeout.{name}" for name in own_operators()}


def test_inputs_that_the_compiler_reads_exist() -> None:
    for name, schema in schemas().items():
        if name in OPERATORS:
            operator = OPERATORS[name]
            assert max((*operator.settled, *operator.sparse), default=0) < max(
                1, schema.max_input
            ), name


@pytest.mark.parametrize(
    ("group", "channels", "kind"),
    [(1, 1, "convolution"), (2, 2, "convolution"), (4, 1, "depthwise"), (1, 4, "convolution")],
)
def test_depthwise(group: int, channels: int, kind: str) -> None:
    model = graphs.static_text(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[1,{group * channels},6,6] x, float[4,{channels},3,3] w) => (float[1,4,4,4] y) {{
            y = Conv<group={group}>(x, w)
        }}""")
    assert kind_of(model.graph[0]) == kind


#: How to call elementwise operators that take more than one float tensor: extra inputs, the call.
CALLS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min", "Mean", "Equal",
                     "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "SwiGLU"), "{op}(x, z)"),
    **dict.fromkeys(("And", "Or", "Xor"), "{op}(c, c)"),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), "{op}(i, i)"),
    "Not": "Not(c)", "BitwiseNot": "BitwiseNot(i)", "Where": "Where(c, x, z)",
    "Mod": "Mod<fmod=1>(x, z)", "BitShift": 'BitShift<direction="LEFT">(u, u)',
    "Cast": "Cast<to=7>(x)", "CastLike": "CastLike(x, i)", "PRelu": "PRelu(x, w)",
    "Clip": "Clip(x, s)", "BatchNormalization": "BatchNormalization(x, w, w, w, w)",
    "Acosh": "Acosh(n)", "QuantizeLinear": "QuantizeLinear(x, s)",
    "DequantizeLinear": "DequantizeLinear(i, s)",
}  # fmt: skip


@pytest.mark.parametrize(
    "op", sorted(name for name, row in OPERATORS.items() if row.kind == "elementwise")
)
def test_an_elementwise_operator_reads_at_its_own_index_only(op: str) -> None:
    """So permuting the positions of all its inputs permutes its output; ONNX's reference says."""
    call = CALLS.get(op, "{op}(x)").format(op=op)
    model = onnx.parser.parse_model(f"""
        <ir_version: 13, opset_import: ["" : 28]>
        g (float[1,2,6] x, float[1,2,6] z, float[1,2,6] n, float[2] w, float s,
           bool[1,2,6] c, int32[1,2,6] i, uint8[1,2,6] u) => (float[1,2,6] y) {{ y = {call} }}""")
    model.graph.output[0].type.Clear()
    evaluator = onnx.reference.ReferenceEvaluator(model)
    rng = np.random.default_rng(0)
    x, z = rng.uniform(0.05, 0.95, (2, 1, 2, 6)).astype(np.float32)
    feeds = {
        "x": x,
        "z": z,
        "n": 1 + x,
        "w": np.float32([0.3, 0.7]),
        "s": np.float32(0.1),
        "c": x > 0.5,
        "i": (100 * x).astype(np.int32),
        "u": (7 * x).astype(np.uint8),
    }
    order = rng.permutation(6)
    moved = {name: value[..., order] if value.ndim == 3 else value for name, value in feeds.items()}
    (plain,), (permuted,) = evaluator.run(None, feeds), evaluator.run(None, moved)
    np.testing.assert_array_equal(permuted, plain[..., order])


def test_an_unknown_operator_counts_its_output() -> None:
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21, "other" : 1]>
        g (float[3] x) => (float[7] y) { y = other.Thing(x) }""")
    work, known = work_of(model.graph[0])
    assert (work.macs, work.ops, known) == (0, 7, False)
