"""From a network and its foldings to a design, and from a design to Verilog."""
