"""What a GPU has for one inference, for the roofline model; the same for every runtime of it.

Nothing here was measured by us: the fractions below are what NVIDIA publishes of whole networks
over the peaks of the profiles. `benchmarks/results/gpu.md` sets estimates beside those figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import onnx_ir as ir

from ..budget import Figure, Usage
from ..lowering.analysis.operators import Kind
from ..lowering.analysis.roofline import Cache, Machine, Offload
from ..lowering.analysis.tensors import bytes_of
from ..profiles.schema import Gpu, Profile

#: Kinds that tensor cores compute, and the fraction of their dense peak that is reached in large
#: batches: by BERT Large in batches of 128 on an A100 0.62 in float16 and 0.57 in int8
#: (NVIDIA/TensorRT, demo/BERT), by ResNet-50 offline 0.51 (MLPerf inference 3.0).
_TENSOR: Final[Mapping[Kind, float]] = {
    "convolution": 0.5,
    "matmul": 0.6,
    "attention": 0.5,
    "recurrent": 0.3,
}

#: Kinds that CUDA cores compute, whose peak is that of float32 here; assumed.
_CUDA: Final[Mapping[Kind, float]] = {
    "depthwise": 0.3,
    "pool": 0.3,
    "reduction": 0.3,
    "normalization": 0.3,
    "softmax": 0.3,
    "elementwise": 0.5,
    "movement": 0.5,
    "other": 0.3,
}

#: Profiles have ONNX's names of dtypes, and steps of a program numpy's.
_NUMPY: Final = {"float8e4m3fn": "float8_e4m3fn"}

#: The fraction of the memory's peak bandwidth that long reads reach; assumed.
_READ: Final = 0.85

#: Bytes that one multiprocessor reads from the L2 cache in a cycle: on GA100 and GH100 (of whose
#: 5120 in all NVIDIA's whitepapers tell), and on the others; assumed.
_L2_WIDE: Final = 32
_L2_BYTES: Final = 16
_WIDE: Final = ("8.0", "9.0")

#: Cycles that a kernel takes however little it computes: its start, and threads that wait for one
#: another. ResNet-50 in int8, one image at a time, takes 0.46 ms on an A100, BERT Base in float16
#: 0.67 ms: with 4 us for each kernel of their engines, at 1.41 GHz, the roofline says so too.
_KERNEL: Final = 5600

#: Seconds to start one copy between host and device and to learn of its end, and the fraction of
#: the link's bandwidth that a copy from pinned memory reaches; assumed.
_COPY: Final = 10e-6
_LINK: Final = 0.8


def machine_of(profile: Profile, precision: str) -> Machine:
    """Return what one inference has on a GPU.

    Peaks are those of tensor cores where they compute a dtype; what CUDA cores compute in it has
    theirs, by way of `Machine.special`. float32 is that of CUDA cores, unless `precision` is tf32.

    Raises:
        ValueError: the device has no GPU.
    """
    gpu = gpu_of(profile)
    peaks = {
        str(dtype): entry.peak.value
        for dtype, entry in profile.compute.items()
        if entry.peak is not None
    }
    peaks |= {_NUMPY[dtype]: peak for dtype, peak in peaks.items() if dtype in _NUMPY}
    single = peaks["float32"]
    if precision == "tf32":
        peaks["float32"] = peaks["tfloat32"]
    bandwidth = profile.main_memory.bandwidth.value * _READ
    width = _L2_WIDE if gpu.capability in _WIDE else _L2_BYTES
    near = gpu.multiprocessors.value * gpu.clock.value * width
    return Machine(
        peaks=peaks,
        bandwidth=bandwidth,
        caches=(Cache(gpu.l2.value, max(near, bandwidth)),),
        efficiency={**_TENSOR, **_CUDA},
        overhead=_KERNEL / gpu.clock.value,
        special={
            dtype: {kind: part * single / peak for kind, part in _CUDA.items()}
            for dtype, peak in peaks.items()
            if peak != single
        },
    )


def transfer(model: ir.Model, profile: Profile) -> float:
    """Return the seconds to copy inputs to the device and outputs back, one after the other.

    A GPU that computes from the CPU's memory copies nothing: 0.
    """
    link = gpu_of(profile).pcie
    if link is None:
        return 0.0
    moved = [bytes_of(value) for value in (*model.graph.inputs, *model.graph.outputs)]
    return len(moved) * _COPY + sum(moved) / (_LINK * link.bandwidth.value)


def copies(model: ir.Model, profile: Profile) -> Offload | None:
    """Return the copies as the roofline model counts them; None if there are none."""
    seconds = transfer(model, profile)
    return Offload({}, seconds) if seconds else None


def with_copies(usage: Usage, model: ir.Model, profile: Profile) -> Usage:
    """Return a usage whose latency has the copies, if there are any, as a term of its own.

    Args:
        usage: with the latency on the GPU alone.
        model: lowered, for its inputs and outputs.
    """
    link, on_gpu = gpu_of(profile).pcie, usage.latency
    if link is None or on_gpu is None:
        return usage
    how = f"PCIe {link.generation.value} x{link.lanes.value}: inputs and outputs"
    moving = Figure(transfer(model, profile), "s", "estimated", how)
    whole = Figure(on_gpu.value + moving.value, "s", "estimated", f"{on_gpu.note}; with copies")
    parts = (("on the GPU", on_gpu), ("copies over PCIe", moving))
    return dataclasses.replace(usage, latency=whole, latency_parts=parts)


def gpu_of(profile: Profile) -> Gpu:
    """Return what a profile says of its GPU; raises ValueError if it has none."""
    if profile.gpu is None:
        raise ValueError(f"{profile.name} has no GPU")
    return profile.gpu
