"""Small random models for properties of the layout passes and of the canonical pipeline."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

import support

Shape = tuple[int, ...]

#: The permutations that layouts of images and signals use; they come often, and in pairs.
_PERMS = {
    2: [(1, 0)],
    3: [(0, 2, 1)],
    4: [(0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 2, 3)],
}


@dataclasses.dataclass
class _Graph:
    draw: st.DrawFn
    values: dict[str, Shape]
    lines: list[str] = dataclasses.field(default_factory=list)
    constants: list[str] = dataclasses.field(default_factory=list)

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        dtype = "int64" if array.dtype.kind == "i" else "float"
        dims = list(array.shape) if array.ndim else ""
        items = ", ".join(map(str, array.reshape(-1).tolist()))
        self.constants.append(f"{dtype}{dims} {name} = {{{items}}}")
        return name

    def add(self, node: str, shape: Shape) -> None:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {node}")
        self.values[name] = shape

    def like(self, shape: Shape) -> str:
        return self.draw(
            st.sampled_from([name for name in self.values if self.values[name] == shape])
        )

    def axis(self, shape: Shape) -> int:
        return self.draw(st.integers(-len(shape), len(shape) - 1))


def _turn(graph: _Graph, value: str, shape: Shape) -> None:
    perms = _PERMS.get(len(shape)) or list(itertools.permutations(range(len(shape))))
    perm = graph.draw(st.sampled_from(perms))
    graph.add(f"Transpose<perm={list(perm)}>({value})", tuple(shape[axis] for axis in perm))


def _unary(graph: _Graph, value: str, shape: Shape) -> None:
    kind = graph.draw(st.sampled_from(["Relu", "Neg", "Tanh", "Sigmoid", "Identity"]))
    graph.add(f"{kind}({value})", shape)


def _binary(graph: _Graph, value: str, shape: Shape) -> None:
    kind = graph.draw(st.sampled_from(["Add", "Sub", "Max"]))
    graph.add(f"{kind}({value}, {graph.like(shape)})", shape)


def _with_constant(graph: _Graph, value: str, shape: Shape) -> None:
    kept = graph.draw(st.integers(0, len(shape)))
    tail = tuple(graph.draw(st.sampled_from([1, size])) for size in shape[len(shape) - kept :])
    array = np.arange(1, 1 + int(np.prod(tail)), dtype=np.float32).reshape(tail) / 8
    kind = graph.draw(st.sampled_from(["Add", "Mul", "Min"]))
    graph.add(f"{kind}({graph.constant(array)}, {value})", shape)


def _concat(graph: _Graph, value: str, shape: Shape) -> None:
    axis = graph.axis(shape)
    joined = tuple(
        2 * size if place == axis % len(shape) else size for place, size in enumerate(shape)
    )
    if max(joined) <= 16:
        graph.add(f"Concat<axis={axis}>({value}, {graph.like(shape)})", joined)


def _softmax(graph: _Graph, value: str, shape: Shape) -> None:
    graph.add(f"Softmax<axis={graph.axis(shape)}>({value})", shape)


def _mean(graph: _Graph, value: str, shape: Shape) -> None:
    axis, keeps = graph.axis(shape), graph.draw(st.integers(0, 1)) if len(shape) > 3 else 1
    left = tuple(
        1 if place == axis % len(shape) else size
        for place, size in enumerate(shape)
        if keeps or place != axis % len(shape)
    )
    axes = graph.constant(np.array([axis]))
    graph.add(f"ReduceMean<keepdims={keeps}>({value}, {axes})", left)


def _reshape(graph: _Graph, value: str, shape: Shape) -> None:
    if len(shape) == 4:
        place = graph.draw(st.integers(0, 2))
        changed = (*shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :])
    else:
        place = graph.draw(st.integers(0, len(shape)))
        changed = (*shape[:place], 1, *shape[place:])
    graph.add(f"Reshape({value}, {graph.constant(np.array(changed))})", changed)


def _pad(graph: _Graph, value: str, shape: Shape) -> None:
    pads = [graph.draw(st.integers(0, 1)) for _ in range(2 * len(shape))]
    padded = tuple(pads[axis] + size + pads[axis + len(shape)] for axis, size in enumerate(shape))
    if max(padded) <= 16:
        graph.add(f"Pad({value}, {graph.constant(np.array(pads))})", padded)


_KINDS: tuple[Callable[[_Graph, str, Shape], None], ...] = (
    _turn,
    _turn,
    _turn,
    _turn,
    _unary,
    _unary,
    _binary,
    _binary,
    _with_constant,
    _concat,
    _softmax,
    _mean,
    _reshape,
    _pad,
)


@st.composite
def models(draw: st.DrawFn, largest: int = 14) -> ir.Model:
    """Return a random model of transposes, and of operators that transposes can pass, or cannot."""
    shape = tuple(draw(st.permutations([1, 2, 3, 4])))
    graph = _Graph(draw, {"x0": shape, "x1": shape})
    for _ in range(draw(st.integers(2, largest))):
        value = draw(st.sampled_from(list(graph.values)))
        draw(st.sampled_from(_KINDS))(graph, value, graph.values[value])
    if not graph.lines:
        _turn(graph, "x0", shape)
    given = [f"float{list(shape)} {name}" for name in ("x0", "x1")]
    # Values that nothing reads would be dead: all of them are outputs.
    text = " ".join(graph.lines)
    unread = [
        name
        for name in graph.values
        if name.startswith("v") and f"({name}" not in text and f", {name})" not in text
    ]
    wanted = [f"float{list(graph.values[name])} {name}" for name in unread]
    face = f"g ({', '.join(given)}) => ({', '.join(wanted)}) <{', '.join(graph.constants)}>"
    return support.from_text(f"{face} {{ {text} }}")
