"""TVM's code for a model, compiled and run in this process, beside ONNX Runtime."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

import numpy as np
import onnx
import onnx_ir as ir

from tapeout.lowering import dialect
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tvm import constraints
from tapeout.targets.tvm.host import processor_features
from tapeout.targets.tvm.schedules.core import OPERANDS, Core

import support

if TYPE_CHECKING:
    import tvm

    from tapeout.targets.tvm.compile import Compiled

Result = TypeVar("Result")

#: As wide as AVX-512, AVX2, NEON and RISC-V's vectors, with caches so small that tiny layers are
#: in blocks, and one with units of half a vector; one without vectors; and several that share each
#: layer.
CORES = {
    "wide": Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20),
    "small caches": Core(lanes=16, registers=32, units=1, l1=2 << 10, l2=8 << 10),
    "half": Core(lanes=8, registers=16, units=2, l1=4 << 10, l2=16 << 10),
    "narrow": Core(4, registers=32, units=1, l1=1 << 10, l2=4 << 10, operands=OPERANDS["neon"]),
    "groups": Core(4, registers=32, units=1, l1=4 << 10, l2=16 << 10, operands=OPERANDS["v"]),
    "scalar": Core(1, registers=32, units=1, l1=32 << 10, l2=64 << 10, operands=OPERANDS["f"]),
    "two": Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20, threads=2),
    "three, small caches": Core(16, registers=32, units=2, l1=2 << 10, l2=8 << 10, threads=3),
}

#: The same with half precision, which this machine computes as conversions, number by number.
HALVES = {name: dataclasses.replace(core, halves=True) for name, core in CORES.items()}


class NeverRaisedError(Exception):
    """In the place of what `apply` takes for a reason to leave a kernel alone."""


@functools.cache
def host() -> Profile:
    """Return the profile of this machine."""
    return catalog.load(catalog.HOST)


def core() -> Core:
    """Return the core of this machine."""
    profile = host()
    assert profile.cpu is not None
    return Core.of(profile.cpu, processor_features(profile.toolchain))


def finished(module: tvm.IRModule) -> tvm.IRModule:
    """Return the kernels of a module as they are compiled for this machine."""
    import tvm

    from tapeout.targets.tvm.schedules import apply, network

    scheduled = apply.scheduled(module, core())
    return tvm.IRModule(network.finished(dict(scheduled.functions.items()), [], [], core()))


def run(
    model: ir.Model, feeds: Mapping[str, np.ndarray], scheduled_for: Core | None = None
) -> dict[str, np.ndarray]:
    """Return the outputs of a lowered model, compiled for this machine, by name.

    Args:
        scheduled_for: the core that kernels are scheduled for, if not this machine's.
    """
    assert constraints.check(model) == []
    names = [str(value.name) for value in model.graph.outputs]
    return dict(zip(names, outputs(model, feeds, scheduled_for), strict=True))


def outputs(
    model: ir.Model, feeds: Mapping[str, np.ndarray], scheduled_for: Core | None = None
) -> list[np.ndarray]:
    """Return the outputs of a lowered model that was checked, compiled for this machine."""
    from tapeout.targets.tvm.compile import compile_model

    made_for = scheduled_for or core()
    compiled = compile_model(model, host().toolchain, made_for)
    given = [np.asarray(feeds[str(value.name)], order="C") for value in model.graph.inputs]
    results = [np.empty(value.shape.numpy(), value.dtype.numpy()) for value in model.graph.outputs]
    return called(compiled, given, results, made_for.threads)


def called(
    compiled: Compiled,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    threads: int,
    functions: Sequence[str] = ("infer",),
) -> list[np.ndarray]:
    """Return copies of the outputs of what was compiled for this machine.

    Args:
        functions: what is called, one after the other.
    """
    import tvm

    program = compiled.program
    given = list(map(tvm.runtime.tensor, inputs))
    results = [tvm.runtime.empty(item.shape, str(item.dtype)) for item in outputs]
    weights = tvm.runtime.tensor(program.weights)
    workspace = tvm.runtime.empty((program.workspace,), "uint8")
    arguments = [*given, *results, weights, workspace]
    for name in functions:
        shared_by(threads, functools.partial(compiled.library[name], *arguments))
    return [tensor.numpy() for tensor in results]


def shared_by(threads: int, call: Callable[[], Result]) -> Result:
    """Return what a call returns that so many of TVM's threads share.

    Whatever thread calls gets threads of its own to share with, as many as the environment says.
    """
    if threads == 1:
        return call()
    asked = {"TVM_NUM_THREADS": str(threads), "TVM_THREAD_POOL_SPIN_COUNT": "100"}
    with (
        mock.patch.dict(os.environ, asked | {"TVM_BIND_THREADS": "0"}),
        concurrent.futures.ThreadPoolExecutor(1) as caller,
    ):
        return caller.submit(call).result()


def assert_same(
    model: ir.Model,
    feeds: Mapping[str, np.ndarray] | None = None,
    tolerance: float = 1e-5,
    scheduled_for: Core | None = None,
) -> None:
    """Compare with ONNX Runtime; `tolerance` is relative to each output's largest finite value."""
    feeds = support.random_feeds(model) if feeds is None else feeds
    expected = Reference(model).run(feeds)
    actual = run(model, feeds, scheduled_for)
    assert list(actual) == list(expected)
    for name, wanted in expected.items():
        support.assert_equal_or_close(actual[name], wanted, tolerance, name)


@dataclasses.dataclass
class Collection:
    """Many nodes that do not depend on each other, in one model: compiled at once."""

    inputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    nodes: list[onnx.NodeProto] = dataclasses.field(default_factory=list)

    def input(self, array: np.ndarray) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs[name] = array
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def add(self, op_type: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> None:
        number = len(self.nodes)
        names = [f"{op_type}_{number}_{k}" for k in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op_type, inputs, names, names[0], **attributes))

    def model(self, opset: int = dialect.WORKING_OPSET) -> ir.Model:
        def info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
            dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            return onnx.helper.make_tensor_value_info(name, dtype, array.shape)

        outputs = [onnx.ValueInfoProto(name=name) for node in self.nodes for name in node.output]
        graph = onnx.helper.make_graph(
            self.nodes,
            "collection",
            [info(name, array) for name, array in self.inputs.items()],
            outputs,
            [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        proto = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
            ir_version=dialect.IR_VERSION,
        )
        return ir.from_proto(
            onnx.shape_inference.infer_shapes(
                proto, check_type=True, strict_mode=True, data_prop=True
            )
        )

    def assert_same(self, tolerance: float = 1e-5) -> None:
        assert_same(self.model(), self.inputs, tolerance)
