"""What quantization knows: schemes, parameters, ranges, recipes. The passes apply it.

A *scheme* says what a runtime can compute. Calibration gives every tensor's statistics, from which
ranges give its *parameters*. A *recipe* holds all that was decided for one model; the pass
``quantize`` writes it into the graph, as QuantizeLinear and DequantizeLinear.
"""
