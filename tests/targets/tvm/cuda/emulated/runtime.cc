// In the place of CUDA's runtime library (libcudart.so.13): one card of the compute capability
// EMULATED_CAPABILITY ("90"), whose memory is the host's. At the end the most bytes that were taken
// at a time are written to the file EMULATED_MEMORY.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace {

struct Card {
  std::map<void*, size_t> taken;
  size_t now = 0, most = 0;
  ~Card() {
    if (const char* path = std::getenv("EMULATED_MEMORY")) {
      if (FILE* file = std::fopen(path, "w")) {
        std::fprintf(file, "%zu", most);
        std::fclose(file);
      }
    }
  }
};

Card& TheCard() {
  static Card card;
  return card;
}

constexpr int kMajor = 75, kMinor = 76;  // cudaDevAttrComputeCapabilityMajor and -Minor

}  // namespace

extern "C" {

int cudaGetDeviceCount(int* count) { return *count = 1, 0; }
int cudaGetDevice(int* device) { return *device = 0, 0; }
int cudaSetDevice(int) { return 0; }

int cudaDeviceGetAttribute(int* value, int attribute, int) {
  const int capability = std::atoi(std::getenv("EMULATED_CAPABILITY"));
  *value = attribute == kMajor ? capability / 10 : attribute == kMinor ? capability % 10 : 0;
  return 0;
}

int cudaMalloc(void** data, size_t size) {
  Card& card = TheCard();
  // Not zero: what is read before it is written shows.
  *data = std::memset(std::aligned_alloc(256, (size + 255) / 256 * 256), 0xff, size);
  card.taken[*data] = size;
  card.now += size;
  card.most = std::max(card.most, card.now);
  return 0;
}

int cudaFree(void* data) {
  Card& card = TheCard();
  card.now -= card.taken[data];
  card.taken.erase(data);
  std::free(data);
  return 0;
}

int cudaMemcpyAsync(void* target, const void* source, size_t size, int, void*) {
  std::memcpy(target, source, size);
  return 0;
}

int cudaMemGetInfo(size_t* free, size_t* total) { return *free = *total = size_t{1} << 36, 0; }
int cudaStreamSynchronize(void*) { return 0; }
int cudaGetLastError() { return 0; }
int cudaPeekAtLastError() { return 0; }
const char* cudaGetErrorString(int) { return "emulated error"; }
const char* cudaGetErrorName(int) { return "emulated error"; }

// What TVM is linked against, and an engine here never calls.
#define EMULATED_NOT(name) \
  int name() { return std::fprintf(stderr, "emulated GPU: no %s\n", #name), 801; }  // not supported
EMULATED_NOT(cudaEventCreate)
EMULATED_NOT(cudaEventDestroy)
EMULATED_NOT(cudaEventElapsedTime)
EMULATED_NOT(cudaEventRecord)
EMULATED_NOT(cudaEventSynchronize)
EMULATED_NOT(cudaFreeHost)
EMULATED_NOT(cudaGetDeviceProperties)
EMULATED_NOT(cudaGraphDestroy)
EMULATED_NOT(cudaGraphExecDestroy)
EMULATED_NOT(cudaGraphInstantiate)
EMULATED_NOT(cudaGraphLaunch)
EMULATED_NOT(cudaMallocHost)
EMULATED_NOT(cudaMemcpyPeerAsync)
EMULATED_NOT(cudaStreamBeginCapture)
EMULATED_NOT(cudaStreamCreate)
EMULATED_NOT(cudaStreamCreateWithFlags)
EMULATED_NOT(cudaStreamDestroy)
EMULATED_NOT(cudaStreamEndCapture)
EMULATED_NOT(cudaStreamWaitEvent)

}  // extern "C"
