"""Print, as JSON, where LiteRT puts the tensors of a file: index, first byte and the one after.

A program of its own: see `arena`.
"""

from __future__ import annotations

import json
import sys

from ai_edge_litert.interpreter import Interpreter, OpResolverType


def main(path: str) -> None:
    """Allocate the tensors of a file for the builtin kernels and print their addresses."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=path, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    spans = []
    for detail in interpreter.get_tensor_details():
        index = detail["index"]
        try:
            array = interpreter.tensor(index)()
        except ValueError:
            continue  # a tensor that no kernel uses has no memory
        if array.nbytes:
            start = array.__array_interface__["data"][0]
            spans.append((index, start, start + array.nbytes))
    json.dump(spans, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
