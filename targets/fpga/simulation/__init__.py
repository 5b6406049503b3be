"""Designs in Verilator, held to what numpy and the model of time say."""
