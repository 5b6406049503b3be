"""The network as integers: what is read from ONNX, and what it computes, in numpy."""
