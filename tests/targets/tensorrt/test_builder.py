"""The builder in its process: engines, refusals, crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeout.errors import ModelError, TapeoutError
from tapeout.targets.tensorrt import builder
from tapeout.targets.tensorrt.builder import Request, engine, unsupported
from tapeout.targets.tensorrt.network import onnx_of
from tapeout.targets.tensorrt.run import header

import support

PRODUCT = onnx_of(
    support.from_text(
        """
        product (float[2,8] x) => (float[2,4] y)
        <float[8,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,
                         28,29,30,31,32}>
        { y = MatMul(x, w) }
        """
    )
)

STRANGE = onnx_of(
    support.from_text(
        """
        strange (float[4] x, float[4,4] m) => (float[N] u, float d, float[4] r)
        { u = Unique <sorted = 1> (x)
          d = Det(m)
          r = Relu(x) }
        """
    )
)


def test_engine_and_what_it_needs() -> None:
    built = engine(Request(PRODUCT, ("8.9", "12.0")))
    assert header.parse(built.content).capabilities == ("8.9", "12.0")
    memory = built.log.memory(1)
    assert memory.weights >= 4 * 8 * 4
    assert memory.activations[0] > 0
    assert built.log.layers
    assert built.log.errors == ()


def test_equal_requests_give_equal_bytes() -> None:
    request = Request(PRODUCT, ("8.9",))
    first = engine(request).content
    engine.cache_clear()
    assert engine(request).content == first


def test_every_node_that_the_parser_does_not_take() -> None:
    found = [str(problem) for problem in unsupported(STRANGE)]
    assert len(found) == 2
    assert "Unique: unsupported node" in found[0]
    assert "Det: unsupported node" in found[1]
    with pytest.raises(ModelError, match="does not take the network") as caught:
        engine(Request(STRANGE, ("8.9",)))
    assert [str(problem) for problem in caught.value.problems] == found
    assert unsupported(PRODUCT) == []


def test_refusal_names_the_node_and_the_reason() -> None:
    with pytest.raises(ModelError) as caught:
        engine(Request(PRODUCT, ("7.5",)))
    (problem,) = caught.value.problems
    assert problem.where.startswith("node '")
    assert "FP32 GEMM is not supported" in problem.what
    assert "/_src/" not in problem.what


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ModelError, match="Failed to parse the ONNX model"):
        engine(Request(b"no protobuf", ("8.9",)))


def test_crash_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "crash.py"
    program.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(builder, "_PROGRAM", program)
    with pytest.raises(TapeoutError, match="crashed with SIGSEGV"):
        unsupported(PRODUCT)
