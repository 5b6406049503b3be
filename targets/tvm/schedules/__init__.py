"""Schedules of TVM's kernels, derived from a device profile: no tuning, no search at run time."""
