"""Remedies, each checked against the model it stands for."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.lowering.analysis import arena, costs, memory, order, program
from tapeout.lowering.analysis.fixes import LEVERS, Lever, Need

import graphs
import support


def need(model: ir.Model) -> Need:
    subject = program.of(model)
    plan = arena.plan(memory.liveness(subject).buffers)
    return Need(subject, costs.parameters(model.graph), plan, order.best(subject))


def network(batch: int, dtype: str = "float") -> ir.Model:
    """Return a convolution, its activation and a matrix product.

    Parameters: 8*3*3*3 + 8 + 128*10 elements. Activations: x 3*36, a and b 8*16, y 10 a sample.
    """
    w, bias, v = (",".join(["1"] * count) for count in (216, 8, 1280))
    return graphs.static_text(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g ({dtype}[{batch},3,6,6] x) => ({dtype}[{batch},10] y)
        <{dtype}[8,3,3,3] w = {{{w}}}, {dtype}[8] bias = {{{bias}}},
         {dtype}[128,10] v = {{{v}}}>
        {{
            a = Conv(x, w, bias)
            b = Relu(a)
            c = Flatten(b)
            y = MatMul(c, v)
        }}""")


def test_what_each_lever_leaves_by_hand() -> None:
    subject = need(network(2))
    activations = 2 * (3 * 36 + 128 + 128 + 10)  # x and y are held, a and b at once
    assert subject.memory() == 4 * (216 + 8 + 1280) + 4 * activations
    assert subject.memory(["fp16"]) == subject.memory() // 2
    int8 = 216 + 8 * 4 + 8 * 4 + 1280 + 128 * 4  # scales of 8 channels, bias, scales of 128 rows
    assert subject.memory(["int8-weights"]) == int8 + 4 * activations
    assert subject.memory(["int8"]) == int8 + activations
    assert subject.memory(["batch"]) == 4 * (216 + 8 + 1280) + 2 * activations


@pytest.mark.parametrize("name", support.NAMES)
def test_the_precisions_shrink_the_real_models(name: str) -> None:
    subject = need(graphs.static(name))
    now = subject.memory()
    assert now / 2 <= subject.memory(["fp16"]) <= now / 2 + 8
    assert now / 4 < subject.memory(["int8"]) < now / 2


def test_half_precision_is_what_a_half_precision_model_needs() -> None:
    assert need(network(2)).memory(["fp16"]) == need(network(2, "float16")).memory()


def test_batch_one_is_what_a_model_of_batch_one_needs() -> None:
    assert need(network(4)).memory(["batch"]) == need(network(1)).memory()


def branches() -> ir.Model:
    return graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[1] x) => (float[10] y)
        <int64[1] up = {1000}, int64[1] zero = {0}, int64[1] end = {10}>
        {
            a1 = Expand(x, up)
            b1 = Expand(x, up)
            a2 = Slice(a1, zero, end)
            b2 = Slice(b1, zero, end)
            y = Add(a2, b2)
        }""")


def test_the_remedies_come_cheapest_first_and_each_frees_more() -> None:
    subject = need(branches())
    now = subject.memory()
    assert now == 4 + 40 + 8000 + 40
    found = subject.fixes(now, 1500)
    assert [fix.levers for fix in found] == [
        ("order",), ("fp16",), ("order", "fp16"), ("int8",), ("order", "int8"),
    ]  # fmt: skip
    assert [fix.lossless for fix in found] == [True, False, False, False, False]
    assert found[0].memory == 4 + 40 + 4000 + 40 + 40
    assert [fix.frees for fix in found] == sorted({fix.frees for fix in found})
    assert [fix.missing for fix in found] == [max(0, fix.memory - 1500) for fix in found]
    assert found[0].text == (
        "run the nodes in an order that keeps less alive: 4,124 B instead of 8,084 B, 3,960 B less;"
        " still 2,624 B too much"
    )


def test_only_what_is_offered_is_proposed() -> None:
    offered: tuple[Lever, ...] = ("int8-weights", "order")
    found = need(branches()).fixes(8084, None, offered)
    assert [fix.levers for fix in found] == [("order",)]  # it has no weights
    assert need(branches()).fixes(8084, None, ()) == ()
    assert [fix.missing for fix in found] == [0]


def test_a_batch_of_one_is_proposed_only_to_more() -> None:
    several = {fix.levers for fix in need(network(8)).fixes(10**6, None)}
    assert ("batch",) in several
    assert not any("batch" in fix.levers for fix in need(network(1)).fixes(10**6, None))


def test_what_is_needed_beyond_the_model_stays() -> None:
    subject = need(network(2))
    now = subject.memory()
    (fix, *_) = subject.fixes(now + 500, None, ["fp16"])
    assert fix.memory == now // 2 + 500


def test_an_int8_model_has_nothing_to_gain_from_precision() -> None:
    model = graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (int8[4,8] x) => (int32[4,2] y)
        <int8[8,2] w = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}> { y = MatMulInteger(x, w) }""")
    subject = need(model)
    assert subject.fixes(subject.memory(), 0, [lever for lever in LEVERS if lever != "batch"]) == ()
