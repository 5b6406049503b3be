"""How large a model may be: what bounds the memory and the time that a hostile file can cost."""

from __future__ import annotations

from typing import Final

#: Bytes of the ``.onnx`` file itself: what protobuf can parse. External data has no such limit.
MAX_FILE_BYTES: Final = 2**31 - 1

#: Nodes of the model, its subgraphs included, once its functions are inlined.
MAX_NODES: Final = 100_000

#: Elements of one tensor: runtimes index with 32-bit integers.
MAX_ELEMENTS: Final = 2**31 - 1

#: Bytes of one tensor.
MAX_TENSOR_BYTES: Final = 2**32

#: Dimensions of one tensor.
MAX_RANK: Final = 32

#: Bytes of all sparse tensors of a model once they are dense.
MAX_DENSIFIED_BYTES: Final = 2**28

#: Elements of a constant that is computed while the model is imported: constants that drive shapes.
MAX_FOLDED_ELEMENTS: Final = 1024
