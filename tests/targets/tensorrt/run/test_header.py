from __future__ import annotations

import pytest

from tapeout.targets.tensorrt.builder import Request, engine
from tapeout.targets.tensorrt.network import onnx_of
from tapeout.targets.tensorrt.run import header

import support

RELU = onnx_of(support.from_text("relu (float[4] x) => (float[4] y) { y = Relu(x) }"))


@pytest.mark.parametrize("served", [*((name,) for name in header.BITS), tuple(header.BITS)])
def test_engines_of_every_capability_have_its_bit(served: tuple[str, ...]) -> None:
    content = engine(Request(RELU, served)).content
    read = header.parse(content)
    assert (read.capabilities, read.version) == (served, "1.7.1.116")
    assert header.unfit(read, len(content), "1.7.1.116", served) == []
    assert header.unfit(read, len(content) - 1, "1.7.1.11", ("9.0",)) == [
        f"has {len(content) - 1} bytes, its header says {len(content)}: a part is missing",
        "was built by TensorRT-RTX 1.7.1.116, not 1.7.1.11",
        "cannot serve compute capability 9.0: there are 7.5, 8.0, 8.6, 8.9, 12.0, 12.1",
    ]
