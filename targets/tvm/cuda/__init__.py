"""NVIDIA GPUs through Apache TVM: its rules schedule the kernels, NVRTC compiles them."""
