"""The report that is printed: its figures agree with the analyses it is made of."""

from __future__ import annotations

import contextlib
import json

import onnx
import onnx_ir as ir
import pytest
from conformance_cases import node_tests

from tapeout.errors import ModelError
from tapeout.lowering.analysis import costs, memory, program, report, roofline
from tapeout.lowering.analysis.program import Sharing
from tapeout.lowering.analysis.roofline import Machine

import graphs
import support

MACHINE = Machine({"float32": 1e10}, 1e9, overhead=1e-6)
FUSED = Sharing(in_place=True, fusion="elementwise")


@pytest.mark.parametrize("name", support.NAMES)
@pytest.mark.parametrize("sharing", [Sharing(), FUSED], ids=["plain", "fused"])
def test_the_figures_are_those_of_the_analyses(name: str, sharing: Sharing) -> None:
    model = graphs.static(name)
    found = report.of(model, MACHINE, sharing, alignment=64)
    total = costs.of(model)
    assert (found.macs, found.parameters) == (total.macs, total.parameters)
    assert sum(row.macs for row in found.rows) == total.macs
    assert sum(row.ops for row in found.rows) == total.ops
    estimate = roofline.estimate(model, MACHINE, sharing)
    assert (
        found.seconds == estimate.seconds == pytest.approx(sum(r.seconds or 0 for r in found.rows))
    )
    assert sum(row.share or 0 for row in found.rows) == pytest.approx(1)
    alive = memory.liveness(program.of(model, sharing))
    assert [row.live for row in found.rows] == list(alive.profile)
    assert found.memory.peak == alive.peak
    assert found.memory.needed == found.memory.weights + found.memory.arena
    assert found.memory.weights == total.bytes_parameters
    assert found.memory.bound <= found.memory.arena
    slow = found.slowest(3)
    assert slow[0].seconds == max(row.seconds or 0 for row in found.rows)
    assert len(slow) == 3
    assert json.loads(json.dumps(found.to_json()))["memory"]["needed"] == found.memory.needed


def test_the_input_is_left_as_it_is() -> None:
    model = graphs.static("resnet8_cifar10")
    before = ir.to_proto(model).SerializeToString()
    report.of(model, MACHINE, FUSED)
    assert ir.to_proto(model).SerializeToString() == before


def test_without_a_machine_there_are_no_times() -> None:
    found = report.of(graphs.static("digits_cnn"))
    assert found.seconds is None
    assert {(row.seconds, row.share, row.limit) for row in found.rows} == {(None, None, None)}
    assert found.slowest(1)[0].macs == max(row.macs for row in found.rows)


def test_a_missed_limit_in_words() -> None:
    """Step 2 of the residual block of ResNet-8: three tensors of 64 KiB, the input, the output."""
    model = graphs.static("resnet8_cifar10")
    for index, node in enumerate(model.graph):
        node.name = f"n{index}"
    model.graph[5].metadata_props["tapeout.from"] = "add,bn"
    found = report.explain_memory(model, 300_000)
    assert found.missing == found.needed - 300_000 == 4 * 77_706 + 208_936 - 300_000
    assert found.peak is not None
    assert found.dominant == tuple(tensor.name for tensor in found.peak.live[:2])
    lines = found.lines()
    assert lines[0] == "needs 507.58 KiB: weights 303.54 KiB, activations 204.04 KiB"
    assert lines[1] == "the limit is 292.97 KiB: 214.61 KiB missing"
    assert lines[2] == "the peak is at step 5 of 25, Relu 'n4': 204.04 KiB live"
    assert lines[3].startswith(
        "  64.00 KiB: 'Relu__5:0' 1x16x32x32 float32 of Relu 'n2', last read"
    )
    assert sum(line.startswith("  ") for line in lines) == 5
    assert found.cheapest is not None
    assert found.cheapest.levers == ("fp16",)
    assert found.cheapest.missing == 0
    assert lines[-1] == f"cheapest fix: {found.cheapest.text}"


def test_origins_stand_in_the_words_where_a_pass_renamed() -> None:
    model = graphs.static("resnet8_cifar10")
    for index, node in enumerate(model.graph):
        node.name = f"n{index}"
    model.graph[4].metadata_props["tapeout.from"] = "conv_2,relu_2"
    text = "\n".join(report.explain_memory(model, 1).lines())
    assert "Relu 'n4' (from conv_2, relu_2)" in text


def test_a_fix_that_is_not_enough_says_so() -> None:
    found = report.explain_memory(graphs.static("vww_mobilenet"), 1000)
    assert found.cheapest is not None
    assert found.cheapest.missing == min(fix.missing for fix in found.fixes) > 0
    assert "too much" in found.lines()[-1]


def test_nothing_to_propose_says_so() -> None:
    found = report.explain_memory(graphs.static("digits_cnn"), 1, levers=())
    assert found.cheapest is None
    assert found.lines()[-1] == "no remedy that is known here would make it smaller"


def test_many_live_tensors_are_summed_up() -> None:
    names = [f"v{index}" for index in range(20)]
    body = "".join(f"v{index} = Relu(x)\n" for index in range(20))
    found = report.explain_memory(
        graphs.static_text(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[10] x) => (float[10] y) {{ {body} y = Sum({", ".join(names)}) }}"""),
        None,
    )
    assert "  560 B: 14 smaller tensors" in found.lines()
    assert sum(line.startswith("  ") for line in found.lines()) == 9


def test_the_target_knows_better_what_is_needed() -> None:
    model = graphs.static("digits_cnn")
    plain = report.explain_memory(model, 100_000)
    told = report.explain_memory(model, 100_000, needed=150_000)
    assert (plain.missing, told.missing) == (0, 50_000)
    assert "other" in told.lines()[0]
    assert [fix.frees for fix in told.fixes] == [fix.frees for fix in plain.fixes]


def test_a_dynamic_model_is_refused() -> None:
    with pytest.raises(ModelError, match="'image'"):
        report.of(ir.load(support.MODELS / "digits_cnn.onnx"))


@pytest.mark.slow
def test_every_case_of_onnx_itself_is_analysed() -> None:
    """All node tests of ONNX: a report, or an error that names values that are not static."""
    found = {}
    for case in node_tests():
        model = ir.from_proto(onnx.shape_inference.infer_shapes(case.model, data_prop=True))
        with contextlib.suppress(ModelError):
            found[case.name] = report.of(model, MACHINE, FUSED, limit=10)
    assert len(found) > 1500
    assert {name for name, one in found.items() if one.memory.bound > one.memory.arena} == set()
    json.dumps([one.to_json() for one in found.values()])
