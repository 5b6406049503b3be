"""Hostile ONNX files: seeded mutations of good ones, and a run over many of them.

`python mutations.py FIRST LAST MODEL...` imports that many mutants in a process of its own with a
limited memory, and writes one line for each that gave neither a valid model nor a TapeoutError.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import onnx

#: More than any import of these models needs, far less than they can be made to ask for.
MEMORY: Final = 4 << 30

NUMBERS: Final = (
    *(0, 1, -1, 2, 3, 7, 1 << 20, 10**12),
    *(2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63)),
)
OPERATORS: Final = (
    *("ConstantOfShape", "Einsum", "Expand", "Foo", "GatherND", "If", "LayerNormalization"),
    *("Loop", "Pad", "Range", "Reshape", "Resize", "Shape", "Softmax", "Split", "Tile", "TopK"),
    *("Transpose", "Upsample"),
)
LOCATIONS: Final = ("../../etc/passwd", "/etc/passwd", "", "\0", ".", "model.onnx", "C:\\x")


def mutant(seed: int, models: Sequence[bytes]) -> bytes:
    """Return a mutation of one of the models, always the same one for a seed."""
    chance = random.Random(seed)
    data = chance.choice(models)
    return _bytes(chance, data) if chance.random() < 0.4 else _fields(chance, data)


def _bytes(chance: random.Random, data: bytes) -> bytes:
    """Cut, copy, remove or overwrite bytes, more often near the start: there is the structure."""
    kind, start = chance.random(), chance.randrange(len(data))
    end = min(len(data), start + chance.randrange(1, 200))
    if kind < 0.2:
        return data[:start]
    if kind < 0.3:
        return chance.randbytes(chance.randrange(1, 400))
    if kind < 0.4:
        return data[:start] + data[end:]
    if kind < 0.5:
        return data[:end] + data[start:]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        changed[chance.randrange(chance.choice((len(data), min(len(data), 4000))))] = (
            chance.randrange(256)
        )
    return bytes(changed)


def _fields(chance: random.Random, data: bytes) -> bytes:
    """Change fields of the protobuf, so that what is hostile gets past the parser."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        chance.choice(FIELDS)(chance, model)
    return model.SerializeToString()


def _names(model: onnx.ModelProto) -> list[str]:
    return ["", "nowhere", *(name for n in model.graph.node for name in (*n.input, *n.output))]


def _node(chance: random.Random, model: onnx.ModelProto) -> None:
    node = chance.choice(model.graph.node or [model.graph.node.add()])
    kind = chance.randrange(7)
    if kind == 0 and node.input:
        node.input[chance.randrange(len(node.input))] = chance.choice(_names(model))
    elif kind == 1 and node.output:
        node.output[chance.randrange(len(node.output))] = chance.choice(_names(model))
    elif kind == 2:
        node.op_type = chance.choice(OPERATORS)
    elif kind == 3:
        node.domain = chance.choice(("", "ai.onnx", "ai.onnx.ml", "foo"))
    elif kind == 4:
        model.graph.node.add().CopyFrom(node)
    elif kind == 5:
        del model.graph.node[chance.randrange(len(model.graph.node))]
    else:
        node.input.append(chance.choice(_names(model)))


def _attribute(chance: random.Random, model: onnx.ModelProto) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = chance.choice(attributes)
    kind = chance.randrange(4)
    if kind == 0:
        attribute.type = chance.choice(onnx.AttributeProto.AttributeType.values())
    elif kind == 1:
        attribute.ClearField("ints")
    elif attribute.ints and kind == 2:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(NUMBERS)
    else:
        attribute.i, attribute.s = chance.choice(NUMBERS), chance.randbytes(4)
        attribute.ints.append(chance.choice(NUMBERS))


def _tensor(chance: random.Random, model: onnx.ModelProto) -> None:
    tensor = chance.choice(model.graph.initializer or [model.graph.initializer.add(name="w")])
    kind = chance.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(NUMBERS)
    elif kind == 1:
        tensor.dims.append(chance.choice(NUMBERS))
    elif kind == 2:
        tensor.data_type = chance.randrange(30)
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: chance.randrange(len(tensor.raw_data) + 1)]
    elif kind == 4 and len(tensor.raw_data) % 8 == 0:
        tensor.raw_data = chance.choice(NUMBERS).to_bytes(8, "little", signed=True) * (
            len(tensor.raw_data) // 8
        )
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=chance.choice(LOCATIONS))
        tensor.external_data.add(key="offset", value=str(chance.choice(NUMBERS)))


def _interface(chance: random.Random, model: onnx.ModelProto) -> None:
    if chance.random() < 0.5:
        versions = (1, 6, 7, 8, 9, 10, 11, 13, 17, 20, 26, 27, 28, 29, 10**9)
        model.opset_import[0].version = chance.choice(versions)
    elif model.graph.input:
        tensor = chance.choice(model.graph.input).type.tensor_type
        tensor.elem_type = chance.choice((tensor.elem_type, tensor.elem_type, 7, 8, 16, 99))
        tensor.shape.dim.add().dim_value = chance.choice(NUMBERS)
        chance.choice(tensor.shape.dim).dim_value = chance.choice(NUMBERS)


def _function(chance: random.Random, model: onnx.ModelProto) -> None:
    if not model.functions:
        return
    function = chance.choice(model.functions)
    if chance.random() < 0.5 and function.node:
        node = chance.choice(function.node)
        node.domain, node.op_type = function.domain, chance.choice(model.functions).name
    else:
        function.ClearField(chance.choice(("input", "output", "opset_import", "attribute")))


FIELDS: Final[tuple[Callable[[random.Random, onnx.ModelProto], None], ...]] = (
    _node,
    _node,
    _attribute,
    _attribute,
    _tensor,
    _interface,
    _function,
)


def say(text: str) -> None:
    """Write at once: the next import may end the process."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main(first: int, last: int, paths: Sequence[str]) -> None:
    """Import mutants and write down what went wrong."""
    import onnx_ir as ir

    from tapeout.errors import TapeoutError
    from tapeout.lowering.importers import load

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    models = [Path(path).read_bytes() for path in paths]
    valid = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for seed in range(first, last):
            path.write_bytes(mutant(seed, models))
            say(f"{seed} ")
            try:
                model = load(path)
                onnx.checker.check_model(ir.to_proto(model), full_check=True)
                valid += 1
            except TapeoutError:
                pass
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
                say(f"\nseed {seed}: {type(error).__name__}: {error}\n")
    say(f"\n{valid} valid\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
