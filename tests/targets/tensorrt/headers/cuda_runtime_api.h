// A stand-in for CUDA's runtime API: it records, on the standard error, what it is called for. The
// memory of its "GPU" is the host's. What main.cc uses is declared as CUDA 13 declares it.
//
// The environment says what it is: GPUS, the compute capabilities; FAILS, the function that fails.

#ifndef STAND_IN_CUDA_H_
#define STAND_IN_CUDA_H_

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

enum cudaError_t { cudaSuccess = 0, cudaErrorInsufficientDriver = 35, cudaErrorUnknown = 999 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
struct cudaDeviceProp {
  char name[256];
  int major;
  int minor;
};

namespace stand_in {

inline std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Record a call; whether it succeeds.
inline bool Note(const std::string& function, const std::string& arguments = "") {
  std::fprintf(stderr, "> %s%s\n", function.c_str(), arguments.c_str());
  return Environment("FAILS") != function;
}

inline cudaError_t Result(bool done) { return done ? cudaSuccess : cudaErrorUnknown; }

inline std::vector<std::string> Gpus() {
  std::istringstream words(Environment("GPUS"));
  std::vector<std::string> gpus;
  for (std::string word; words >> word;) gpus.push_back(word);
  return gpus;
}

inline int events = 0;

}  // namespace stand_in

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInsufficientDriver ? "driver version is insufficient" : "unknown error";
}

inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(stand_in::Gpus().size());
  return *count == 0 ? cudaErrorInsufficientDriver : cudaSuccess;
}

inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  std::snprintf(properties->name, sizeof(properties->name), "card %d", index);
  std::sscanf(stand_in::Gpus().at(index).c_str(), "%d.%d", &properties->major, &properties->minor);
  return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int index) {
  return stand_in::Result(stand_in::Note("cudaSetDevice", " " + std::to_string(index)));
}

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = reinterpret_cast<cudaStream_t>(7);
  return stand_in::Result(stand_in::Note("cudaStreamCreate"));
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return stand_in::Result(stand_in::Note("cudaStreamSynchronize"));
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) {
  return stand_in::Result(stand_in::Note("cudaStreamDestroy"));
}

inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(static_cast<intptr_t>(++stand_in::events));
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  const auto number = std::to_string(reinterpret_cast<intptr_t>(event));
  return stand_in::Result(stand_in::Note("cudaEventRecord", " " + number));
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds =
      static_cast<float>(reinterpret_cast<intptr_t>(end) - reinterpret_cast<intptr_t>(start));
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }

inline cudaError_t cudaMalloc(void** memory, size_t size) {
  *memory = std::malloc(size);
  return stand_in::Result(stand_in::Note("cudaMalloc", " " + std::to_string(size)));
}
inline cudaError_t cudaMallocHost(void** memory, size_t size) {
  *memory = std::malloc(size);
  return stand_in::Result(stand_in::Note("cudaMallocHost", " " + std::to_string(size)));
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return stand_in::Result(stand_in::Note("cudaFree"));
}
inline cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return stand_in::Result(stand_in::Note("cudaFreeHost"));
}

inline cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t size,
                                   cudaMemcpyKind kind, cudaStream_t) {
  std::memcpy(target, source, size);
  const std::string way = kind == cudaMemcpyHostToDevice ? " to device " : " to host ";
  return stand_in::Result(stand_in::Note("cudaMemcpyAsync", way + std::to_string(size)));
}

#endif  // STAND_IN_CUDA_H_
