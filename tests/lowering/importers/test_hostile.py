"""Files that nobody meant well: mutants of good models, in a process that may crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mutations
import onnx_files
import support

SMALL = {
    "shapes": """g (float[N,3,4] x) => (float[a,b] y) <int64[1] minus = {-1}> {
        s = Shape(x)
        zero = Constant<value_int = 0>()
        n = Gather(s, zero)
        axes = Constant<value_ints = [0]>()
        n1 = Unsqueeze(n, axes)
        t = Concat<axis = 0>(n1, minus)
        y = Reshape(x, t)
    }""",
    "branches": """g (float[2] x) => (float[2] y) {
        yes = Constant<value = bool {1}>()
        a = If(yes) <then_branch = t () => (float[2] r) { r = Neg(x) },
                     else_branch = e () => (float[2] r) { r = Abs(x) }>
        y = Softmax<axis = 0>(a)
    }""",
    "grows": """g (float[1,1,2,2] x) => (float[a,b,c,d] y)
        <int64[4] sizes = {1, 1, 4, 4}, int64[4] reps = {1, 1, 2, 1}> {
        r = Resize<mode = "nearest">(x, , , sizes)
        t = Tile(r, reps)
        q, y = Split<axis = 2, num_outputs = 2>(t)
    }""",
    "calls": """g (float[2] x) => (float[2] y) { a = f.A<k = 1>(x) y = f.B(a, a) }
        <domain: "f", opset_import: ["" : 17, "f": 1]>
        A <k> (x) => (y) { a = Cast<to: int = @k>(x) y = f.B(a, x) }
        <domain: "f", opset_import: ["" : 17]> B (a, b) => (y) { y = Add(a, b) }""",
    "quantized": """g (uint8[1,2,5,5] x) => (float[1,4] y)
        <float s = {0.1}, uint8 z = {7}, int8[4,2,1,1] w = {1,2,3,4,5,6,7,8},
         float[4] t = {1,2,3,4}, int8[4] o = {0,0,0,0}> {
        c = QLinearConv(x, s, z, w, t, o, s, z)
        d = DequantizeLinear<axis = 1>(c, s, z)
        p = GlobalAveragePool(d)
        y = Flatten(p)
    }""",
    "old": """g (float[1,2,4,4] x) => (float[1,2] y) {
        a = Clip<min = 0.0>(x)
        b = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1]>(a)
        c = ReduceMean<axes = [2, 3], keepdims = 0>(b)
        y = Softmax(c)
    }""",
}
OPSETS = {"grows": 18, "old": 10}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Good models to mutate: small ones that reach every part of the importer, and a real one."""
    folder = tmp_path_factory.mktemp("good")
    paths = []
    for name, text in SMALL.items():
        more = ', "f": 1' if name == "calls" else ""
        proto = onnx_files.parse(text, OPSETS.get(name, 17), more=more)
        paths.append(folder / f"{name}.onnx")
        paths[-1].write_bytes(proto.SerializeToString())
    return [*paths, *paths, support.MODELS / "digits_cnn.onnx", support.MODELS / "kws_dscnn.onnx"]


def test_the_good_models_are_good(good: list[Path]) -> None:
    for path in good:
        onnx_files.checked(onnx_files.load(path))


def test_a_seed_always_gives_the_same_mutant(good: list[Path]) -> None:
    models = [path.read_bytes() for path in good]
    first, second = ([mutations.mutant(seed, models) for seed in range(40)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 30


@pytest.mark.parametrize("batch", range(4))
def test_mutants_give_a_valid_model_or_an_error_of_ours(good: list[Path], batch: int) -> None:
    """No crash, no other exception, no memory, and all in good time."""
    count = 150
    done = subprocess.run(
        [
            sys.executable,
            str(Path(mutations.__file__)),
            str(batch * count),
            str((batch + 1) * count),
            *map(str, good),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"crashed at {done.stdout[-40:]!r}\n{done.stderr[-2000:]}"
    assert "seed" not in done.stdout, done.stdout
    valid = int(done.stdout.split()[-2])
    assert 0 < valid < count
