from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import architectures
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from architectures import Net, encoder, of_any_size
from onnx import helper

from tapeout.errors import ModelError
from tapeout.lowering.canonical import canonical
from tapeout.lowering.dynamic.family import Family, family_of
from tapeout.lowering.dynamic.generalize import Dynamic, attach, dynamic_of, generalize
from tapeout.lowering.dynamic.ranges import Given, ShapeRange
from tapeout.lowering.matching import is_op
from tapeout.lowering.reference import Reference

import support


def yolo_head() -> onnx.ModelProto:
    """Two scales as in YOLOv3: upsampled to the size of the skip, boxes decoded on a grid."""
    net = Net("yolo", ("batch", 3, "height", "width"))
    fine = net.conv(net.conv("image", (3, 8), 3, stride=2), (8, 8), 3, stride=2)
    coarse = net.conv(fine, (8, 16), 3, stride=2)
    zero, one, two, four = (net.constant(np.array([k], np.int64)) for k in (0, 1, 2, 4))
    sizes = [net.op("Slice", net.op("Shape", x), *at, zero) for x, at in (
        (coarse, (zero, two)), (fine, (two, four)),
    )]  # fmt: skip
    up = net.op(
        "Resize", coarse, "", "", net.op("Concat", *sizes, axis=0), mode="nearest",
        nearest_mode="floor", coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    rows, heads = net.constant(np.array([0, 3, 6, -1], np.int64)), []
    for x, channels in ((coarse, 16), (net.op("Concat", up, fine, axis=1), 24)):
        shape, boxes = net.op("Shape", x), net.conv(x, (channels, 18), activation="")
        start, stop, step = (net.constant(np.array(k, np.float32)) for k in (0, 0, 1))
        lengths = [
            net.op("Cast", net.op("Gather", shape, net.constant(np.array(axis))), to=1)
            for axis in (2, 3)
        ]
        y, x = (net.op("Range", start, net.op("Add", stop, n), step) for n in lengths)
        grid = net.op("Add", net.op("Unsqueeze", y, one), net.op("Unsqueeze", x, zero))
        heads.append(net.op("Reshape", net.op("Add", boxes, grid), rows))
    return net.model(net.op("Transpose", net.op("Concat", *heads, axis=3), perm=[0, 3, 1, 2]))


def masked_attention() -> onnx.ModelProto:
    """Learned positions, a causal mask, and the average over as many tokens as there are."""
    net = Net("attention", ("batch", "tokens", 8))
    zero = net.constant(np.array([0], np.int64))
    length = net.op("Slice", net.op("Shape", "image"), *(
        net.constant(np.array([k], np.int64)) for k in (1, 2)
    ), zero)  # fmt: skip
    x = net.op("Add", "image", net.op("Slice", net.floats(64, 8), zero, length, zero))
    scores = net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1]))
    both = [net.constant(np.array(k, np.int64)) for k in ([0, 0], [0, 1])]
    mask = net.constant(np.triu(np.full((64, 64), -1e9, np.float32), 1))
    mask = net.op("Slice", mask, both[0], net.op("Concat", length, length, axis=0), both[1])
    ones = net.op("Expand", net.constant(np.array([[2.0]], np.float32)), length)
    scores = net.op("Mul", net.op("Add", scores, mask), ones)
    return net.model(net.op("MatMul", net.op("Softmax", scores, axis=-1), x))


def family(tmp_path: Path, model: onnx.ModelProto, **given: Given) -> Family:
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "model.onnx")
    found = family_of(tmp_path / "model.onnx", given)
    assert found is not None
    return found


def generalized(found: Family) -> Dynamic:
    return generalize(lambda shapes: canonical("nchw").run(found.at(shapes)), found.ranges)


def images(least: int, usual: int, most: int, batch: int = 4) -> ShapeRange:
    return ShapeRange((1, 3, least, least), (2, 3, usual, usual), (batch, 3, most, most))


ANY_IMAGE = ("batch", 3, "height", "width")

NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], ShapeRange, Sequence[tuple[int, ...]]]] = {
    "encoder, batch": (
        lambda: encoder(16, 32, 4, 1, batch="batch"),
        ShapeRange((1, 16, 32), (8, 16, 32), (16, 16, 32)),
        [(3, 16, 32), (11, 16, 32)],
    ),
    "encoder, batch and length": (
        lambda: encoder(16, 32, 4, 1, batch="batch", length="tokens"),
        ShapeRange((1, 1, 32), (4, 16, 32), (8, 64, 32)),
        [(2, 3, 32), (7, 33, 32), (3, 1, 32)],
    ),
    "positions and a mask": (
        masked_attention,
        ShapeRange((1, 1, 8), (2, 16, 8), (4, 48, 8)),
        [(3, 47, 8), (1, 2, 8)],
    ),
    "mobilenet, any picture": (
        lambda: of_any_size(architectures.mobilenet_v3(), *ANY_IMAGE),
        images(33, 64, 96),
        [(3, 3, 65, 77)],
    ),
    "u-net, multiples of a step": (
        lambda: of_any_size(architectures.u_net(64, 8), *ANY_IMAGE),
        images(32, 64, 96),
        [(3, 3, 64, 32)],
    ),
    "detector": (yolo_head, images(32, 64, 96), [(3, 3, 37, 70), (1, 3, 50, 33)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_one_model_gives_what_the_model_of_each_shape_gives(tmp_path: Path, name: str) -> None:
    make, given, more = NETWORKS[name]
    found = family(tmp_path, make(), image=given)
    dynamic = generalized(found)
    assert bool(dynamic.steps) == (name == "u-net, multiples of a step")
    reference = Reference(dynamic.model)
    for shapes in (*found.ranges.corners, *({"image": shape} for shape in more)):
        single = found.at(shapes)
        feeds = support.random_feeds(single)
        for output, wanted in Reference(single).run(feeds).items():
            support.assert_close(
                reference.run(feeds)[output], wanted, 1e-5, f"{output} at {shapes}"
            )


def test_nothing_is_computed_where_a_reshape_can_say_it(tmp_path: Path) -> None:
    model = encoder(16, 32, 4, 1, batch="batch", length="tokens")
    dynamic = generalized(family(tmp_path, model, image=NETWORKS["encoder, batch and length"][1]))
    assert not [node for node in dynamic.model.graph if is_op(node, "Shape")]
    targets = {
        tuple(node.inputs[1].const_value.numpy())
        for node in dynamic.model.graph
        if is_op(node, "Reshape")
    }
    assert targets == {(0, 0, 4, 8), (0, 0, 32)}
    assert [str(dim) for dim in dynamic.model.graph.outputs[0].shape or ()] == [
        "batch",
        "tokens",
        "32",
    ]


def _two_inputs(*names: str) -> onnx.ModelProto:
    rows = helper.make_tensor_value_info("a", 1, [names[0], 4])
    other = helper.make_tensor_value_info("b", 1, [names[1], 4])
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"], name="sum")]
    outputs = [helper.make_tensor_value_info("sum", 1, None)]
    graph = helper.make_graph(nodes, "g", [rows, other], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_dimensions_that_have_to_be_equal_become_one(tmp_path: Path) -> None:
    given = ShapeRange((1, 4), (2, 4), (8, 4))
    dynamic = generalized(family(tmp_path, _two_inputs("unk__1", "unk__2"), a=given, b=given))
    assert [str(value.shape) for value in dynamic.model.graph.inputs] == ["[unk__1,4]"] * 2


def test_what_cannot_be_said_for_all_sizes_is_named(tmp_path: Path) -> None:
    """A reversed table has no beginning, and a square is no function of this kind: both at once."""
    net = Net("refused", ("batch", 3))
    zero, one = (net.constant(np.array([k], np.int64)) for k in (0, 1))
    size = net.op("Slice", net.op("Shape", "image"), zero, one, zero)
    scalar = net.op("Squeeze", size, zero)
    down = net.op("Range", scalar, net.constant(np.array(0)), net.constant(np.array(-1)))
    rows = net.op("Gather", net.floats(64, 3), down)
    square = net.op("Concat", net.op("Mul", size, size), net.constant(np.array([3])), axis=0)
    big = net.op("Expand", net.constant(np.ones((1, 3), np.float32)), square)
    x = net.op("Add", net.op("Add", "image", rows), net.op("ReduceSum", big, zero))
    found = family(tmp_path, net.model(x), image=ShapeRange((1, 3), (4, 3), (8, 3)))
    with pytest.raises(ModelError) as caught:
        generalized(found)
    problems = [str(problem) for problem in caught.value.problems]
    assert any("that depend on batch" in text and "node 'add_" in text for text in problems)
    assert any("give batch one size" in text for text in problems)


def test_attributes_that_differ_are_named(tmp_path: Path) -> None:
    net = Net("same", ("batch", 3, "height", 8))
    weight = net.floats(4, 3, 3, 3)
    x = net.op("Conv", "image", weight, auto_pad="SAME_UPPER", strides=[2, 2])
    given = ShapeRange((1, 3, 7, 8), (1, 3, 8, 8), (1, 3, 12, 8))
    with pytest.raises(ModelError, match=r"attribute pads depends on height"):
        generalized(family(tmp_path, net.model(x), image=given))


def test_a_static_model_has_its_dynamic_one_beside_it(tmp_path: Path) -> None:
    given = ShapeRange((1, 4), (2, 4), (8, 4))
    dynamic = generalized(family(tmp_path, _two_inputs("n", "n"), a=given, b=given))
    model = ir.Model(ir.Graph([], [], nodes=[]), ir_version=10)
    assert dynamic_of(model) is None
    attach(model, dynamic)
    assert dynamic_of(model) is dynamic
