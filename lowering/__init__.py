"""From a model file to the IR that a target builds from: importers, passes, read-only analyses."""
