"""tapeout: compile a trained network for a named device, inside a memory and latency budget."""
