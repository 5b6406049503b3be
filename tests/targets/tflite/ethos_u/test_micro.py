"""How TFLite Micro calls its operators."""

from __future__ import annotations

import pytest

from tapeout.targets.tflite.ethos_u.micro import OPERATORS, resolving


@pytest.mark.parametrize(
    ("operator", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("CUMSUM", "AddCumSum"),
        ("RELU6", "AddRelu6"),
        ("RESIZE_NEAREST_NEIGHBOR", "AddResizeNearestNeighbor"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
    ],
)
def test_the_resolver_s_method_of_an_operator(operator: str, method: str) -> None:
    assert operator in OPERATORS
    assert resolving(operator) == method
