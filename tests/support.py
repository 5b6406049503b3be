"""What several tests share: the real models, and comparison with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from tapeout.lowering import dialect
from tapeout.lowering.reference import Reference

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT.parent / "shared" / "models"
NAMES = ("digits_cnn", "resnet8_cifar10", "kws_dscnn", "ad_autoencoder", "vww_mobilenet")

#: Seconds from the first number of a frame in to its last one out that designs for FPGAs keep to;
#: vww_mobilenet's is placed by no test.
FPGA_LATENCIES = {
    "digits_cnn": 0.2e-3,
    "ad_autoencoder": 40e-6,
    "kws_dscnn": 0.45e-3,
    "resnet8_cifar10": 2e-3,
}


def real_inputs(name: str, count: int = 16) -> np.ndarray:
    """Return the first `count` samples of the real data that go with a model, float32.

    Keyword spotting has no real data: its inputs are uniform over the range of the official int8
    model's input (scale 0.5847, zero point 83), from a fixed seed.
    """
    if name == "digits_cnn":
        return np.load(MODELS / "digits.npz")["test"][:count]
    if name == "ad_autoencoder":
        return np.load(MODELS / "toycar.npz")["windows"][:count].astype(np.float32)
    if name == "kws_dscnn":
        low, high = (-128 - 83) * 0.5847, (127 - 83) * 0.5847
        return np.random.default_rng(0).uniform(low, high, (count, 49, 10, 1)).astype(np.float32)
    photos = np.load(MODELS / "photos.npz")
    if name == "resnet8_cifar10":
        return photos["crops32"][:count].astype(np.float32)
    return photos["crops96"][:count].astype(np.float32) / np.float32(255)


def from_text(graph: str, **constants: np.ndarray) -> ir.Model:
    """Return a model like those after import, from the text of one graph in ONNX's own syntax.

    The header is added; nodes without a name are called after their first output, and every value
    gets its dtype and shape. An input of the text that `constants` names becomes that constant.
    """
    domains = f'"" : {dialect.WORKING_OPSET}, "{dialect.DOMAIN}" : 1'
    header = f"<ir_version: {dialect.IR_VERSION}, opset_import: [{domains}]>"
    proto = onnx.parser.parse_model(f"{header}\n{graph}")
    for node in proto.graph.node:
        node.name = node.name or next(filter(None, node.output))
    for value in [value for value in proto.graph.input if value.name in constants]:
        proto.graph.input.remove(value)
        array = constants[value.name]
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    model = ir.from_proto(
        onnx.shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=not proto.functions, data_prop=True
        )
    )
    for name, array in constants.items():
        if name in model.graph.initializers:
            model.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    return model


def body(model: ir.Model) -> str:
    """Return the nodes of the main graph as text, one a line, without their names."""
    lines = []
    for node in ir.to_proto(model).graph.node:
        node.ClearField("name")
        node.ClearField("metadata_props")
        lines.append(" ".join(onnx.printer.to_text(node).split()))
    return "\n".join(lines)


def random_feeds(model: ir.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Return standard normal inputs (small integers, booleans where asked) of static shape."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        shape = tuple(int(dim) for dim in value.shape or ())
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        drawn = np.asarray(rng.standard_normal(shape))
        feeds[str(value.name)] = np.asarray(
            drawn.astype(dtype)
            if dtype.kind == "f"
            else drawn > 0
            if dtype.kind == "b"
            else np.abs(drawn * 4).astype(dtype)
        )
    return feeds


def assert_same_numbers(
    before: ir.Model,
    rewrite: Callable[[ir.Model], ir.Model],
    feeds: Mapping[str, np.ndarray] | None = None,
    tolerance: float = 1e-5,
) -> ir.Model:
    """Rewrite a model and compare ONNX Runtime's outputs before and after; return the new model.

    `tolerance` is relative to the largest finite absolute value of each reference output;
    infinities and NaN must be the same.
    """
    feeds = random_feeds(before) if feeds is None else dict(feeds)
    expected = Reference(before).run(feeds)
    after = rewrite(before)
    actual = Reference(after).run(feeds)
    assert list(actual) == list(expected)
    for name, wanted in expected.items():
        assert_close(actual[name], wanted, tolerance, name)
    return after


def assert_close(found: np.ndarray, wanted: np.ndarray, tolerance: float, where: str) -> None:
    """Compare two outputs, of one dtype and shape; infinities and NaN must be the same.

    `tolerance` is relative to the largest finite absolute value that is wanted.
    """
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), where
    sizes = np.abs(wanted.astype(np.float64))
    scale = float(np.max(sizes, initial=0.0, where=np.isfinite(sizes))) or 1.0
    np.testing.assert_allclose(
        found.astype(np.float64),
        wanted.astype(np.float64),
        rtol=0,
        atol=tolerance * scale,
        err_msg=where,
    )


def assert_equal_or_close(
    found: np.ndarray, wanted: np.ndarray, tolerance: float, where: str
) -> None:
    """Compare as `assert_close` does; integers and booleans must be equal."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), where
    if wanted.dtype.kind in "iub":
        np.testing.assert_array_equal(found, wanted, err_msg=where)
    else:
        assert_close(found, wanted, tolerance, where)
