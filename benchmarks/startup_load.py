"""Loads one engine in this process and tells how long that took, and its first inferences.

    python startup_load.py ENGINE FILE INPUTS.npz

`ENGINE` is a class of cpu_peers.py. One line of JSON is printed: the milliseconds from the file to
an engine that takes inputs, of the first inference, and of the fastest of some more.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import sys
import time
from pathlib import Path

import cpu_peers
import numpy as np

#: Further inferences.
_MORE = 5

#: What the runtimes are imported as: none of that is the time of a network.
_RUNTIMES = {
    "BundleEngine": ("tvm_ffi", "ai_edge_litert.interpreter"),
    "OnnxRuntime": ("onnxruntime",),
    "OpenVino": ("openvino",),
    "Iree": ("iree.runtime",),
}


def main(engine: str, file: Path, inputs: Path) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    sys.modules["torch"] = None  # type: ignore[assignment]  # tvm_ffi would import it
    for module in _RUNTIMES[engine]:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    with np.load(inputs) as arrays:
        feeds = dict(arrays)
    times = [time.perf_counter()]
    loaded = getattr(cpu_peers, engine)(file, 1, feeds)
    for _ in range(1 + _MORE):
        times.append(time.perf_counter())
        loaded.infer()
    times.append(time.perf_counter())
    load, first, *more = (1e3 * (end - start) for start, end in itertools.pairwise(times))
    print(json.dumps([load, first, min(more)]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
