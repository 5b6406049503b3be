// In the place of CUDA's header: kernels need nothing of it.
