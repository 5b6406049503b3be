"""Latency with a delegate: against what is published of a phone; nothing lost or counted twice."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from architectures import Net
from tflite_graphs import graph

from tapeout.lowering.analysis.roofline import estimate
from tapeout.lowering.importers.onnx import load
from tapeout.profiles import catalog
from tapeout.profiles.schema import Delegate
from tapeout.targets.base import Plan
from tapeout.targets.tflite import TARGET
from tapeout.targets.tflite.delegates.cost import offload
from tapeout.targets.tflite.delegates.placement import placed

PIXEL = catalog.load("pixel-3")

#: Depthwise separable blocks of MobileNet v1 (Howard and others, 2017, table 1): outputs, stride.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def plan(precision: str, delegate: str, threads: int = 1) -> Plan:
    return Plan("tflite", precision, (("threads", threads), ("delegate", delegate)))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    net = Net("mobilenet_v1", (1, 3, 224, 224))
    x, channels = net.conv("image", (3, 32), 3, stride=2), 32
    for outputs, stride in BLOCKS:
        x = net.conv(x, (channels, channels), 3, stride=stride, group=channels)
        x, channels = net.conv(x, (channels, outputs)), outputs
    path = tmp_path_factory.mktemp("model") / "mobilenet_v1.onnx"
    onnx.save(net.model(net.classes(x, channels), 1, 1000), path)
    return TARGET.pipeline(PIXEL, plan("fp32", "cpu")).run(load(path))


@pytest.mark.parametrize(
    ("chosen", "published"),
    [  # tensorflow/lite/g3doc/performance/measurement.md, Pixel 3
        (plan("fp16", "gpu"), 6.45e-3),  # benchmark_model allows float16 unless told otherwise
        (plan("fp32", "nnapi"), 13.8e-3),
        (plan("fp32", "cpu", 4), 23.9e-3),
    ],
    ids=str,
)
def test_published_latencies(mobilenet: ir.Model, chosen: Plan, published: float) -> None:
    latency = TARGET.estimate(mobilenet, PIXEL, chosen).latency
    assert latency is not None
    assert latency.known == "estimated"
    assert published / 1.5 < latency.value < published * 1.5


def test_pieces_add_up_to_the_plan(mobilenet: ir.Model) -> None:
    for delegate, name in (("gpu", "GPU"), ("nnapi", "NNAPI")):
        chosen = plan("fp32", delegate)
        shown = TARGET.placement(mobilenet, PIXEL, chosen)
        assert shown is not None
        (split,) = (item for item in shown.splits if item.planned)
        assert split.name == name
        latency = TARGET.estimate(mobilenet, PIXEL, chosen).latency
        assert latency is not None
        assert split.seconds == pytest.approx(latency.value)
        assert sum(piece.seconds or 0.0 for piece in split.pieces) == split.seconds
        moved = [(piece.read, piece.written) for piece in split.pieces]
        assert moved == [(3 * 224 * 224 * 4, 4000)]


def test_a_plan_on_the_cores_is_not_changed(mobilenet: ir.Model) -> None:
    cores = plan("fp32", "cpu")
    latency = TARGET.estimate(mobilenet, PIXEL, cores).latency
    alone = estimate(mobilenet, TARGET.machine(PIXEL, cores), TARGET.sharing)
    assert latency is not None
    assert latency.value == alone.seconds
    assert TARGET.offload(mobilenet, PIXEL, cores) is None
    shown = TARGET.placement(mobilenet, PIXEL, cores)
    assert shown is not None
    assert [item.planned for item in shown.splits] == [False, False]


def test_a_phone_of_which_little_is_known(mobilenet: ir.Model) -> None:
    """It shows what delegates would take, and says why no plan has one; a board shows nothing."""
    data = PIXEL.to_json()
    profile = catalog.from_json({**data, "accelerators": []}, "test")
    (chosen, _) = TARGET.plans(profile, "fp32")
    assert chosen.options == (("threads", 1),)
    found = TARGET.placement(mobilenet, profile, chosen)
    assert found is not None
    assert [(item.name, item.planned, item.seconds) for item in found.splits] == [
        ("GPU", False, None),
        ("NNAPI", False, None),
    ]
    assert all("no plan uses" in item.notes[-1] for item in found.splits)
    board = catalog.load("raspberry-pi-5")
    assert TARGET.placement(mobilenet, board, TARGET.plans(board, "fp32")[0]) is None


CONV = (
    "CONV_2D@3 x:int8[1,8,8,4]*0.5 w:int8[4,1,1,4]*0.5=1 int32[4]=0 -> "
    "a:int8[1,8,8,4]*0.5 Conv2DOptions{strideW=1 strideH=1}"
)
RELU = "RELU x:float32[1,64] -> a:float32[1,64]"


@pytest.mark.parametrize(
    ("phone", "line", "delegate", "precision", "peak"),
    [
        ("pixel-3", RELU, "gpu", "fp32", 727e9),
        ("pixel-3", RELU, "gpu", "fp16", 1454e9),
        ("pixel-3", RELU, "nnapi", "fp16", 1454e9),
        ("galaxy-s23", CONV, "nnapi", "int8", 26e12),
        ("galaxy-s23", CONV, "gpu", "int8", 4418e9),  # in float: the GPU has no integers
        ("pixel-9", CONV, "nnapi", "int8", 3369e9),  # nothing else there computes int8
    ],
)
def test_what_computes_what(
    phone: str, line: str, delegate: Delegate, precision: str, peak: float
) -> None:
    profile = catalog.load(phone)
    taken = offload(placed(graph(line), profile, delegate), profile, delegate, precision)
    assert [(name, item.peaks) for name, item in taken.machines.items()] == [
        ("a", {"float32": peak})
    ]
    assert 1e-3 < taken.seconds < 1.001e-3
