"""Numbers in TFLite files: weights in half precision or 8 bits, integers at the borders."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import litert
import numpy as np
import onnx_ir as ir
import pytest

from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.compiler import Options
from tapeout.errors import ModelError, UsageError
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.matching import shape_of
from tapeout.lowering.passes.integer_borders import IntegerBorders
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.quantized import meaning_of
from tapeout.lowering.reference import Reference
from tapeout.targets.tflite.arena import arena_of
from tapeout.targets.tflite.lower import to_tflite
from tapeout.targets.tflite.pipeline import pipeline

import support

DIGITS = support.MODELS / "digits.npz"


@dataclasses.dataclass(frozen=True)
class Case:
    """One model in one precision.

    Attributes:
        size: of the file, as a fraction of the one in float, at most.
        near: dB by which the file's outputs lie near ONNX Runtime's of the converted model, at
            least: a number that lies between two of 8 bits may be rounded to either.
        exact: dB by which they lie near those of the float model.
    """

    model: str
    precision: str
    size: float
    near: float
    exact: float


CASES = (
    Case("digits_cnn", "fp16", 0.57, 110, 65),
    Case("resnet8_cifar10", "fp16", 0.54, 110, 50),
    Case("ad_autoencoder", "fp16", 0.52, 110, 65),
    Case("digits_cnn", "int8-dynamic", 0.38, 70, 40),
    Case("resnet8_cifar10", "int8-dynamic", 0.31, 50, 26),
    Case("ad_autoencoder", "int8-dynamic", 0.29, 100, 36),
)

SCHEMES_OF = {"fp16": "weights-fp16", "int8-dynamic": "int8-dynamic"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.precision}")
def test_weights_alone_are_shorter(case: Case) -> None:
    model = load(support.MODELS / f"{case.model}.onnx")
    (entry,) = model.graph.inputs
    samples = [{str(entry.name): item[None]} for item in support.real_inputs(case.model, 8)]
    converted = conversion(model, SCHEMES[SCHEMES_OF[case.precision]], []).converted({})
    lowered = pipeline(case.precision).run(converted.clone())
    content, plain = to_tflite(lowered), to_tflite(pipeline().run(model.clone()))
    assert content == to_tflite(pipeline(case.precision).run(converted.clone()))
    assert len(content) < case.size * len(plain)
    known, real = (outputs(Reference(item), samples) for item in (converted, model))
    for xnnpack in (False, True):
        run = litert.interpreter(content, xnnpack=xnnpack).get_signature_runner()
        found = np.concatenate([next(iter(run(**item).values())) for item in samples])
        assert sqnr(known, found) > case.near
        assert sqnr(real, found) > case.exact
    names = litert.operators(content)
    if case.precision == "int8-dynamic":
        assert "DEQUANTIZE" not in names
        return
    halves = [node.outputs[0] for node in lowered.graph if node.op_type == "Cast"]
    assert names.count("DEQUANTIZE") == len(halves) > 3


def test_what_is_computed_once_stays_beside_the_arena(tmp_path: Path) -> None:
    model = load(support.MODELS / "digits_cnn.onnx")
    arenas, copies = {}, 0
    for precision in ("fp32", *SCHEMES_OF):
        scheme = SCHEMES[SCHEMES_OF.get(precision, "weights-fp16")]
        lowered = pipeline(precision).run(conversion(model, scheme, []).converted({}))
        if precision == "fp16":
            halves = [node.outputs[0] for node in lowered.graph if node.op_type == "Cast"]
            copies = sum(-(-4 * math.prod(shape_of(value) or ()) // 64) * 64 for value in halves)
        (tmp_path / precision).write_bytes(to_tflite(lowered))
        arenas[precision] = arena_of(tmp_path / precision)
    assert arenas["fp16"] - arenas["fp32"] == copies > 4 * 10000
    # Integer sums of the weights, for the zero points of the data, lie apart from the arena, too.
    assert arenas["int8-dynamic"] < arenas["fp32"]


def outputs(reference: Reference, samples: list[dict[str, np.ndarray]]) -> np.ndarray:
    return np.concatenate([next(iter(reference.run(item).values())) for item in samples])


HALVED = {
    "ConvTranspose": (
        """g (float[1,8,6,6] x, float[8,4,3,3] w, float[8] b) => (float[1,8,13,13] y) {
            y = ConvTranspose <group = 2, strides = [2,2]> (x, w, b)
        }""",
        {"w": (8, 4, 3, 3), "b": (8,)},
        {"DEQUANTIZE": 2, "TRANSPOSE_CONV": 2},
    ),
    # All steps read the float32 numbers that one operator makes.
    "GRU": (
        """g (float[5,1,16] x, float[1,96,16] w, float[1,96,32] r) => (float[5,1,1,32] y) {
            y = GRU <hidden_size = 32> (x, w, r)
        }""",
        {"w": (1, 96, 16), "r": (1, 96, 32)},
        {"DEQUANTIZE": 3, "FULLY_CONNECTED": 10},
    ),
}


@pytest.mark.parametrize(("text", "weights", "counts"), HALVED.values(), ids=HALVED)
def test_other_operators_read_half_precision(
    text: str, weights: dict[str, tuple[int, ...]], counts: dict[str, int]
) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(size) for name, size in weights.items()}
    model = support.from_text(
        text, **{name: array.astype(np.float32) for name, array in arrays.items()}
    )
    converted = conversion(model, SCHEMES["weights-fp16"], []).converted({})
    content = to_tflite(pipeline("fp16").run(converted.clone()))
    names = litert.operators(content)
    assert {name: names.count(name) for name in counts} == counts
    feeds = support.random_feeds(model)
    for xnnpack in (False, True):
        found = litert.run(content, feeds, xnnpack=xnnpack)["y"]
        support.assert_close(found, Reference(converted).run(feeds)["y"], 1e-5, "y")


def test_every_product_may_round_its_data() -> None:
    """Grouped, dilated, strided, of signals, of one output: as near as 8 bits are."""
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.standard_normal((32, 4, 3, 3)), "b": rng.standard_normal((64, 32, 3, 3)),
        "c": rng.standard_normal((64, 1, 5, 5)), "d": rng.standard_normal((1, 64, 4, 4)),
        "e": rng.standard_normal((32, 16, 3)), "f": rng.standard_normal((32, 40)),
        "g": rng.standard_normal(40),
    }  # fmt: skip
    model = support.from_text(
        """g (float[1,8,16,16] x, float[1,16,24] s, float[2,3,32] t, float[32,4,3,3] a,
              float[64,32,3,3] b, float[64,1,5,5] c, float[1,64,4,4] d, float[32,16,3] e,
              float[32,40] f, float[40] g) => (float[1,1,3,3] y, float[1,32,11] u, float[2,3,40] v)
        {
            p = Conv <group = 2, pads = [1,1,1,1]> (x, a)
            q = Conv <dilations = [2,2], pads = [2,2,2,2], strides = [1,1]> (p, b)
            r = Conv <group = 64, strides = [2,2], pads = [1,1,1,1]> (q, c)
            y = Conv <strides = [2,2], pads = [1,1,0,0]> (r, d)
            u = Conv <strides = [2]> (s, e)
            w = MatMul(t, f) v = Add(w, g)
        }""",
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    )
    converted = conversion(model, SCHEMES["int8-dynamic"], []).converted({})
    content = to_tflite(pipeline("int8-dynamic").run(converted.clone()))
    assert "DEQUANTIZE" not in litert.operators(content)
    feeds = support.random_feeds(model)
    expected = Reference(converted).run(feeds)
    for xnnpack in (False, True):
        for name, found in litert.run(content, feeds, xnnpack=xnnpack).items():
            assert sqnr(expected[name], found) > 30, (name, xnnpack)


@pytest.mark.parametrize("name", ["digits_cnn", "kws_dscnn"])
def test_a_file_of_integers_alone(name: str) -> None:
    """Before the keyword spotter's first convolution stand two reshapes of the float input."""
    model = load(support.MODELS / f"{name}.onnx")
    (entry,) = model.graph.inputs
    reals = support.real_inputs(name, 6)
    found = conversion(model, SCHEMES["tflite"], [{str(entry.name): item[None]} for item in reals])
    converted = found.converted({})
    borders = IntegerBorders()(converted.clone()).model
    content = to_tflite(pipeline().run(borders.clone()))
    details = litert.interpreter(content, xnnpack=False).get_tensor_details()
    assert {item["dtype"] for item in details} == {np.int8, np.int32}
    assert {"QUANTIZE", "DEQUANTIZE"}.isdisjoint(litert.operators(content))
    reference, real = Reference(borders), Reference(converted)
    for item in reals:
        stored = {str(entry.name): rounded(item[None], borders)}
        for output, wanted in reference.run(stored).items():
            exact = real.run({str(entry.name): item[None]})[output]
            np.testing.assert_array_equal(as_reals(wanted, borders), exact)
            for xnnpack in (False, True):
                given = litert.run(content, stored, xnnpack=xnnpack)[output]
                assert given.dtype == np.int8
                # The builtin mean and Softmax may round to the neighbour.
                assert np.abs(given.astype(int) - wanted).max() <= (0 if xnnpack else 1)


def rounded(array: np.ndarray, model: ir.Model) -> np.ndarray:
    meaning = meaning_of(model.graph.inputs[0])
    assert meaning is not None
    steps = np.rint(array / np.float32(meaning.scale)) + meaning.zero
    return np.clip(steps, -128, 127).astype(np.int8)


def as_reals(array: np.ndarray, model: ir.Model) -> np.ndarray:
    meaning = meaning_of(model.graph.outputs[0])
    assert meaning is not None
    return np.asarray((array.astype(np.float32) - np.float32(meaning.zero)) * meaning.scale)


def compiled(output: Path, options: Options, drop: float | None = None) -> Bundle:
    model = support.MODELS / "digits_cnn.onnx"
    job = compiler.prepare(model, "raspberry-pi-5", Budget(accuracy_drop=drop), options)
    return compiler.build(job, output).bundle


INTEGERS = Options(
    precision="int8",
    runtime="tflite",
    calibration=f"{DIGITS}:calibration",
    evaluation=f"{DIGITS}:test",
    io="int8",
)


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return compiled(tmp_path_factory.mktemp("integers") / "x.bundle", INTEGERS, 0.002)


def test_a_bundle_of_integers_says_what_they_mean(integers: Bundle) -> None:
    manifest = integers.manifest
    assert manifest.plan.options["io"] == "int8"
    assert "integer-borders" in manifest.passes
    for tensor in (*manifest.inputs, *manifest.outputs):
        assert tensor.dtype == "int8"
        assert tensor.quantization is not None
    assert manifest.inputs[0].quantization is not None
    assert manifest.inputs[0].quantization.zero_point == (-128,)  # the images are not negative
    assert manifest.usage["accuracy_drop"] == {
        **manifest.usage["accuracy_drop"],
        "known": "measured",
        "value": 0.0,
    }


def test_real_numbers_are_rounded_and_integers_taken(integers: Bundle, tmp_path: Path) -> None:
    found = runner.verify(integers, f"{DIGITS}:test")
    assert found.accuracy is not None
    assert found.accuracy.share > 0.99
    images = support.real_inputs("digits_cnn", 5)
    np.savez(tmp_path / "reals.npz", image=images)
    reals = runner.run(integers, str(tmp_path / "reals.npz"))["logits"]
    meaning = integers.manifest.inputs[0].quantization
    assert meaning is not None
    stored = np.clip(np.rint(images / np.float32(meaning.scale[0])) - 128, -128, 127)
    np.savez(tmp_path / "stored.npz", image=stored.astype(np.int8))
    taken = runner.run(integers, str(tmp_path / "stored.npz"))["logits"]
    assert reals.dtype == taken.dtype == np.int8
    np.testing.assert_array_equal(reals, taken)
    np.savez(tmp_path / "nan.npz", image=np.full_like(images, np.nan))
    with pytest.raises(UsageError) as caught:
        runner.run(integers, str(tmp_path / "nan.npz"))
    assert str(caught.value.problems[0]) == "image: holds NaN or infinite values"
    # So does the program that the bundle carries.
    program = [sys.executable, str(integers.directory / "run" / "run.py"), "-o", "y.npz", "-i"]
    done = [
        subprocess.run([*program, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        for name in ("reals.npz", "nan.npz")
    ]
    assert [item.returncode for item in done] == [0, 2], done
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["logits"], reals)
    assert "NaN" in done[1].stderr


def test_no_samples_are_needed_but_the_accuracy_is_a_contract(tmp_path: Path) -> None:
    options = Options("int8-dynamic", "tflite", evaluation=f"{DIGITS}:test")
    manifest = compiled(tmp_path / "x.bundle", options, 0.002).manifest
    assert manifest.conversion is not None
    assert (manifest.conversion.scheme, manifest.conversion.kept) == ("int8-dynamic", {})
    assert manifest.usage["accuracy_drop"]["known"] == "measured"
    assert manifest.usage["accuracy_drop"]["value"] <= 0.002
    assert manifest.inputs[0].dtype == "float32"


def test_weights_beyond_half_precision_stay_and_are_named(tmp_path: Path) -> None:
    model = load(support.MODELS / "digits_cnn.onnx")
    weight = next(node.inputs[1] for node in model.graph if node.op_type == "Conv")
    assert weight is not None
    assert weight.const_value is not None
    weight.const_value = ir.Tensor(weight.const_value.numpy() * np.float32(1e6), name=weight.name)
    found = conversion(model, SCHEMES["weights-fp16"], [])
    ((node, reason),) = found.fixed.items()
    assert "is beyond 65504" in reason
    lowered = pipeline("fp16").run(found.converted({}))
    content = to_tflite(lowered)
    halves = [item.op_type for item in lowered.graph].count("Cast")
    assert litert.operators(content).count("DEQUANTIZE") == halves
    assert node not in found.nodes
    litert.assert_same(found.converted({}))


REFUSED = [
    (Options("int8", "tvm", io="int8"), ModelError, "tvm: has no int8 inputs and outputs"),
    (Options("fp16", "tflite", io="int8"), UsageError, "--io int8: needs --precision int8"),
    (Options("int8-dynamic", "tvm"), ModelError, "tvm: offers no int8-dynamic plan"),
    (Options("auto", "tflite", io="int8"), UsageError, "--calibration: is not given"),
]


@pytest.mark.parametrize(("options", "error", "reason"), REFUSED)
def test_what_a_runtime_does_not_offer(
    options: Options, error: type[ModelError | UsageError], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        compiled(tmp_path / "x.bundle", options)
    assert reason in str(caught.value.problems[0])
