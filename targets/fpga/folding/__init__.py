"""How much of a device each layer is given."""
