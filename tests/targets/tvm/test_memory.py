"""The memory that a build reports is what the runtime asks the system for, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.importers.onnx import load
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.profiles import catalog
from tapeout.targets.base import Built, Plan
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.build import BLOCK

import quantized
import support

HERE = Path(__file__).parent

#: Loads an engine in a process where every allocation is counted, and tells its sizes and what it
#: takes from the system once it runs.
PROGRAM = """
import ctypes, json, sys
import numpy as np
import tvm_ffi
from tvm_ffi.libinfo import load_lib_ctypes

counter = ctypes.CDLL(None).allocated_bytes
counter.restype = ctypes.c_size_t
load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL")
library = tvm_ffi.load_module(sys.argv[1])
sizes = [library["weights_size"](), library["workspace_size"]()]
arguments = []
for shape, dtype in [*json.loads(sys.argv[2]), *(([size], "uint8") for size in sizes)]:
    room = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    array = room[start : room.size - 64 + start].view(dtype).reshape(shape)
    arguments.append(tvm_ffi.from_dlpack(array))
infer = library["infer"]
before, held = counter(), []
for _ in range(4):
    infer(*arguments)
    held.append(counter() - before)
print(json.dumps([*sizes, held]))
"""

#: Constants that are equal, views of storages, outputs of several kinds, kernels with scratch.
NETWORK = """g (float[1,8,12,12] x, float[8,8,3,3] w, float[8] b, float[8] same,
       int64[2] flat, float[1] one, int64[1] long)
    => (float[1,8,12,12] y, float[1152] v, float[12,96] p, float[8] c, float[1] s) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(a)
    d = Conv <pads = [1, 1, 1, 1]> (r, w, same)
    y = Add(d, r)
    f = Reshape(y, flat)
    q = Exp(f)
    p = Add(q, f)
    n = Neg(q)
    z = ReduceSum <keepdims = 0> (n)
    s = Add(z, one)
    c = Identity(same)
    e = Sigmoid(y)
    v = Reshape(e, long)
}"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("counter") / "allocations.so"
    zig = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O2"]
    subprocess.run([*zig, "-o", str(library), str(HERE / "allocations.c")], check=True)
    return library


def built(model: ir.Model, directory: Path, threads: int) -> Built:
    profile = catalog.load(catalog.HOST)
    plan = Plan("tvm", "fp32", (("threads", threads),))
    lowered = TARGET.pipeline(profile, plan).run(model)
    return TARGET.build(lowered, profile, plan, directory, lambda _: None)


def allocated(
    engine: Path, model: ir.Model, counter: Path, threads: int
) -> tuple[int, int, list[int]]:
    """Return the bytes of weights and workspace, and those held after each of four inferences."""
    tensors = [
        (list(value.shape.numpy()), str(value.dtype.numpy()))
        for value in (*model.graph.inputs, *model.graph.outputs)
        if value.shape is not None and value.dtype is not None
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(engine), json.dumps(tensors)],
        env=os.environ | {"LD_PRELOAD": str(counter), "TVM_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    weights, workspace, held = json.loads(done.stdout)
    return weights, workspace, held


def small() -> ir.Model:
    rng = np.random.default_rng(0)
    bias = rng.standard_normal(8).astype(np.float32)
    return support.from_text(
        NETWORK,
        w=rng.standard_normal((8, 8, 3, 3)).astype(np.float32),
        b=bias,
        same=bias.copy(),
        flat=np.array([12, 96]),
        one=np.ones(1, np.float32),
        long=np.array([-1]),
    )


def integers(name: str) -> ir.Model:
    """Return one of the real models, quantized."""
    model = quantized.real_model(name)
    scheme = SCHEMES["int8"]
    assert isinstance(scheme, Scheme)
    recipe = quantized.min_max(model, scheme, quantized.real_batches(name, model, 2))
    return Quantize(recipe)(model).model


def named(name: str) -> ir.Model:
    if name == "small":
        return small()
    base, _, precision = name.partition(" ")
    if precision == "int8":
        return integers(base)
    if precision:
        return conversion(quantized.real_model(base), SCHEMES[precision], ()).converted({})
    return load(support.MODELS / f"{base}.onnx", {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["small", "digits_cnn weights-int4", "vww_mobilenet", "vww_mobilenet int8"]
)
def test_the_figures_are_what_the_runtime_allocates(
    name: str, tmp_path: Path, counter: Path
) -> None:
    parts_of(named(name), tmp_path, counter)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the runtime takes one thread a core")
@pytest.mark.parametrize("name", ["vww_mobilenet", "vww_mobilenet int8", "resnet8_cifar10"])
def test_each_thread_has_scratch_memory_of_its_own(
    name: str, tmp_path: Path, counter: Path
) -> None:
    parts_of(named(name), tmp_path, counter, threads=2)


#: Of the memory in float32, what the same model takes in fewer bits: weights and activations lie
#: in these bits, sums never lie in memory. In half precision a residual is added by a kernel of its
#: own, after the product; in float32 by the same, over the residual: two tensors, not three.
RATIOS = {
    "int8": {"weights": 0.29, "workspace": 0.29, "scratch": 0.29},
    "fp16": {"weights": 0.501, "workspace": 0.76, "scratch": 0.5},
}


@pytest.mark.slow
def test_fewer_bits_take_less_memory(tmp_path: Path, counter: Path) -> None:
    needed = {}
    for kind in ("", *RATIOS):
        folder = tmp_path / f"engine{kind}"
        folder.mkdir()
        needed[kind] = parts_of(named(f"resnet8_cifar10 {kind}".strip()), folder, counter)
    for kind, limits in RATIOS.items():
        for part, limit in limits.items():
            assert needed[kind][part] < limit * needed[""][part], (kind, part)


def parts_of(model: ir.Model, directory: Path, counter: Path, threads: int = 1) -> dict[str, int]:
    """Return the parts of an engine's memory, once the runtime was seen to allocate as much."""
    result = built(model, directory, threads)
    weights, workspace, held = allocated(directory / result.engine, model, counter, threads)
    parts = {part: int(figure.value) for part, figure in result.usage.parts}
    given = sum(
        int(np.prod(value.shape.numpy())) * value.dtype.itemsize
        for value in (*model.graph.inputs, *model.graph.outputs)
        if value.shape is not None and value.dtype is not None
    )
    file = directory / BLOCK
    assert parts["weights"] == weights == file.stat().st_size
    assert parts["workspace"] == workspace
    assert parts["scratch"] == held[-1] == held[-2]
    assert parts["inputs and outputs"] == given
    assert all(figure.known == "exact" for _, figure in result.usage.parts)
    assert result.usage.memory.value == sum(parts.values())
    return parts
