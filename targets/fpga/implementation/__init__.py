"""From a design to a bitstream: synthesis, place and route, and all that a board adds."""
