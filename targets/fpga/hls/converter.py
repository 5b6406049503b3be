"""The program that hls4ml runs in: writes the project, compiles its C simulation and runs it.

    python converter.py

It runs in the environment that `environment` makes, where there is no tapeout, in a folder with
``request.json`` (an `export.Order`, and the precision), ``model.onnx`` and ``frames.npz``; leaves
``project/``, ``results.npz`` and ``versions.json`` there.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import hls4ml
import numpy as np
import onnx
from hls4ml.converters.onnx_to_hls import get_onnx_attribute

#: Optimizing the simulation takes longer than running it on some samples.
_OPTIMIZED, _PLAIN = "-O3", "-O0"


def main() -> None:
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    model = onnx.load("model.onnx")
    config = hls4ml.utils.config.config_from_onnx_model(
        model,
        granularity="name",
        backend=request["backend"],
        default_precision=f"fixed<{request['width']},{request['integer']}>",
        default_reuse_factor=request["reuse"],
    )
    config["Model"]["Strategy"] = "Resource"
    for node in model.graph.node:
        if node.op_type == "Conv" and get_onnx_attribute(node, "group") > 1:
            config["LayerName"][node.name]["Strategy"] = "Latency"  # the other turns its weights
    project = hls4ml.converters.convert_from_onnx_model(
        model,
        output_dir="project",
        project_name="network",
        backend=request["backend"],
        hls_config=config,
        io_type="io_stream",
        part=request["part"],
        clock_period=request["clock_period"],
    )
    project.write()
    script = Path("project/build_lib.sh")
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace(_OPTIMIZED, _PLAIN), encoding="utf-8")
    project._compile()
    script.write_text(text, encoding="utf-8")
    with np.load("frames.npz") as arrays:
        frames = [np.ascontiguousarray(arrays[name]) for name in arrays.files]
    found = project.predict(frames if len(frames) > 1 else frames[0])
    np.savez("results.npz", *(found if isinstance(found, list) else [found]))
    versions = {name: metadata.version(name) for name in ("hls4ml", "onnx")}
    Path("versions.json").write_text(json.dumps(versions), encoding="utf-8")


if __name__ == "__main__":
    main()
