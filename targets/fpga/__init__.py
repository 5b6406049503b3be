"""FPGAs: a streaming design in Verilog, proven in a simulator, down to a bitstream."""

from ..base import Target
from .target import FpgaTarget

TARGETS: tuple[Target, ...] = (FpgaTarget(),)
