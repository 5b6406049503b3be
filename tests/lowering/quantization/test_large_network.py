"""What it costs to quantize a network of a common size: MobileNetV2, with 64 images.

``pytest --capture=no`` shows the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import networks

#: The figures of one whole quantization, in a process of its own.
SCRIPT = """
import json, sys, time
from pathlib import Path
import numpy as np
import onnxruntime
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.scheme import SCHEMES

path = Path(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (64, 3, 224, 224))
batches = [{"image": item[None].astype(np.float32) / 255} for item in pixels]
del pixels

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
session.run(None, batches[0])
start = time.perf_counter()
for batch in batches:
    session.run(None, batch)
running = time.perf_counter() - start
del session

start, cpu = time.perf_counter(), time.process_time()
found = conversion(load(path), SCHEMES["int8"], batches)
model = found.converted({})
quantizing = time.perf_counter() - start
cpu = time.process_time() - cpu

status = Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
print(json.dumps({
    "ONNX Runtime, s": running,
    "quantization, s": quantizing,
    "quantization, s of processors": cpu,
    "peak memory, GB": peak * 1024 / 1e9,
    "quantized nodes": len(found.nodes),
    "digest": found.recipe({}).digest,
}))
"""


@pytest.mark.slow
def test_memory_stays_small_and_the_bytes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mobilenet_v2.onnx"
    onnx.save(networks.mobilenet_v2(), path)
    found = [figures(path) for _ in range(2)]
    for item in found:
        sys.stdout.write(f"\n{json.dumps(item, indent=1)}\n")
        assert item["quantized nodes"] == 53
        assert item["peak memory, GB"] < 1.5
    assert found[0]["digest"] == found[1]["digest"]


def figures(path: Path) -> dict[str, object]:
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
