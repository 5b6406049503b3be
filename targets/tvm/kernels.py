"""What a node's kernel computes, as `schedules` sees it, before there is a kernel.

The converters decide the same when they make it: what is estimated is what will be built. Nodes
whose products `schedules` does not know have no such kernel.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import onnx_ir as ir

from ...lowering.analysis.arithmetic import input_shape
from ...lowering.analysis.operators import kind_of
from ...lowering.analysis.tensors import bytes_of, dtype_name, shape_of
from ...lowering.layout.nhwc import SUFFIXES
from .schedules.arithmetic import FLOATS, Arithmetic
from .schedules.choices import arithmetic_of, chosen
from .schedules.core import Core
from .schedules.tile import lanes_of, skips_pads
from .schedules.winograd_tile import WinogradTile, winograd_tile
from .schedules.workload import Choice, Workload

#: The dtypes of data whose products are those of integers.
INTEGERS: Final = ("int8", "uint8")

_CHANNELS_LAST: Final = tuple(SUFFIXES.values())
_PRODUCTS: Final = ("Gemm", "MatMul", "MatMulFloat")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A convolution, or a product of matrices.

    Attributes:
        choice: how the workload is computed, if not by Winograd's way.
        winograd: how it is by his way.
    """

    work: Workload
    choice: Choice
    arithmetic: Arithmetic
    core: Core
    winograd: WinogradTile | None

    @property
    def weights(self) -> int:
        """Bytes of the weights as they are packed; 0 of a product of two computed operands."""
        work = self.work
        if work.kind == "dynamic":
            return 0
        word = self.arithmetic.together * np.dtype(self.arithmetic.weight).itemsize
        if work.kind == "depthwise":
            return work.taps * work.outputs * word
        if self.winograd is not None:
            channels = self.winograd.product.channels
            return self.winograd.edge**2 * work.inputs * _up(work.outputs, channels) * word
        lanes = lanes_of(self.choice.channels, self.core)
        return work.taps * work.inputs * -(-work.outputs // self.choice.channels) * lanes * word


def kernel_of(node: ir.Node, dtype: str, core: Core) -> Kernel | None:
    """Return the kernel of a node's products; None: `schedules` knows none.

    Args:
        dtype: of the data, as it is stored.
    """
    kind = kind_of(node)
    if kind in ("convolution", "depthwise") and node.op_type.endswith(_CHANNELS_LAST):
        return _convolution(node, dtype, core)
    if kind == "matmul" and node.op_type.removeprefix("Q") in _PRODUCTS:
        return _matmul(node, dtype, core)
    return None


def _convolution(node: ir.Node, dtype: str, core: Core) -> Kernel | None:
    images, *space, outputs = shape_of(node.outputs[0])
    weight, places, given = input_shape(node, 1), tuple(space), node.attributes
    kernel, inputs, group = weight[2:], weight[1], given.get_int("group", 1)
    strides = tuple(given.get_ints("strides", (1,) * len(kernel)))
    if node.op_type.startswith("ConvTranspose"):
        if group > 1 or max(strides) > 1:
            return None  # several kernels' worth of loops
        inputs = weight[0]
    if not _is_constant(node.inputs[1]):
        return None
    dilations = tuple(given.get_ints("dilations", (1,) * len(kernel)))
    numbers = _numbers(dtype, core)
    uses = math.prod(kernel) * outputs // group
    arithmetic = FLOATS.get(numbers) or core.integers_for(places[-1], inputs, uses)
    together, words = arithmetic.together, arithmetic.words(inputs)
    pairs = arithmetic.rows > 1
    reach = _reach(places, strides, kernel, dilations)
    work = Workload(
        kind="paired" if pairs else "product",
        dtype=numbers,
        images=images,
        places=places,
        reach=places if math.prod(kernel) == 1 else reach,
        strides=strides,
        taps=math.prod(kernel),
        inputs=words,
        outputs=_up(outputs, arithmetic.least_lanes),
        group=group,
        copies="always" if pairs or any(given.get_ints("pads", ())) else "maybe",
    )
    if kind_of(node) == "depthwise":
        return _depthwise(work, kernel, outputs, core)
    if group > 1 and outputs // group % arithmetic.least_lanes:
        return None
    if inputs % together and not pairs and kernel[-1] > 1 and group == dilations[-1] == 1:
        # Rows of a window are read as runs of numbers.
        strides, rows = (*strides[:-1], strides[-1] * inputs), (*kernel[:-1], 1)
        work = dataclasses.replace(
            work,
            reach=_reach(places, strides, rows, dilations),
            strides=strides,
            taps=math.prod(rows),
            inputs=arithmetic.words(kernel[-1] * inputs),
            copies="never",
        )
    elif words * together != inputs:
        work = dataclasses.replace(work, copies="always")
    is_plain = {*strides, *dilations, group} == {1}
    return _kernel(work, core, is_winograd=kernel == (3, 3) and is_plain)


def _depthwise(work: Workload, kernel: tuple[int, ...], channels: int, core: Core) -> Kernel | None:
    """Return the kernel of a convolution of each channel by itself, given that of all."""
    work = dataclasses.replace(work, kind="depthwise", inputs=1, outputs=channels)
    arithmetic = arithmetic_of(work, core)
    together = arithmetic.together
    if channels % arithmetic.least_lanes:
        return None
    if together == 1:
        floats = work.dtype in FLOATS and skips_pads(kernel[-1])
        return _kernel(dataclasses.replace(work, copies="never") if floats else work, core)
    count, stride = arithmetic.words(kernel[-1]), work.strides[-1]
    step = stride if count == 1 or together % stride == 0 else 1
    last = (work.places[-1] - 1) * stride + (count - 1) * together
    reach = (*work.reach[:-1], last // step + 1)
    taps = math.prod(kernel[:-1]) * count
    return _kernel(dataclasses.replace(work, reach=reach, taps=taps), core)


def _reach(
    places: tuple[int, ...],
    strides: tuple[int, ...],
    kernel: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Return how far the windows of an output reach, from the first pad on."""
    axes = zip(places, strides, kernel, dilations, strict=True)
    return tuple((count - 1) * step + (k - 1) * gap + 1 for count, step, k, gap in axes)


def _matmul(node: ir.Node, dtype: str, core: Core) -> Kernel | None:
    *batch, rows, outputs = (1, *shape_of(node.outputs[0]))
    inputs = input_shape(node, 0)[-2 if node.attributes.get_int("transA", 0) else -1]
    is_constant = _is_constant(node.inputs[1]) and len(input_shape(node, 1)) == 2
    numbers = _numbers(dtype, core)
    arithmetic = FLOATS.get(numbers) or core.integers_for(rows, inputs, outputs)
    pairs = arithmetic.rows > 1
    work = Workload(
        kind="dynamic" if not is_constant else "paired" if pairs else "product",
        dtype=numbers,
        images=math.prod(batch),
        places=(rows,),
        reach=(rows,),
        strides=(1,),
        taps=1,
        inputs=arithmetic.words(inputs),
        outputs=_up(outputs, arithmetic.least_lanes),
        group=1,
        copies="always" if pairs else "maybe",
    )
    return _kernel(work, core)


def _kernel(work: Workload, core: Core, *, is_winograd: bool = False) -> Kernel:
    own, arithmetic = core.of_work(work), arithmetic_of(work, core)
    tile = None
    if is_winograd and work.dtype in FLOATS and not core.direct:
        high, wide = work.places
        tile = winograd_tile(work.images, (high, wide), work.inputs, work.outputs, own, arithmetic)
    return Kernel(work, chosen(work, core), arithmetic, own, tile)


def _numbers(dtype: str, core: Core) -> str:
    """Return the dtype that a kernel computes with, of data that is stored as another."""
    return dtype if dtype in INTEGERS or (dtype == "float16" and core.halves) else "float32"


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def _up(count: int, of: int) -> int:
    """Return the least multiple that is not less than a count."""
    return -(-count // of) * of


def grown(model: ir.Model, core: Core) -> int:
    """Return by how many bytes the weights of a lowered model grow as kernels want them."""
    plain: dict[ir.Value, int] = {}
    packed: dict[tuple[ir.Value, WinogradTile | Choice], int] = {}
    for node in model.graph:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if weight is None or weight.const_value is None or node.inputs[0] is None:
            continue
        kernel = kernel_of(node, dtype_name(node.inputs[0]), core)
        if kernel is not None and kernel.weights:
            plain[weight] = bytes_of(weight)
            packed[weight, kernel.winograd or kernel.choice] = kernel.weights
    return sum(packed.values()) - sum(plain.values())
