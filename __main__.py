"""``python -m tapeout`` is the command line."""

from .cli import main

main()
