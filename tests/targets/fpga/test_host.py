from __future__ import annotations

import json

import numpy as np
import pytest

from tapeout.lowering.reference import Reference
from tapeout.targets.fpga.run import host

import support

STEPS = {
    "y = Softmax <axis = 2> (x)": {"op": "softmax", "axis": 2},
    "y = LogSoftmax <axis = 1> (x)": {"op": "log_softmax", "axis": 1},
    "y = Sigmoid (x)": {"op": "sigmoid"},
    "y = Tanh (x)": {"op": "tanh"},
    "y = Transpose <perm = [0, 2, 1]> (x)": {"op": "transpose", "perm": [0, 2, 1]},
}


@pytest.mark.parametrize(
    ("node", "step"), STEPS.items(), ids=[item["op"] for item in STEPS.values()]
)
def test_steps_are_those_of_onnx(node: str, step: host.Step) -> None:
    x = (np.random.default_rng(0).standard_normal((7, 4, 4)) * 40).astype(np.float32)
    runtime = Reference(support.from_text(f"g (float[7,4,4] x) => (float[7,4,4] y) {{ {node} }}"))
    found = host.run([json.loads(json.dumps(step))], x)
    support.assert_close(found, runtime.run({"x": x})["y"], 1e-6, node)


@pytest.mark.parametrize(("scale", "zero"), [(0.1, 3), (1 / 3, -128), (1e-3, 127)])
def test_rounding_is_that_of_onnx(scale: float, zero: int) -> None:
    scale = float(np.float32(scale))
    model = support.from_text(
        """g (float[1000] x, float s, int8 z) => (int8[1000] q, float[1000] y) {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }""",
        s=np.array(scale, np.float32),
        z=np.array(zero, np.int8),
    )
    x = (np.arange(-500, 500) * scale / 2).astype(np.float32)  # whole steps and halves
    wanted = Reference(model).run({"x": x})
    integers = host.run([{"op": "quantize", "scale": scale, "zero": zero}], x)
    np.testing.assert_array_equal(integers, wanted["q"])
    assert integers.dtype == np.int8
    reals = host.run([{"op": "dequantize", "scale": scale, "zero": zero}], integers)
    np.testing.assert_array_equal(reals, wanted["y"])


def test_an_unknown_step_is_quoted() -> None:
    with pytest.raises(ValueError, match="there is no step 'eval': argmax, cast"):
        host.run([{"op": "eval", "text": "1"}], np.zeros((1, 1)))
