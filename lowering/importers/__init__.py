"""Importers: a model file in a standard format to one checked, static-shaped `onnx_ir.Model`."""
