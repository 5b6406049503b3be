/* Counts the bytes that a process holds through posix_memalign, as TVM's runtime allocates.
 * Preloaded; the program asks with allocated_bytes(). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

enum { SLOTS = 1 << 14 };

static struct { void *start; size_t bytes; } held[SLOTS];
static size_t total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

size_t allocated_bytes(void) { return total; }

static void replace(void *from, void *to, size_t bytes) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < SLOTS; ++i) {
    if (held[i].start == from) {
      total += bytes - held[i].bytes;
      held[i].start = to;
      held[i].bytes = bytes;
      break;
    }
  }
  pthread_mutex_unlock(&lock);
}

int posix_memalign(void **result, size_t alignment, size_t bytes) {
  static int (*real)(void **, size_t, size_t);
  if (!real) real = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
  int status = real(result, alignment, bytes);
  if (status == 0) replace(NULL, *result, bytes);
  return status;
}

void free(void *start) {
  static void (*real)(void *);
  if (!real) real = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  if (start && total) replace(start, NULL, 0);
  real(start);
}
