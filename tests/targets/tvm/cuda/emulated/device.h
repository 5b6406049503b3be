// CUDA kernels on a CPU: the language, as far as TVM's sources use it. One fiber for each thread of
// a block, one block after the other. A fiber runs until it waits for others or ends, so a missing
// barrier shows as a wrong number in one of the two orders in which threads can be resumed
// (EMULATED_ORDER=reverse).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define alignas(size) __attribute__((aligned(size)))  // CUDA has it after the storage class, too

using std::max;
using std::min;

#define EMULATED_VECTORS(name, type)                                         \
  struct name##2 { type x, y; };                                             \
  struct name##3 { type x, y, z; };                                          \
  struct name##4 { type x, y, z, w; };                                       \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }           \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATED_VECTORS(float, float)
EMULATED_VECTORS(int, int)
EMULATED_VECTORS(uint, unsigned)
EMULATED_VECTORS(ushort, unsigned short)

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

struct Index { unsigned x = 0, y = 0, z = 0; };
static Index threadIdx, blockIdx;

namespace emulated {

constexpr unsigned kWarp = 32;
constexpr size_t kStack = 128 << 10;

enum class Waits { kNothing, kForWarp, kForBlock };

// Go on where `to` stands, having noted where this one does: the registers that a call keeps
// (System V AMD64 ABI) lie on the stack. What <ucontext.h> has asks the kernel each time.
extern "C" void emulated_switch(void** from, void* to);
asm(R"(
.text
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

struct Fiber {
  void* place = nullptr;
  std::unique_ptr<char[]> stack{new char[kStack]};  // not touched before it is used
  Index index;
  Waits waits = Waits::kNothing;
  bool done = false;
};

struct Block {
  void* scheduler = nullptr;
  std::vector<Fiber> fibers;    // as many as the largest block so far had threads
  unsigned threads = 0;         // of this one
  std::vector<uint64_t> slots;  // what each thread gives to its warp
  unsigned current = 0;
  void (*kernel)(void**);
  void** arguments;
};
static Block block;

inline void Wait(Waits reason) {
  Fiber& own = block.fibers[block.current];
  own.waits = reason;
  emulated_switch(&own.place, block.scheduler);
}

inline void Start() {
  block.kernel(block.arguments);
  block.fibers[block.current].done = true;
  emulated_switch(&block.fibers[block.current].place, block.scheduler);
}

inline void Resume(unsigned number) {
  Fiber& fiber = block.fibers[number];
  block.current = number;
  threadIdx = fiber.index;
  emulated_switch(&block.scheduler, fiber.place);
}

// Let those go on whose whole warp, or block, has come to the same barrier; say if any do.
inline bool Release(Waits reason, size_t group) {
  bool any = false;
  for (size_t first = 0; first < block.threads; first += group) {
    const auto begin = block.fibers.begin() + first;
    const auto end = block.fibers.begin() + std::min<size_t>(first + group, block.threads);
    const auto there = [&](const Fiber& item) { return item.done || item.waits == reason; };
    const auto alive = [](const Fiber& item) { return !item.done; };
    if (!std::all_of(begin, end, there) || !std::any_of(begin, end, alive)) continue;
    for (auto fiber = begin; fiber != end; ++fiber) fiber->waits = Waits::kNothing;
    any = true;
  }
  return any;
}

inline void RunBlock(Index size) {
  for (unsigned number = 0; number < block.threads; ++number) {
    Fiber& fiber = block.fibers[number];
    fiber.index = {number % size.x, number / size.x % size.y, number / size.x / size.y};
    fiber.waits = Waits::kNothing;
    fiber.done = false;
    // Six registers, then where to start; a function finds its stack 8 bytes off a multiple of 16.
    const auto end = reinterpret_cast<uintptr_t>(fiber.stack.get() + kStack) / 16 * 16;
    auto** top = reinterpret_cast<void**>(end) - 8;
    top[6] = reinterpret_cast<void*>(Start);
    fiber.place = top;
  }
  const char* order = std::getenv("EMULATED_ORDER");
  const bool reverse = order && std::string(order) == "reverse";
  do {
    for (unsigned k = 0; k < block.threads; ++k) {
      const unsigned next = reverse ? block.threads - 1 - k : k;
      const Fiber& fiber = block.fibers[next];
      if (!fiber.done && fiber.waits == Waits::kNothing) Resume(next);
    }
  } while (Release(Waits::kForWarp, kWarp) || Release(Waits::kForBlock, block.threads));
  for (unsigned k = 0; k < block.threads; ++k) {
    if (block.fibers[k].done) continue;
    std::fputs("emulated GPU: a barrier that not all threads reach\n", stderr);
    std::abort();
  }
}

inline void Launch(void (*kernel)(void**), Index grid, Index size, void** arguments) {
  block.threads = size.x * size.y * size.z;
  if (block.fibers.size() < block.threads) block.fibers.resize(block.threads);
  block.slots.assign(block.threads, 0);
  block.kernel = kernel;
  block.arguments = arguments;
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) RunBlock(size);
}

// Give a value to the warp and take that of the lane `source`.
template <class T>
T Exchange(T value, unsigned source) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const unsigned own = block.current, warp = own / kWarp * kWarp;
  std::memcpy(&block.slots[own], &value, sizeof value);
  Wait(Waits::kForWarp);
  if (warp + source < block.slots.size()) std::memcpy(&value, &block.slots[warp + source], sizeof value);
  Wait(Waits::kForWarp);
  return value;
}

template <class... Arguments, size_t... Places>
void Call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Places...>) {
  kernel(*static_cast<Arguments*>(arguments[Places])...);
}

template <class... Arguments>
void Call(void (*kernel)(Arguments...), void** arguments) {
  Call(kernel, arguments, std::index_sequence_for<Arguments...>());
}

}  // namespace emulated

inline void __syncthreads() { emulated::Wait(emulated::Waits::kForBlock); }
inline void __syncwarp(unsigned = ~0u) { emulated::Wait(emulated::Waits::kForWarp); }
inline unsigned __activemask() { return ~0u; }

template <class T>
T __shfl_sync(unsigned, T value, int lane, int width) {
  const unsigned own = emulated::block.current % emulated::kWarp;
  return emulated::Exchange(value, own / width * width + lane % width);
}

template <class T>
T __shfl_down_sync(unsigned, T value, unsigned by, unsigned width) {
  const unsigned own = emulated::block.current % emulated::kWarp;
  return emulated::Exchange(value, own % width + by < width ? own + by : own);
}
