"""Which ONNX the IR is written in."""

from __future__ import annotations

from typing import Final

#: The opset of the default domain that every model is brought to: the newest that the reference
#: (ONNX Runtime) runs.
WORKING_OPSET: Final = 26

#: The ONNX IR version of every model after import.
IR_VERSION: Final = 13

#: The domain (version 1) of our own operators; each is defined by an ONNX function in the model.
DOMAIN: Final = "tapeout"

#: The key of `Model.metadata_props` under which the importer notes the opset of the user's file.
SOURCE_OPSET: Final = "tapeout.opset"
