"""Networks of well-known architectures with random weights: convolutional ones, and an encoder.

Weights keep the variance (He et al., 2015), so that outputs are neither all zero nor saturated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import networks


class Net:
    """A graph in the making; values are names."""

    def __init__(self, name: str, shape: tuple[int | str, ...], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self._name, self._shape = name, shape
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def floats(self, *shape: int, spread: float = 1.0) -> str:
        return self.constant((self.rng.standard_normal(shape) * spread).astype(np.float32))

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"{op_type.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, [*inputs], [name], name=name, **attributes))
        return name

    def conv(
        self,
        x: str,
        channels: tuple[int, int],
        kernel: int = 1,
        *,
        stride: int = 1,
        group: int = 1,
        activation: str = "Relu",
    ) -> str:
        inputs, outputs = channels
        fan = inputs // group * kernel * kernel
        weight = self.floats(outputs, inputs // group, kernel, kernel, spread=(2 / fan) ** 0.5)
        x = self.op(
            "Conv", x, weight, self.floats(outputs, spread=0.1),
            kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4, strides=[stride, stride],
            group=group,
        )  # fmt: skip
        return self.activated(x, activation)

    def activated(self, x: str, activation: str) -> str:
        if activation == "Silu":
            return self.op("Mul", x, self.op("Sigmoid", x))
        if activation == "HardSigmoid":
            return self.op("HardSigmoid", x, alpha=1 / 6)
        return self.op(activation, x) if activation else x

    def upsampled(self, x: str, channels: int) -> str:
        """Double height and width by a transposed convolution."""
        weight = self.floats(channels, channels, 2, 2, spread=channels**-0.5)
        bias = self.floats(channels, spread=0.1)
        return self.op("ConvTranspose", x, weight, bias, kernel_shape=[2, 2], strides=[2, 2])

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.floats(inputs, outputs, spread=inputs**-0.5)
        return self.op("Add", self.op("MatMul", x, weight), self.floats(outputs, spread=0.1))

    def classes(self, x: str, channels: int, count: int = 1000) -> str:
        flat = self.op("Flatten", self.op("GlobalAveragePool", x))
        weight = self.floats(count, channels, spread=channels**-0.5)
        return self.op("Gemm", flat, weight, self.floats(count, spread=0.1), transB=1)

    def model(self, output: str, *shape: int | str) -> onnx.ModelProto:
        dtype = TensorProto.FLOAT
        self._nodes.append(helper.make_node("Identity", [output], ["scores"], name="result"))
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info("image", dtype, self._shape)],
            [helper.make_tensor_value_info("scores", dtype, shape)],
            self._constants,
        )
        opset = [helper.make_opsetid("", 20)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10)


def _basic(net: Net, x: str, inputs: int, outputs: int, stride: int) -> str:
    y = net.conv(x, (inputs, outputs), 3, stride=stride)
    y = net.conv(y, (outputs, outputs), 3, activation="")
    if stride != 1 or inputs != outputs:
        x = net.conv(x, (inputs, outputs), stride=stride, activation="")
    return net.op("Relu", net.op("Add", y, x))


def _bottleneck(net: Net, x: str, inputs: int, outputs: int, stride: int) -> str:
    width = outputs // 4
    y = net.conv(x, (inputs, width))
    y = net.conv(y, (width, width), 3, stride=stride)
    y = net.conv(y, (width, outputs), activation="")
    if stride != 1 or inputs != outputs:
        x = net.conv(x, (inputs, outputs), stride=stride, activation="")
    return net.op("Relu", net.op("Add", y, x))


def _resnet(
    name: str, size: int, blocks: tuple[int, ...], widths: tuple[int, ...]
) -> onnx.ModelProto:
    """He et al., "Deep Residual Learning for Image Recognition", 2016, table 1."""
    block = _bottleneck if widths[0] > 64 else _basic
    net = Net(name, (1, 3, size, size))
    x = net.conv("image", (3, 64), 7, stride=2)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    channels = 64
    for stage, (count, outputs) in enumerate(zip(blocks, widths, strict=True)):
        for index in range(count):
            x = block(net, x, channels, outputs, 2 if stage and not index else 1)
            channels = outputs
    return net.model(net.classes(x, channels), 1, 1000)


def resnet_18(size: int = 224) -> onnx.ModelProto:
    return _resnet("resnet_18", size, (2, 2, 2, 2), (64, 128, 256, 512))


def resnet_50(size: int = 224, width: int = 256) -> onnx.ModelProto:
    """Return ResNet-50; a lesser width than 256 makes it narrower."""
    return _resnet("resnet_50", size, (3, 4, 6, 3), (width, 2 * width, 4 * width, 8 * width))


def u_net(size: int = 64, width: int = 16, *, learned: bool = False) -> onnx.ModelProto:
    """Ronneberger et al., "U-Net", 2015, with half the depth.

    Upsampling is learned, as in the paper, or takes the nearest neighbour.
    """
    net = Net("u_net", (1, 3, size, size))
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    x, channels, skips = "image", 3, []
    for level in range(3):
        outputs = width << level
        x = net.conv(net.conv(x, (channels, outputs), 3), (outputs, outputs), 3)
        skips.append((x, outputs))
        x, channels = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), outputs
    x = net.conv(x, (channels, channels), 3)
    for skip, outputs in reversed(skips):
        x = net.upsampled(x, channels) if learned else net.op(
            "Resize", x, "", scales, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        x = net.op("Concat", x, skip, axis=1)
        x = net.conv(x, (channels + outputs, outputs), 3)
        channels = outputs
    return net.model(net.conv(x, (channels, 4), activation="Sigmoid"), 1, 4, size, size)


def efficient_net(size: int = 96) -> onnx.ModelProto:
    """Like EfficientNet-B0 (Tan and Le, 2019): inverted residuals with squeeze and excitation."""
    net = Net("efficient_net", (1, 3, size, size))
    x, channels = net.conv("image", (3, 32), 3, stride=2, activation="Silu"), 32
    for outputs, kernel, stride in ((16, 3, 1), (24, 3, 2), (24, 3, 1), (40, 5, 2), (80, 3, 2)):
        hidden = channels * 4
        y = net.conv(x, (channels, hidden), activation="Silu")
        y = net.conv(y, (hidden, hidden), kernel, stride=stride, group=hidden, activation="Silu")
        gate = net.conv(net.op("GlobalAveragePool", y), (hidden, channels // 4), activation="Silu")
        gate = net.conv(gate, (channels // 4, hidden), activation="Sigmoid")
        y = net.conv(net.op("Mul", y, gate), (hidden, outputs), activation="")
        x = net.op("Add", x, y) if stride == 1 and channels == outputs else y
        channels = outputs
    return net.model(net.classes(net.conv(x, (channels, 320), activation="Silu"), 320), 1, 1000)


def mobilenet_v3(size: int = 96) -> onnx.ModelProto:
    """Like MobileNetV3-Small (Howard et al., 2019), with squeeze and excitation."""
    net = Net("mobilenet_v3", (1, 3, size, size))
    x, channels = net.conv("image", (3, 16), 3, stride=2, activation="HardSwish"), 16
    for outputs, kernel, stride, activation, squeezes in (
        (16, 3, 2, "Relu", True), (24, 3, 2, "Relu", False), (24, 3, 1, "Relu", False),
        (40, 5, 2, "HardSwish", True), (40, 5, 1, "HardSwish", True),
    ):  # fmt: skip
        hidden = channels * 3
        y = net.conv(x, (channels, hidden), activation=activation)
        y = net.conv(y, (hidden,) * 2, kernel, stride=stride, group=hidden, activation=activation)
        if squeezes:
            gate = net.conv(net.op("GlobalAveragePool", y), (hidden, 16))
            y = net.op("Mul", y, net.conv(gate, (16, hidden), activation="HardSigmoid"))
        y = net.conv(y, (hidden, outputs), activation="")
        x = net.op("Add", x, y) if stride == 1 and channels == outputs else y
        channels = outputs
    return net.model(net.classes(net.conv(x, (channels, 96), activation="HardSwish"), 96), 1, 1000)


def encoder(
    tokens: int = 32,
    width: int = 64,
    heads: int = 4,
    layers: int = 4,
    *,
    batch: int | str = 1,
    length: str = "",
) -> onnx.ModelProto:
    """A transformer's encoder (Vaswani et al., 2017) on embedded tokens.

    `batch`, and `length` for the number of tokens, may be names of dimensions of any size.
    """
    net = Net("encoder", (batch, length or tokens, width))
    rows = [batch if isinstance(batch, int) else 0, -1 if length else tokens]
    split = net.constant(np.array([*rows, heads, width // heads], np.int64))
    joined = net.constant(np.array([*rows, width], np.int64))
    scale = net.constant(np.array((width // heads) ** -0.5, np.float32))

    def normalized(x: str) -> str:
        ones = net.constant(np.ones(width, np.float32))
        return net.op("LayerNormalization", x, ones, net.floats(width, spread=0.1), axis=-1)

    def headed(x: str, perm: list[int]) -> str:
        return net.op("Transpose", net.op("Reshape", net.linear(x, width, width), split), perm=perm)

    x = "image"
    for _ in range(layers):
        query, key = headed(x, [0, 2, 1, 3]), headed(x, [0, 2, 3, 1])
        scores = net.op("Softmax", net.op("Mul", net.op("MatMul", query, key), scale), axis=-1)
        mixed = net.op("MatMul", scores, headed(x, [0, 2, 1, 3]))
        mixed = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        x = normalized(net.op("Add", x, net.linear(mixed, width, width)))
        hidden = net.op("Gelu", net.linear(x, width, 4 * width))
        x = normalized(net.op("Add", x, net.linear(hidden, 4 * width, width)))
    return net.model(x, batch, length or tokens, width)


def lstm(steps: int = 32, inputs: int = 64, hidden: int = 128) -> onnx.ModelProto:
    """Return an LSTM (Hochreiter and Schmidhuber, 1997) over a sequence, and a classifier."""
    net = Net("lstm", (steps, 1, inputs))
    gates, spread = 4 * hidden, hidden**-0.5
    weight = net.floats(1, gates, inputs, spread=inputs**-0.5)
    recurrent = net.floats(1, gates, hidden, spread=spread)
    bias = net.floats(1, 2 * gates, spread=0.1)
    states = net.op("LSTM", "image", weight, recurrent, bias, hidden_size=hidden)
    shape = net.constant(np.array([steps, hidden], np.int64))
    return net.model(net.linear(net.op("Reshape", states, shape), hidden, 16), steps, 16)


def of_any_size(model: onnx.ModelProto, *dims: int | str) -> onnx.ModelProto:
    """Return a network whose input has dimensions of any size, by name."""
    for dim, said in zip(model.graph.input[0].type.tensor_type.shape.dim, dims, strict=True):
        if isinstance(said, str):
            dim.dim_param = said
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def yolo(size: int = 64, width: int = 16, classes: int = 4) -> onnx.ModelProto:
    """Return a detector as YOLOX is (Ge et al., 2021): a backbone's stub, neck and decoupled heads.

    The neck goes down the pyramid and up again (Liu et al., "Path Aggregation Network", 2018).
    Output: for each place of the three levels center, width and height in pixels, and scores.
    """
    net = Net("yolo", (1, 3, size, size))
    silu = "Silu"
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))

    def upsampled(x: str) -> str:
        return net.op(
            "Resize", x, "", scales, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip

    def merged(left: str, right: str, channels: tuple[int, int]) -> str:
        return net.conv(net.op("Concat", left, right, axis=1), channels, 3, activation=silu)

    x = net.conv("image", (3, width), 3, stride=4, activation=silu)
    one = net.conv(x, (width, width), 3, stride=2, activation=silu)
    two = net.conv(one, (width, 2 * width), 3, stride=2, activation=silu)
    three = net.conv(two, (2 * width, 4 * width), 3, stride=2, activation=silu)
    down = net.conv(three, (4 * width, 2 * width), activation=silu)
    middle = merged(upsampled(down), two, (4 * width, 2 * width))
    thin = net.conv(middle, (2 * width, width), activation=silu)
    fine = merged(upsampled(thin), one, (2 * width, width))
    up = net.conv(fine, (width, width), 3, stride=2, activation=silu)
    middle = merged(up, thin, (2 * width, 2 * width))
    up = net.conv(middle, (2 * width, 2 * width), 3, stride=2, activation=silu)
    coarse = merged(up, down, (4 * width, 4 * width))
    levels = [(fine, width, 8), (middle, 2 * width, 16), (coarse, 4 * width, 32)]
    found = [_detected(net, x, channels, size // stride, classes) for x, channels, stride in levels]
    boxes, scores = (net.op("Concat", *parts, axis=1) for parts in zip(*found, strict=True))
    grids, strides = _grid(size, [stride for _, _, stride in levels])
    first, middle, last, axis = (net.constant(np.array([number])) for number in (0, 2, 4, 2))
    center = net.op("Slice", boxes, first, middle, axis)
    extent = net.op("Exp", net.op("Slice", boxes, middle, last, axis))
    stride = net.constant(strides)
    center = net.op("Mul", net.op("Add", center, net.constant(grids)), stride)
    boxes = net.op("Concat", center, net.op("Mul", extent, stride), axis=2)
    return net.model(net.op("Concat", boxes, scores, axis=2), 1, grids.shape[1], 4 + classes)


def _detected(net: Net, x: str, channels: int, size: int, classes: int) -> tuple[str, str]:
    """Return boxes (1, places, 4) and scores (1, places, classes) of one level."""

    def branch(outputs: int, activation: str) -> str:
        y = net.conv(x, (channels, channels), 3, activation="Silu")
        y = net.conv(y, (channels, outputs), activation=activation)
        flat = net.op("Reshape", y, net.constant(np.array([1, outputs, size * size])))
        return net.op("Transpose", flat, perm=[0, 2, 1])

    return branch(4, ""), branch(classes, "Sigmoid")


def _grid(size: int, strides: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of all levels (1, places, 2), and their strides (1, places, 1)."""
    grids = [
        np.stack(np.meshgrid(*[np.arange(size // stride)] * 2, indexing="xy"), axis=2)
        for stride in strides
    ]
    places = np.concatenate([grid.reshape(1, -1, 2) for grid in grids], axis=1)
    each = np.repeat(strides, [grid.size // 2 for grid in grids])[None, :, None]
    return places.astype(np.float32), each.astype(np.float32)


ARCHITECTURES: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "efficient_net": efficient_net,
    "encoder": encoder,
    "mobilenet_v2": lambda: networks.mobilenet_v2(96),
    "mobilenet_v3": mobilenet_v3,
    "resnet_18": lambda: resnet_18(96),
    "resnet_50": lambda: resnet_50(64),
    "u_net": u_net,
    "u_net_learned": lambda: u_net(32, 8, learned=True),
    "yolo": yolo,
}
