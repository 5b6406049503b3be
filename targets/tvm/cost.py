"""How fast TVM's code is, for the roofline model.

Products are computed by schedules of ours, and their cycles are counted by the analysis that these
come from (`cycles`). All else reaches a share of what the vector units can do.

Every constant here and in `cycles` was measured kernel by kernel on one core of a Zen 4 (AVX-512,
one multiply-add of whole vectors in a cycle), in engines of the networks of `benchmarks/cpu.py`,
which prints how far estimates are from what is measured:

    share of the peak                             kernels
    0.95  a 3 x 3 convolution of many channels    ResNet-18, all in tiles of 28 sums
    0.6   a convolution of each channel           MobileNetV2, 14 x 14 and 7 x 7
    0.5   functions and sums, in float32          GELU and softmax of BERT, SiLU of EfficientNet
    0.05  pooling, which tests for pads           ResNet-18, U-Net

    bytes in a cycle, for each lane               kernels
    2     from the second-level cache             LSTM: 256 KiB of weights in each step
    1     from the third                          means of EfficientNet, weights of an autoencoder

Nothing was measured on cores that are not x86-64: of them `_ELSEWHERE` of that is assumed.
"""

from __future__ import annotations

import functools
from typing import Final

import onnx_ir as ir

from ...lowering.analysis.operators import Kind, kind_of
from ...lowering.analysis.roofline import Cache, Machine, Product
from ...lowering.analysis.tensors import bytes_of, inputs_of
from ...profiles.schema import Profile
from .build import Request
from .cycles import cycles_of, recurrent_cycles
from .kernels import INTEGERS, kernel_of
from .schedules.shares import least_gain, sharing_cost

#: The share of the vector units' peak in float32 that each kind of operator reaches, but for the
#: products that `cycles` knows; other convolutions and products are loops as TVM writes them.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.05,
    "depthwise": 0.05,
    "matmul": 0.05,
    "pool": 0.05,
    "reduction": 0.15,
    "normalization": 0.4,
    "softmax": 0.5,
    "elementwise": 0.5,
    "attention": 0.3,
    "recurrent": 0.5,
    "other": 0.5,
}

#: The same of integers, whose arithmetic has two units.
_INTEGER_EFFICIENCY: Final[dict[Kind, float]] = {"elementwise": 1.5, "other": 0.75}

#: The share of all this that is assumed of cores that are not x86-64.
_ELSEWHERE: Final = 0.6

#: Bytes in a cycle, for each lane, from the first-level cache and from the third.
_L1_BYTES: Final = 4.0
_L3_BYTES: Final = 1.0

#: Of so many times what a cache holds, most is still there when it is read again in its order.
_KEPT: Final = 1.25

#: Seconds from one kernel to the next: a call, and the beginning and end of its loops.
_OVERHEAD: Final = 0.02e-6


def machine_of(profile: Profile, threads: int = 1, *, direct: bool = False) -> Machine:
    """Return what some threads of TVM's code have on a CPU: they share what they gain from.

    Args:
        direct: whether convolutions are computed with all multiplications.
    """
    if profile.cpu is None:
        raise ValueError(f"{profile.name} has no CPU")
    core = Request.of(profile, threads, direct=direct).core
    share = 1.0 if profile.toolchain.triple.startswith("x86_64") else _ELSEWHERE
    clock = share * profile.cpu.clock.value
    integers = profile.compute.get("int8")
    units = integers.units.value if integers and integers.units else core.units

    @functools.cache
    def product(node: ir.Node, dtype: str) -> Product | None:
        if kind_of(node) == "recurrent":
            weights = sum(map(bytes_of, inputs_of(node)[1:3]))
            return Product(recurrent_cycles(node, core) / clock, weights)
        kernel = kernel_of(node, dtype, core)
        if kernel is None:
            return None
        speed = clock * threads * (units / core.units if dtype in INTEGERS else 1)
        return Product(cycles_of(kernel) / speed, kernel.weights)

    main = profile.main_memory.bandwidth.value
    l3 = profile.cpu.l3.value if profile.cpu.l3 else 0
    levels = (
        (core.l1, _L1_BYTES * core.lanes),
        (core.l2, core.near),
        (l3, _L3_BYTES * core.lanes),
    )
    return Machine(
        peaks={"float32": 2 * clock * core.lanes * core.units * threads},
        bandwidth=main,
        caches=tuple(
            Cache(int(_KEPT * size), max(main, profile.cpu.clock.value * each * threads))
            for size, each in levels
            if size
        ),
        efficiency=_EFFICIENCY,
        overhead=_OVERHEAD,
        special=dict.fromkeys(INTEGERS, _INTEGER_EFFICIENCY),
        product=product,
        alone=machine_of(profile, direct=direct) if threads > 1 else None,
        sharing=sharing_cost(threads) / clock,
        least=least_gain(threads) / clock,
    )
