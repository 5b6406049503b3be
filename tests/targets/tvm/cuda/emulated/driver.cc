// In the place of NVIDIA's driver (libcuda.so.1): kernels run on the CPU, by a library that was
// compiled from their source (EMULATED_KERNELS) and `device.h`.
#include <cuda.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

using Launch = bool (*)(const char* name, const unsigned* grid, const unsigned* size, void** args);

extern "C" {

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  const auto* header = static_cast<const unsigned char*>(image);
  if (std::memcmp(header, "\x7f" "ELF", 4) != 0 || header[18] != 190) {  // EM_CUDA
    std::fputs("emulated GPU: what is loaded is no machine code for GPUs\n", stderr);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  *module = static_cast<CUmodule>(dlopen(std::getenv("EMULATED_KERNELS"), RTLD_NOW));
  if (*module) return CUDA_SUCCESS;
  std::fprintf(stderr, "emulated GPU: %s\n", dlerror());
  return CUDA_ERROR_INVALID_IMAGE;
}

// A function is its name, and the library that runs it.
struct Named {
  Launch launch;
  char name[512];
};

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  auto launch = reinterpret_cast<Launch>(dlsym(module, "emulated_launch"));
  if (!launch || !launch(name, nullptr, nullptr, nullptr)) return CUDA_ERROR_NOT_FOUND;
  auto* named = new Named{launch, {}};
  std::snprintf(named->name, sizeof named->name, "%s", name);
  *function = reinterpret_cast<CUfunction>(named);
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** args, void**) {
  const auto* named = reinterpret_cast<const Named*>(function);
  const unsigned grid[] = {config->gridDimX, config->gridDimY, config->gridDimZ};
  const unsigned size[] = {config->blockDimX, config->blockDimY, config->blockDimZ};
  if (size[0] * size[1] * size[2] > 1024 || config->sharedMemBytes != 0)
    return CUDA_ERROR_INVALID_VALUE;
  return named->launch(named->name, grid, size, args) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

CUresult cuGetErrorName(CUresult, const char** text) {
  *text = "emulated error";
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** text) { return cuGetErrorName(error, text); }

// What the runtime is linked against, and an engine here never calls.
CUresult cuDeviceGetName(char*, int, CUdevice) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuTensorMapEncodeTiled(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
                                const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                                const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // extern "C"
