"""Passes over the IR: one file, one pass, one test of the same name."""
