"""NVIDIA engines, built without a GPU: how long it takes, and what the builder says of them.

Engine, memory and layers are those of the device's runtime `tensorrt-rtx`; latencies are estimates,
as no engine runs here. The networks with random weights are those of the tests, and so are their
inputs, which calibrate int8.

    python benchmarks/gpu_engines.py [--device rtx-4090] [--only NAME ...] [-o FILE.md]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import onnx

from tapeout.budget import Budget
from tapeout.compiler import Options, plan, prepare
from tapeout.errors import ModelError
from tapeout.planner import Candidate
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tensorrt.builder import engine

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))  # where the networks are generated

import architectures  # noqa: E402 - found by the line above

import networks  # noqa: E402 - as is this
import support  # noqa: E402 - and this

Asked = Literal["fp32", "fp16", "int8"]

RUNTIME: Final = "tensorrt-rtx"

GENERATED: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "resnet_50": architectures.resnet_50,
    "mobilenet_v2": networks.mobilenet_v2,
    "u_net": lambda: architectures.u_net(128, 32),
    "encoder": lambda: architectures.encoder(128, 256, 8, 6),
    "yolo": lambda: architectures.yolo(320, 32),
}

#: The type that products are to be computed in.
TYPES: Final[Mapping[Asked, str]] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}

HEADER: Final = """# Engines of TensorRT-RTX, built without a GPU

`python benchmarks/gpu_engines.py --device {device}`: {title}.

- build: processor seconds of the process that builds the engine from the lowered model
- engine: the size of the file; card: what the builder plans on the card, with inputs and outputs
- layers: kernels that run one after the other, of so many nodes of the lowered model
- MACs as asked: the share of multiply-accumulates in the type of the precision, by the layers
- on the GPU, with copies: the estimated latency without and with copies over PCIe

What is not as asked in int8 is so by our choice: convolutions whose groups have too few channels
for an int8 kernel, depthwise ones above all, stay in fp16. The compiler does not fuse the rounding
to int8 into the product before it, so that int8 takes more kernels, and one image at a time is
seldom faster for it.

"""

COLUMNS: Final = (
    "network", "precision", "build CPU s", "engine MiB", "card MiB", "layers", "MACs as asked",
    "on the GPU us", "with copies us",
)  # fmt: skip


def model_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Return the file of a network and one of samples; those of generated ones are random."""
    data = folder / f"{name}.npz"
    if name not in GENERATED:
        path = support.MODELS / f"{name}.onnx"
        [entry] = onnx.load(path, load_external_data=False).graph.input
        np.savez(data, **{entry.name: support.real_inputs(name)})
        return path, data
    path = folder / f"{name}.onnx"
    model = GENERATED[name]()
    path.write_bytes(model.SerializeToString())
    [entry] = model.graph.input
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    drawn = np.random.default_rng(0).standard_normal((2 * shape[0], *shape[1:]))
    np.savez(data, **{entry.name: drawn.astype(np.float32)})
    return path, data


def rows(name: str, device: str, folder: Path) -> Iterator[str]:
    """Yield the line of each precision."""
    path, data = model_of(name, folder)
    for precision in get_args(Asked):
        options = Options(precision, RUNTIME, calibration=str(data))
        job = prepare(path, device, Budget(), options)
        try:
            [candidate, *_] = plan(job)
        except ModelError as error:
            yield f"| {name} | {precision} | {error.summary} |||||||"
            continue
        yield f"| {name} | {precision} | {' | '.join(cells(candidate, job.profile, precision))} |"


def cells(candidate: Candidate, profile: Profile, precision: Asked) -> Iterator[str]:
    """Yield what is told of one engine."""
    target, model, chosen = candidate.target, candidate.model, candidate.plan
    with tempfile.TemporaryDirectory() as folder:
        engine.cache_clear()
        start = _processor_seconds()
        target.estimate(model, profile, chosen)
        yield f"{_processor_seconds() - start:.2f}"
        built = target.build(model, profile, chosen, Path(folder), lambda _: None)
    usage = built.usage
    yield _mebibytes(usage.storage.value)
    yield _mebibytes(usage.memory.value)
    [layers] = built.report["layers"]["profiles"]
    kernels = [row for row in layers["rows"] if row["limit"] != "none"]
    yield f"{len(kernels)} of {len(model.graph)}"
    total = sum(layers["macs"].values())
    yield f"{layers['macs'].get(TYPES[precision], 0) / total:.1%}"
    yield f"{layers['seconds'] * 1e6:.0f}"
    yield "-" if usage.latency is None else f"{usage.latency.value * 1e6:.0f}"


def _processor_seconds() -> float:
    """Return what the processes that this one has started took, which others do not disturb."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _mebibytes(size: float) -> str:
    return f"{size / (1 << 20):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (*support.NAMES, *GENERATED)
    parser.add_argument("--device", default="rtx-4090")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            for line in rows(name, arguments.device, Path(folder)):
                print(line, flush=True)
                lines.append(line)
    title = catalog.load(arguments.device).title
    text = HEADER.format(device=arguments.device, title=title) + "\n".join([*lines, ""])
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
