"""The tables of what each GPU computes in, held against the builder of TensorRT-RTX."""

from __future__ import annotations

from typing import get_args

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.bundle import Tensor
from tapeout.data import Data
from tapeout.errors import ModelError, Problem
from tapeout.lowering.canonical import canonical
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.planner import plans
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.quantizer import Converter
from tapeout.targets.base import Plan, Precision
from tapeout.targets.tensorrt import capabilities
from tapeout.targets.tensorrt.builder import Request, engine
from tapeout.targets.tensorrt.network import onnx_of

import support

RTX = capabilities.RTX

#: One node -> the inputs it reads and the output it gives, in the dtype of the case.
NODES = {
    "Conv(x, w)": ("[1,8,6,6] x", "[8,8,3,3] w", "[1,8,4,4] y"),
    "Conv(x, v)": ("[1,8,4,4,4] x", "[8,8,3,3,3] v", "[1,8,2,2,2] y"),
    "MatMul(x, w)": ("[1,4,8] x", "[8,8] w", "[1,4,8] y"),
    'Einsum<equation="ij->j">(x)': ("[4,8] x", "", "[8] y"),
    'Einsum<equation="ij,kj->ik">(x, w)': ("[4,8] x", "[8,8] w", "[4,8] y"),
}

#: Node; dtype; the capability; whether the builder takes it. One that is taken and one that is not
#: on both sides of each line of the tables.
CASES = [
    ("Conv(x, w)", "float", "7.5", True),
    ("Conv(x, v)", "float", "7.5", False),
    ("Conv(x, v)", "float16", "7.5", True),
    ("MatMul(x, w)", "float", "7.5", False),
    ("MatMul(x, w)", "float16", "7.5", True),
    ("MatMul(x, w)", "float", "8.0", True),
    ('Einsum<equation="ij->j">(x)', "float", "7.5", True),
    ('Einsum<equation="ij,kj->ik">(x, w)', "float", "7.5", False),
    ("MatMul(x, w)", "bfloat16", "7.5", False),
    ("MatMul(x, w)", "bfloat16", "8.0", True),
]


def network(node: str, dtype: str) -> ir.Model:
    data, weight, output = NODES[node]
    operands = ", ".join(f"{dtype}{item}" for item in (data, weight) if item)
    return support.from_text(f"g ({operands}) => ({dtype}{output}) {{ y = {node} }}")


def device(name: str, capability: str) -> Profile:
    profile = catalog.load(name)
    assert profile.gpu is not None
    gpu = profile.gpu.model_copy(update={"capability": capability, "also": ()})
    return profile.model_copy(update={"gpu": gpu})


@pytest.mark.parametrize(("node", "dtype", "capability", "taken"), CASES)
def test_problems_are_what_the_builder_does_not_take(
    node: str, dtype: str, capability: str, taken: bool
) -> None:
    model = network(node, dtype)
    found = capabilities.problems(model, device("rtx-4090", capability), Plan(RTX, "fp32"))
    assert (not found) == taken
    if taken:
        assert engine(Request(onnx_of(model), (capability,))).content
        return
    with pytest.raises(ModelError):
        engine(Request(onnx_of(model), (capability,)))
    assert [problem.where for problem in found] == ["node 'y'"]


@pytest.fixture(scope="module")
def converter() -> Converter:
    """A network with what each precision changes: a convolution, depthwise, and products."""
    rng = np.random.default_rng(0)
    shapes = {"v": (16, 3, 3, 3), "d": (16, 1, 3, 3), "w": (64, 32)}
    model = support.from_text(
        """g (float[1,3,6,6] x, float[16,3,3,3] v, float[16,1,3,3] d, float[64,32] w)
            => (float[1,1,32] y) <int64[3] s = {1,1,64}, float zero = {0}> {
            a = Conv(x, v)
            b = Clip(a, zero)
            c = Conv<group=16, pads=[1,1,1,1]>(b, d)
            e = Add(c, b)
            p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(e)
            f = Reshape(p, s)
            y = MatMul(f, w)
        }""",
        **{name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()},
    )
    samples = Data({"x": rng.standard_normal((8, 3, 6, 6)).astype(np.float32)}, None)
    return Converter(model, [Tensor.of(model.graph.inputs[0])], samples, None, None)


@pytest.mark.parametrize("precision", [name for name in capabilities.PRECISIONS if name != "tf32"])
def test_each_precision_is_built_from_the_least_capability_on(
    precision: Precision, converter: Converter
) -> None:
    plan, since = Plan(RTX, precision), capabilities.PRECISIONS[precision].since
    name = capabilities.scheme(precision, RTX)
    model = support.from_text("g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }")
    if name is not None:
        model = canonical("nchw").run(converter.to(name).outcome.model.clone())
    assert capabilities.problems(model, device("rtx-4090", since), plan) == []
    assert engine(Request(onnx_of(model), (since,))).content
    older = {"8.0": "7.5", "8.9": "8.6"}.get(since)
    if older is not None:
        assert capabilities.problems(model, device("rtx-4090", older), plan)
        assert capabilities.refusals(device("rtx-4090", older), RTX, precision)
        with pytest.raises(ModelError):
            engine(Request(onnx_of(model), (older,)))


@pytest.mark.parametrize(("name", "precision"), [("rtx-3060", "fp8"), ("rtx-2060", "int4")])
def test_what_a_card_lacks_is_the_models_error(name: str, precision: Precision) -> None:
    with pytest.raises(ModelError) as caught:
        plans(catalog.load(name), precision, None)
    assert caught.value.exit_code == 3
    [problem] = caught.value.problems
    assert problem.where.startswith(f"{name}, compute capability")
    assert problem.fix.startswith("take --precision ")


def test_every_product_in_float32_is_named_at_once() -> None:
    model = support.from_text(
        """g (float[1,4,8] x, float[8,8] w) => (float[1,4,8] y) {
            a = MatMul(x, w)
            b = Relu(a)
            y = MatMul(b, w)
        }""",
        w=np.eye(8, dtype=np.float32),
    )
    rtx_2060 = catalog.load("rtx-2060")
    assert capabilities.problems(model, rtx_2060, Plan(RTX, "fp32")) == [
        Problem(
            f"node '{name}'",
            "MatMul: TensorRT-RTX has no matrix products in float32 for compute capability "
            "7.5 (Turing), which rtx-2060 is of",
            "take --precision fp16 or int8",
        )
        for name in "ay"
    ]
    assert capabilities.problems(model, rtx_2060, Plan("tensorrt", "fp32")) == []


#: Device -> what its runtime can build for it in.
OFFERED: dict[str, tuple[str, ...]] = {
    "rtx-2060": ("fp32", "fp16", "int8"),
    "rtx-3060": ("fp32", "tf32", "fp16", "bf16", "int8", "int4"),
    "rtx-4090": ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4"),
    "rtx-portable": ("fp32", "tf32", "fp16", "bf16", "int8", "int4"),
    "dgx-spark": ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4"),
}


@pytest.mark.parametrize("name", OFFERED)
def test_precisions_of_a_device(name: str) -> None:
    assert capabilities.precisions(catalog.load(name), RTX) == OFFERED[name]


def test_open_precisions_are_the_usual_ones() -> None:
    profile = catalog.load("rtx-4090")
    assert capabilities.offered(profile, RTX, "auto") == ("fp32", "fp16", "int8")
    assert capabilities.offered(profile, RTX, "bf16") == ("bf16",)


def test_what_is_not_there_is_said_with_what_is() -> None:
    assert capabilities.refusals(catalog.load("rtx-3060"), RTX, "fp8") == [
        Problem(
            "rtx-3060, compute capability 8.6 (Ampere)",
            "has no fp8: that is there from 8.9 (Ada) on",
            "take --precision int8, or a device that has it",
        )
    ]
    [problem] = capabilities.refusals(device("h100", "9.0"), RTX, "fp16")
    assert problem.what == (
        "TensorRT-RTX does not build for it, but for 7.5, 8.0, 8.6, 8.9, 12.0, 12.1"
    )
    assert problem.fix == "take --runtime tensorrt or tvm-cuda"
    assert capabilities.refusals(catalog.load("h100"), "tensorrt", "fp8") == []
    assert capabilities.refusals(catalog.load("rtx-4090"), RTX, "auto") == []
    [problem] = capabilities.refusals(catalog.load("rtx-4090"), RTX, "int8-dynamic")
    assert problem.fix == "take --precision int8, with --calibration"


def test_tf32_needs_a_peak_to_be_estimated_by() -> None:
    profile = catalog.load("rtx-4090")
    compute = {name: item for name, item in profile.compute.items() if name != "tfloat32"}
    without = profile.model_copy(update={"compute": compute})
    assert "tf32" not in capabilities.precisions(without, RTX)


def test_tables_know_each_other() -> None:
    names = {*capabilities.PRECISIONS, "auto", "int8-dynamic"}
    assert names == set(get_args(Precision))
    for precision, numbers in capabilities.PRECISIONS.items():
        for runtime in (RTX, "tensorrt"):
            assert capabilities.scheme(precision, runtime) in (None, *SCHEMES)
        assert numbers.since in capabilities.ARCHITECTURES
