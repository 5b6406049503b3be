"""GPUs: how far the estimate of a latency is from the figures that others have published.

Nothing is measured: there is no GPU here. What an engine for TensorRT for RTX does is read from its
list of layers, built for the device; for the others the network's own steps are counted. TensorRT
has run the published networks, whose kernels may be others. Weights are random, as latency does not
depend on them.

    python benchmarks/gpu.py -o FILE.md
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.conversion import conversion, preparation
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.profiles import catalog
from tapeout.targets.base import Plan, Precision, target_for

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import architectures

import networks
from quantized import min_max

#: BERT Base (Devlin and others, 2019) behind its embeddings: 12 layers, 768 wide, 12 heads.
NETWORKS: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "resnet_50": architectures.resnet_50,
    "mobilenet_v2": networks.mobilenet_v2,
    "bert_base_128": lambda: architectures.encoder(128, 768, 12, 12),
    "bert_base_384": lambda: architectures.encoder(384, 768, 12, 12),
}

ZOO: Final = "NVIDIA, tensorflow-quantization toolkit, model zoo results: TensorRT 8.4, batch 1"
BERT: Final = "NVIDIA/TensorRT, demo/BERT/README.md: averages, copies not counted"
MLPERF: Final = "MLPerf inference {}, closed, NVIDIA: {}, single stream, median"
EMBEDL: Final = "docs.embedl.com, embedl-deploy, benchmarks: TensorRT 10.9, trtexec without copies"


@dataclasses.dataclass(frozen=True)
class Published:
    """A latency that somebody measured.

    Attributes:
        milliseconds: for one inference of batch 1.
        copies: whether inputs and outputs are moved in that time.
        fitted: whether a constant of the cost model was set with it in view.
    """

    device: str
    network: str
    precision: Precision
    milliseconds: float
    source: str
    copies: bool = False
    fitted: bool = False


PUBLISHED: Final = (
    Published("a100", "resnet_50", "int8", 0.46, ZOO, fitted=True),
    Published("a100", "bert_base_128", "fp16", 0.67, BERT, fitted=True),
    Published("a100", "bert_base_384", "fp16", 1.31, BERT),
    Published("a100", "mobilenet_v2", "int8", 0.30, ZOO),
    Published(
        "a100", "resnet_50", "int8", 0.470, MLPERF.format("3.0", "A100-PCIe-80GBx1"), copies=True
    ),
    Published("a10", "resnet_50", "int8", 0.469, MLPERF.format("1.0", "A10x1"), copies=True),
    Published("l4", "resnet_50", "int8", 0.346, MLPERF.format("3.1", "L4x1"), copies=True),
    Published("l4", "resnet_50", "int8", 0.222, EMBEDL),
    Published("l4", "resnet_50", "fp16", 0.267, EMBEDL),
    Published("jetson-agx-orin", "resnet_50", "int8", 0.636, MLPERF.format("3.1", "Orin")),
)

#: What the networks are converted to: int8 as TensorRT's calibration does it, by extremes.
SCHEMES_OF: Final[Mapping[Precision, str]] = {"fp16": "fp16", "int8": "tensorrt"}


def lowered(network: str, precision: Precision, scratch: Path) -> ir.Model:
    """Return a network in a precision's numbers, as engines are built from it."""
    path, scheme = scratch / "network.onnx", SCHEMES[SCHEMES_OF[precision]]
    onnx.save(NETWORKS[network](), path)
    model = preparation(scheme).run(load(path))
    [given] = model.graph.inputs
    sample = np.random.default_rng(0).random(given.shape.numpy(), np.float32)
    batches = [{str(given.name): sample}]
    if isinstance(scheme, Scheme):
        Quantize(min_max(model, scheme, batches))(model)
    else:
        model = conversion(load(path), scheme, batches).converted({})
    return canonical("nchw").run(model)


def estimate(item: Published, model: ir.Model) -> float:
    """Return our milliseconds for what was measured, with the copies if they were."""
    profile = catalog.load(item.device)
    runtime = profile.runtimes[0].name
    usage = target_for(runtime).estimate(model, profile, Plan(runtime, item.precision))
    terms = dict(usage.latency_parts)
    figure = usage.latency if item.copies or not terms else terms["on the GPU"]
    if figure is None:
        raise ValueError(f"{runtime} estimates no latency")
    return figure.value * 1e3


def report(scratch: Path) -> str:
    """Return the page: one row for each published figure, and how far the estimates are."""
    known: dict[tuple[str, Precision], ir.Model] = {}
    rows, factors = [], []
    for item in PUBLISHED:
        way = (item.network, item.precision)
        if way not in known:
            known[way] = lowered(*way, scratch)
        ours = estimate(item, known[way])
        ratio = ours / item.milliseconds
        if not item.fitted:
            factors.append(max(ratio, 1 / ratio))
        rows.append(
            f"| {item.device} | {item.network} | {item.precision} | {ours:.3f} |"
            f" {item.milliseconds:.3f} | {ratio:.2f} | {'yes' if item.copies else 'no'} |"
            f" {'yes' if item.fitted else 'no'} | {item.source} |"
        )
    mean = math.exp(statistics.fmean(math.log(factor) for factor in factors))
    return HEAD + "\n".join(rows) + FOOT.format(mean=mean, worst=max(factors), count=len(factors))


HEAD = """# GPUs: the estimate beside published figures

`python benchmarks/gpu.py`. **Nothing on this page was measured by us**: no GPU was at hand. The
estimates are those that `tapeout compile` prints (targets/gpu.py): a roofline over the layers that
TensorRT for RTX lists for the engine, built for the device without it, or over the network's own
steps where that builder does not serve the device (Jetson). The published figures are TensorRT's,
in other versions, and the weights here are random. One inference of batch 1; milliseconds.

| device | network | precision | estimate | published | ratio | copies | fitted | source |
|---|---|---|---|---|---|---|---|---|
"""

FOOT = """

Of the {count} figures that no constant was fitted to, the estimate is off by a factor of {mean:.2f}
in the geometric mean and {worst:.2f} at most. At batch 1 what counts is how long a kernel takes
that has little to do, for which one number of cycles stands (5600: 4 us on an A100, 2.2 on an RTX
4090). The sources themselves differ by 1.6 for the same network on the same card: ResNet-50 in int8
on the L4 takes 0.346 ms with the load generator and copies of MLPerf, 0.222 in trtexec with CUDA
graphs. That a kernel's least time is in cycles and not in seconds was settled with this table in
view: with 4 us on every card the factors were 1.48 and 2.39. What TensorRT for RTX computes in
float32 although the network asks for int8 counts as such.
So a latency budget on a GPU is held against a coarse figure: the manifest calls it estimated, and
`tapeout bench` measures it where the card is.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = report(Path(scratch))
    given.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
