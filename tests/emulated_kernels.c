/* The program of emulated_kernels.py, without a C library: reads from standard input how often to
 * call the engine (a byte) and the tensors that are given, and writes the results. */

#include <stddef.h>
#include <stdint.h>
#include <tvm/ffi/c_api.h>

#define ALIGNED __attribute__((aligned(64)))

static int call(TVMFFISafeCallType kernel, int count, DLTensor **tensors) {
  TVMFFIAny arguments[16], result;
  for (int i = 0; i < count; ++i)
    arguments[i] = (TVMFFIAny){.type_index = kTVMFFIDLTensorPtr, .v_ptr = tensors[i]};
  return kernel(NULL, arguments, count, &result);
}

#include "engine.h" /* `memory`, GIVEN, SCRATCH, `infer` and RESULTS */

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, EXIT = 60 };
#define ENTRY __attribute__((force_align_arg_pointer))
#else
enum { READ = 63, WRITE = 64, EXIT = 93 };
#define ENTRY
#endif

static long ask(long number, long first, const void *second, unsigned long third) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(first), "S"(second), "d"(third)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long asked __asm__("x8") = number, a __asm__("x0") = first;
  register const void *b __asm__("x1") = second;
  register unsigned long c __asm__("x2") = third;
  __asm__ volatile("svc 0" : "+r"(a) : "r"(asked), "r"(b), "r"(c) : "memory");
  return a;
#elif defined(__riscv)
  register long asked __asm__("a7") = number, a __asm__("a0") = first;
  register const void *b __asm__("a1") = second;
  register unsigned long c __asm__("a2") = third;
  __asm__ volatile("ecall" : "+r"(a) : "r"(asked), "r"(b), "r"(c) : "memory");
  return a;
#endif
}

static void leave(int code) {
  for (;;) ask(EXIT, code, NULL, 0);
}

static void transfer(int number, int file, unsigned char *start, unsigned long size) {
  for (long done; size; start += done, size -= done) {
    done = ask(number, file, start, size);
    if (done <= 0) leave(2);
  }
}

/* What kernels ask the runtime for. TVM frees what it took last first. */

static unsigned char scratch[SCRATCH] ALIGNED;
static unsigned long used;

static void *take(int type, int id, uint64_t size, int code, int bits) {
  unsigned char *start = scratch + used;
  used += (size + 63) / 64 * 64;
  if (used > sizeof scratch) leave(3);
  return start;
}

static int give_back(int type, int id, void *start) {
  used = (unsigned char *)start - scratch;
  return 0;
}

void *__TVMBackendAllocWorkspace = (void *)take;
void *__TVMBackendFreeWorkspace = (void *)give_back;

void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  leave(4); /* an argument is not what the engine is for */
}

/* What LLVM calls on its own. */

void *memset(void *start, int value, size_t size) {
  for (size_t i = 0; i < size; ++i) ((unsigned char *)start)[i] = (unsigned char)value;
  return start;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  for (size_t i = 0; i < size; ++i) ((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
  return to;
}

/* Numbers from 2^23 on are whole; adding that to others leaves no digits after the point. */
float nearbyintf(float x) {
  float limit = x < 0 ? -8388608.0f : 8388608.0f;
  return x * x < 8388608.0f * 8388608.0f ? x + limit - limit : x;
}

ENTRY void _start(void) {
  unsigned char times;
  transfer(READ, 0, &times, 1);
  transfer(READ, 0, memory, GIVEN);
  for (; times; --times)
    if (infer()) leave(1);
  for (int i = 0; i < RESULTS; ++i) transfer(WRITE, 1, memory + results[i][0], results[i][1]);
  leave(0);
}
