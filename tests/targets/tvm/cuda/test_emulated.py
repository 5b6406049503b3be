"""A whole engine, run by its bundle's own program on a card that `emulated_gpu` stands in for.

Shown are the numbers of TVM's scheduled kernels, thread by thread and in both orders in which the
threads of a block may go on, their launches, and the memory that the runtime takes. Not shown is
what NVRTC made of the same kernels: that takes a card.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import emulated_gpu
import numpy as np
import onnx
import pytest

from tapeout import compiler
from tapeout.budget import Budget
from tapeout.job import Options
from tapeout.lowering.importers.onnx import load
from tapeout.profiles import catalog
from tapeout.targets.base import Plan
from tapeout.targets.tvm.cuda import cubin
from tapeout.targets.tvm.cuda.target import CudaTarget

import onnx_files
import support

pytestmark = pytest.mark.slow

NETWORK = """small (float[2,3,6,6] image, float[2,8] more) => (float[2,5] scores, float most)
<float[8,3,3,3] w, float[8] b, float[8,1,3,3] d, float[5,8] g, float[5] h>
{
  c = Conv <pads = [1, 1, 1, 1]> (image, w, b)
  r = Relu (c)
  e = Conv <group = 8, strides = [2, 2]> (r, d)
  p = GlobalAveragePool (e)
  f = Flatten (p)
  s = Add (f, more)
  l = Gemm <transB = 1> (s, g, h)
  scores = Softmax (l)
  most = ReduceMax <keepdims = 0> (r)
}"""


WEIGHTS = {"w": (8, 3, 3, 3), "b": (8,), "d": (8, 1, 3, 3), "g": (5, 8), "h": (5,)}


@dataclasses.dataclass(frozen=True)
class Made:
    """A bundle, what it was compiled from, and a card to run it on."""

    bundle: Path
    model: Path
    card: Path

    def vectors(self) -> dict[str, np.ndarray]:
        with np.load(self.bundle / "test_vectors.npz") as arrays:
            return {name: arrays[name] for name in arrays.files}

    def feeds(self) -> dict[str, np.ndarray]:
        return {name: self.vectors()[name] for name in ("image", "more")}


def compiled(model: Path, bundle: Path) -> Path:
    options = Options(precision="fp32", runtime="tvm-cuda")
    return compiler.compile(model, "h100", bundle, Budget(), options).directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("emulated")
    network = onnx_files.parse(NETWORK)
    rng = np.random.default_rng(3)
    for name, shape in WEIGHTS.items():
        weights = rng.standard_normal(shape).astype(np.float32)
        network.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    model = onnx_files.save(folder, network)
    card = folder / "card"
    card.mkdir()
    emulated_gpu.make(card, source(model))
    return Made(compiled(model, folder / "small.bundle"), model, card)


def source(path: Path) -> str:
    """Return the CUDA source of the kernels that a model becomes."""
    from tapeout.targets.tvm.cuda.compile import compile_model
    from tapeout.targets.tvm.cuda.compiler_process import kernels

    h100 = catalog.load("h100")
    model = CudaTarget().pipeline(h100, Plan("tvm-cuda", "fp32")).run(load(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVM_COMPILE_FORCE_FALLBACK", "1")
        return kernels(compile_model(model, h100.toolchain).executable.mod)


def test_the_bundle_says_what_it_is(made: Made) -> None:
    manifest = json.loads((made.bundle / "manifest.json").read_text())
    assert manifest["status"] == "compiled"
    assert manifest["runtime"] == {"name": "tvm-cuda", "version": "0.27.0.post1"}
    assert "experimental: has not run on such a card" in manifest["usage"]["latency"]["note"]
    (binary,) = cubin.find((made.bundle / "engine.so").read_bytes())
    assert binary.architecture == "sm_90"
    assert {name for name in binary.kernels if "conv2d" in name}


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_its_numbers_are_the_reference_s_and_its_memory_what_was_said(
    made: Made, order: str
) -> None:
    done = emulated_gpu.run(made.card, made.bundle, made.feeds(), order=order, repeat=1)
    assert done.returncode == 0, done.stderr
    vectors = made.vectors()
    with np.load(made.card / "outputs.npz") as outputs:
        for name in ("scores", "most"):
            support.assert_close(outputs[name], vectors[f"expected/{name}"], 1e-5, name)
    usage = json.loads((made.bundle / "manifest.json").read_text())["usage"]
    assert usage["memory"]["known"] == "exact"
    assert int((made.card / "memory").read_text()) == usage["memory"]["value"]


def test_a_card_of_another_capability_is_not_given_the_engine(made: Made) -> None:
    done = emulated_gpu.run(made.card, made.bundle, made.feeds(), capability="89")
    assert done.returncode == 6
    assert "this GPU has compute capability 8.9, the engine is for 9.0" in done.stderr
    assert "tapeout compile model.onnx --device NAME" in done.stderr


def test_a_damaged_engine_is_not_loaded(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.bundle, tmp_path / "damaged")
    engine = tmp_path / "damaged" / "engine.so"
    engine.write_bytes(engine.read_bytes()[:-1] + b"?")
    done = emulated_gpu.run(made.card, tmp_path / "damaged", made.feeds())
    assert done.returncode == 6
    assert "the manifest says" in done.stderr


def test_a_second_compilation_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    again = compiled(made.model, tmp_path / "again")
    files = sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    assert Path("engine.so") in files
    for file in files:
        assert (again / file).read_bytes() == (made.bundle / file).read_bytes(), file
