"""Networks of well-known architectures with random weights, for tests and benchmarks of size."""

from __future__ import annotations

import numpy as np
import onnx

#: (expansion, channels, repeats, stride) of each stage, from table 2 of Sandler et al.,
#: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _Builder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, op_type: str, inputs: list[str], **attributes: object) -> str:
        name = f"{op_type.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        group: int = 1,
        clipped: bool = True,
        factor: float = 1.0,
    ) -> str:
        """Add a convolution whose weights keep the variance (He et al., 2015), and its ReLU6."""
        shape = (outputs, inputs // group, kernel, kernel)
        spread = factor * np.sqrt(2 / np.prod(shape[1:]))
        # Channels of very different sizes, as folded batch normalization leaves them.
        spread = spread * np.exp(self.rng.normal(0, 0.5, (outputs, 1, 1, 1)))
        weight = self.rng.standard_normal(shape) * spread
        index = len(self.nodes)
        x = self.node(
            "Conv",
            [
                x,
                self.constant(f"w{index}", weight.astype(np.float32)),
                self.constant(f"b{index}", self.rng.normal(0, 0.1, outputs).astype(np.float32)),
            ],
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
            group=group,
        )
        return self.node("Clip", [x, "zero", "six"]) if clipped else x


def mobilenet_v2(
    size: int = 224, batch: int = 1, seed: int = 0, branch: float = 1.0
) -> onnx.ModelProto:
    """Return MobileNetV2 with random weights: input ``image`` N×3×size×size, output ``scores``.

    Args:
        branch: factor of what is added to a block's input. Training starts, and ends, with small
            ones; with 1 the network is chaotic: the last digit of a number changes all outputs.
    """
    make = _Builder(seed)
    make.constant("zero", np.array(0, np.float32))
    make.constant("six", np.array(6, np.float32))
    x, channels = make.conv("image", 3, 32, 3, stride=2), 32
    for expansion, outputs, repeats, first in _MOBILENET_V2:
        for stride in (first, *[1] * (repeats - 1)):
            block, hidden = x, channels * expansion
            if expansion > 1:
                block = make.conv(block, channels, hidden)
            block = make.conv(block, hidden, hidden, 3, stride=stride, group=hidden)
            same = stride == 1 and channels == outputs
            factor = branch if same else 1.0
            block = make.conv(block, hidden, outputs, clipped=False, factor=factor)
            x, channels = make.node("Add", [x, block]) if same else block, outputs
    x = make.node("GlobalAveragePool", [make.conv(x, channels, 1280)])
    x = make.node("Flatten", [x])
    weight = make.rng.standard_normal((1000, 1280)) / np.sqrt(1280)
    make.constant("classes", weight.astype(np.float32))
    make.constant("shift", np.zeros(1000, np.float32))
    make.nodes.append(
        onnx.helper.make_node("Gemm", [x, "classes", "shift"], ["scores"], name="gemm", transB=1)
    )
    dtype = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        make.nodes,
        "mobilenet_v2",
        [onnx.helper.make_tensor_value_info("image", dtype, [batch, 3, size, size])],
        [onnx.helper.make_tensor_value_info("scores", dtype, [batch, 1000])],
        make.constants,
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )
