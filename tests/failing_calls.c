// Makes calls to the file system fail: see failing_calls.py. No header that declares open and stat
// is included, so that their versions can share a signature here.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *below, *failing;
static int nth, error, forever, *calls;

// From now on, the nth call of a kind fails on a path that begins so, or all from that one on.
// What calls points to counts them.
void fail_calls(const char *path, const char *kind, int n, int number, int on, int *counter) {
  below = path, failing = kind, nth = n, error = number, forever = on, calls = counter;
}

static int fails(const char *kind, const char *path) {
  if (!below || strcmp(kind, failing) || strncmp(path, below, strlen(below))) return 0;
  if (++*calls != nth && !(forever && *calls > nth)) return 0;
  errno = error;
  return 1;
}

static const char *path_of(int fd) {
  static char link[32], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = below ? readlink(link, path, sizeof path - 1) : 0;
  path[length > 0 ? length : 0] = 0;
  return path;
}

#define REAL(type, name, types) \
  static type(*real) types;     \
  if (!real) real = dlsym(RTLD_NEXT, #name)
#define WRAP(kind, path, failure, type, name, types, arguments) \
  type name types {                                             \
    REAL(type, name, types);                                    \
    return fails(kind, path) ? failure : real arguments;        \
  }

WRAP("open", p, -1, int, open, (const char *p, int f, int m), (p, f, m))
WRAP("open", p, -1, int, open64, (const char *p, int f, int m), (p, f, m))
WRAP("open", p, -1, int, openat, (int d, const char *p, int f, int m), (d, p, f, m))
WRAP("open", p, -1, int, openat64, (int d, const char *p, int f, int m), (d, p, f, m))
WRAP("rename", p, -1, int, rename, (const char *s, const char *p), (s, p))
WRAP("unlink", p, -1, int, unlink, (const char *p), (p))
WRAP("mkdir", p, -1, int, mkdir, (const char *p, unsigned m), (p, m))
WRAP("flock", path_of(d), -1, int, flock, (int d, int o), (d, o))
WRAP("fsync", path_of(d), -1, int, fsync, (int d), (d))
WRAP("fstat", path_of(d), -1, int, fstat, (int d, void *s), (d, s))
WRAP("fstat", path_of(d), -1, int, fstat64, (int d, void *s), (d, s))
WRAP("stat", p, -1, int, stat, (const char *p, void *s), (p, s))
WRAP("stat", p, -1, int, stat64, (const char *p, void *s), (p, s))
WRAP("stat", p, -1, int, lstat, (const char *p, void *s), (p, s))
WRAP("stat", p, -1, int, lstat64, (const char *p, void *s), (p, s))
WRAP("stat", p, -1, int, fstatat64, (int d, const char *p, void *s, int f), (d, p, s, f))
WRAP("read", path_of(d), -1, ssize_t, read, (int d, void *b, size_t n), (d, b, n))
WRAP("lseek", path_of(d), -1, off64_t, lseek64, (int d, off64_t o, int w), (d, o, w))
WRAP("opendir", p, NULL, void *, opendir, (const char *p), (p))

// A disk that gets full takes a part first.
ssize_t write(int d, const void *b, size_t n) {
  REAL(ssize_t, write, (int d, const void *b, size_t n));
  if (!fails("write", path_of(d))) return real(d, b, n);
  return forever && *calls == nth && n > 1 ? real(d, b, n / 2) : -1;
}

// The descriptor is closed even so.
int close(int d) {
  REAL(int, close, (int d));
  int failed = fails("close", path_of(d)), result = real(d);
  if (failed) errno = error;
  return failed ? -1 : result;
}
