"""The engines: for each module of `rtl/`, what a layer and a folding make of it."""
