from __future__ import annotations

import pytest

from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.window_global_max import WindowGlobalMax

import support


@pytest.mark.parametrize(
    ("shape", "node", "window"),
    [
        ("2,3,4,5", "GlobalMaxPool", "kernel_shape: ints = [4, 5], pads: ints = [0, 0, 0, 0]"),
        ("2,3,4", "GlobalMaxPool", "kernel_shape: ints = [4], pads: ints = [0, 0]"),
    ],
)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_window_is_all_of_space(shape: str, node: str, window: str, layout: str) -> None:
    ones = ",".join(["1"] * (shape.count(",") - 1))
    model = support.from_text(f"g (float[{shape}] x) => (float[2,3,{ones}] y) {{ y = {node} (x) }}")
    before = canonical("nhwc" if layout == "nhwc" else "nchw").run(model)
    after = support.assert_same_numbers(
        before, lambda item: WindowGlobalMax()(item).model, tolerance=0
    )
    assert node not in support.body(after)
    assert window in support.body(after)
    assert not WindowGlobalMax()(after).modified
