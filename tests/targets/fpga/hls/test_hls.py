"""Exports to HLS: what hls4ml is given, what it is not, and that nothing wrong is kept."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from tapeout.errors import MissingToolError, ModelError, TapeoutError, UsageError, VerificationError
from tapeout.hls import export_hls
from tapeout.lowering.canonical import canonical
from tapeout.lowering.reference import Reference
from tapeout.targets.fpga.hls import environment, export
from tapeout.targets.fpga.hls.constraints import unsupported
from tapeout.targets.fpga.hls.export import Order
from tapeout.targets.fpga.hls.network import CHANNELS_LAST, written

import support

ORDER = Order("Vitis", "xc7z020clg400-1", 10.0)

#: Every operator that is written, with weights of a fixed seed.
EVERYTHING = """
network (float[1,8,8,2] x, float[3,2,3,3] w, float[3] b, float[3,1,3,3] d, float[3,3,1,1] p,
         float zero, float six, float[18,4] g, float[4] c) => (float[1,4] y, float[1,3,1,1] z) {
    t = Transpose <perm = [0, 3, 1, 2]> (x)
    conv = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (t, w, b)
    bound = Clip (conv, zero, six)
    deep = Conv <pads = [1, 1, 1, 1], group = 3> (bound, d)
    point = Conv (deep, p, b)
    sum = Add (point, bound)
    relu = Relu (sum)
    both = Concat <axis = 1> (relu, deep)
    most = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (both)
    mean = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (relu)
    bent = Tanh (mean)
    z = GlobalAveragePool (bent)
    few = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (most)
    more = Sigmoid (few)
    wide = Concat <axis = 1> (more, few)
    half = Flatten (wide)
    six_more = Flatten (more)
    all = Concat <axis = 1> (half, six_more)
    score = Gemm (all, g, c)
    y = Softmax (score)
}
"""

SHAPES = {
    "w": (3, 2, 3, 3),
    "b": (3,),
    "d": (3, 1, 3, 3),
    "p": (3, 3, 1, 1),
    "g": (18, 4),
    "c": (4,),
}


def everything() -> ir.Model:
    rng = np.random.default_rng(0)
    constants = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()
    }
    bounds = {"zero": np.array(0, np.float32), "six": np.array(1.5, np.float32)}
    return support.from_text(EVERYTHING, **constants, **bounds)


def with_definitions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with qonnx's operators defined, so that ONNX Runtime runs it."""
    last, first = [0, 2, 3, 1], [0, 3, 1, 2]
    for op, inputs, names in (
        ("Conv", ["x", "w", "b"], ["dilations", "group", "kernel_shape", "pads", "strides"]),
        ("Conv", ["x", "w"], ["dilations", "group", "kernel_shape", "pads", "strides"]),
        ("MaxPool", ["x"], ["kernel_shape", "pads", "strides"]),
        ("AveragePool", ["x"], ["kernel_shape", "pads", "strides"]),
    ):
        name = f"{op}{len(inputs)}"
        turned = [item if item == "b" else f"{item}_first" for item in inputs]
        node = helper.make_node(op, turned, ["y_first"])
        for attribute in names:
            item = node.attribute.add(name=attribute, ref_attr_name=attribute)
            item.type = (
                onnx.AttributeProto.INT if attribute == "group" else onnx.AttributeProto.INTS
            )
        nodes = [
            helper.make_node("Transpose", [item], [f"{item}_first"], perm=first)
            for item in inputs
            if item != "b"
        ]
        nodes += [node, helper.make_node("Transpose", ["y_first"], ["y"], perm=last)]
        model.functions.append(
            helper.make_function(
                CHANNELS_LAST, name, inputs, ["y"], nodes, [helper.make_opsetid("", 13)], names
            )
        )
    for node in model.graph.node:
        if node.domain == CHANNELS_LAST:
            node.op_type += str(len(node.input))
    return model


def test_what_is_written_computes_the_same() -> None:
    model = canonical("nhwc").run(everything())
    export._left_to_host(model)
    assert unsupported(model) == []
    found = written(model)
    assert {(node.domain, node.op_type) for node in found.graph.node} == {
        *((CHANNELS_LAST, op) for op in ("AveragePool", "Conv", "MaxPool")),
        *(
            ("", op)
            for op in ("Add", "Concat", "MatMul", "Relu", "Reshape", "Sigmoid", "Sub", "Tanh")
        ),
    }
    names = [name for node in found.graph.node for name in node.input]
    constants = {tensor.name for tensor in found.graph.initializer}
    assert sorted(name for name in names if name in constants) == sorted(constants)
    x = np.random.default_rng(1).standard_normal((1, 8, 8, 2)).astype(np.float32)
    wanted = Reference(model).run({"x": x})
    runnable = ir.from_proto(with_definitions(found))
    given = Reference(runnable).run({"input_0": x})
    for array, right in zip(given.values(), wanted.values(), strict=True):
        support.assert_close(array.reshape(right.shape), right, 1e-5, "output")


def test_every_reason_is_told_at_once() -> None:
    model = support.from_text(
        """
        network (float[1,8,8,4] x, float[4,2,3,3] w, float[4,4,3,3] e, float low)
            => (float[1,1,1,4] y) {
            t = Transpose <perm = [0, 3, 1, 2]> (x)
            grouped = Conv <group = 2, pads = [1, 1, 1, 1]> (t, w)
            dilated = Conv <dilations = [2, 2], pads = [2, 2, 2, 2]> (grouped, e)
            bounded = Clip (dilated, low)
            near = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (bounded)
            odd = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (near)
            bent = Erf (odd)
            y = Transpose <perm = [0, 2, 3, 1]> (bent)
        }
        """,
        w=np.ones((4, 2, 3, 3), np.float32),
        e=np.ones((4, 4, 3, 3), np.float32),
        low=np.array(-1, np.float32),
    )
    told = [str(problem) for problem in unsupported(canonical("nhwc").run(model))]
    wanted = (
        "'grouped' (ConvNhwc): has 2 groups (it knows no groups",
        "'dilated' (ConvNhwc): has dilations [2, 2] (",
        "'bounded' (Clip): is bounded by -1.0 below (",
        "'near' (MaxPoolNhwc): has a window of [3, 3] and strides of [2, 2] (",
        "'odd' (MaxPoolNhwc): has a window of [2, 2] on an image of [3, 3] (",
        "'bent' (Erf): hls4ml is not given it (it takes Add, ",
    )
    assert len(told) == len(wanted), told
    for line, start in zip(told, wanted, strict=True):
        assert line.startswith(f"node {start}"), line


def test_without_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        MissingToolError, match=r"python -m tapeout\.targets\.fpga\.hls\.env"
    ) as told:
        export.export(everything(), {}, ORDER, tmp_path / "project")
    assert told.value.exit_code == 5


def test_a_backend_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the backends: Vitis, Vivado$"):
        export_hls("m.onnx", "x.npz", Order("Quartus", "", 10.0), tmp_path)


def test_a_process_that_breaks_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Assertion failed; kill -ABRT $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(environment, "python", lambda: python)
    x = np.zeros((2, 8, 8, 2), np.float32)
    with pytest.raises(TapeoutError, match=r"hls4ml crashed with SIGABRT\n  Assertion failed"):
        export.export(everything(), {"x": x}, ORDER, tmp_path / "project")


def test_what_computes_something_else_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(_: Path, work: Path) -> None:
        np.savez(work / "results.npz", np.zeros((2, 4)), np.zeros((2, 3)))
        (work / "versions.json").write_text("{}")

    monkeypatch.setattr(environment, "python", lambda: Path(sys.executable))
    monkeypatch.setattr(export, "_convert", wrong)
    x = np.ones((2, 8, 8, 2), np.float32)
    with pytest.raises(VerificationError, match=r"something else in ap_fixed<\d+,\d+>") as told:
        export.export(everything(), {"x": x}, ORDER, tmp_path / "project")
    assert [problem.where for problem in told.value.problems] == ["score", "z"]
    assert not (tmp_path / "project").exists()


@pytest.mark.bitstream
def test_the_digits_in_fixed_point(tmp_path: Path) -> None:
    environment.make()
    project, samples = tmp_path / "project", tmp_path / "samples.npz"
    np.savez(samples, image=support.real_inputs("digits_cnn", 24))
    model = support.MODELS / "digits_cnn.onnx"
    found = export_hls(model, str(samples), ORDER, project)
    assert found.samples == 24
    assert found.precision.startswith("ap_fixed<")
    assert found.sqnr["logits"] > 40
    assert json.loads((project / export.REPORT).read_text())["versions"]["hls4ml"] == "1.3.0"
    assert (project / "firmware" / "network.cpp").is_file()
    with pytest.raises(UsageError, match="exists already"):
        export_hls(model, str(samples), ORDER, project)
    with pytest.raises(VerificationError, match="dB from ONNX Runtime's numbers"):
        export_hls(
            model, str(samples), Order("Vitis", ORDER.part, 10.0, fraction=3), tmp_path / "n"
        )


def test_an_operator_that_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "python", lambda: Path(sys.executable))
    model = support.from_text("g (float[1,4] x) => (float[1,4] y) { y = Erf (x) }")
    with pytest.raises(ModelError, match="cannot be exported by hls4ml"):
        export.export(model, {"x": np.ones((1, 4), np.float32)}, ORDER, tmp_path / "project")
