"""How blocks tell schedules what they are: annotations outlive TVM's fusion, attributes do not."""

from __future__ import annotations

from typing import Final

#: Attribute of a kernel: it has its loops. TVM's own passes know it by that name.
SCHEDULED: Final = "tirx.is_scheduled"

#: Of the block ``sums`` of a product: axes of the space; height, width and channels of a tile; rows
#: of a block.
PRODUCT: Final = "tapeout.product"

#: Of the block ``sums`` of a product by pairs of rows: how far apart the data of both is.
PAIRED: Final = "tapeout.paired"

#: Of a block that copies rows with pads, or has borders: how many numbers along its last axis are
#: computed at once.
VECTOR: Final = "tapeout.vector"

#: Of the block ``sums`` of a depthwise convolution: axes of the space; width and channels of a
#: tile; rows of a block.
DEPTHWISE: Final = "tapeout.depthwise"

#: Of all blocks of a kernel over rows.
ROW: Final = "tapeout.row"

#: Of the block ``sums`` of a product or a depthwise convolution, and attribute of the kernel that
#: has it: its `Workload.key`.
WORKLOAD: Final = "tapeout.workload"

#: Of the block ``sums`` of a convolution by Winograd's way: rows and columns of a tile of the
#: output; rows of tiles of a block; height and channels of a tile of the products.
WINOGRAD: Final = "tapeout.winograd"

#: Of the block ``sums`` of a transposed convolution: its strides.
TRANSPOSED: Final = "tapeout.transposed"


def numbered(name: str, number: int) -> str:
    """Return the name of one of several blocks of a kind; the first has the name of the kind."""
    return f"{name}_{number}" if number else name
