"""When every beat of a design moves."""
