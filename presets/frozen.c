/* Loaded before a program by LD_PRELOAD (Linux on x86-64): what the system answers is the same in each run. The time
 * stands still, randomness is one sequence, and files have no times and are numbered as they are looked at. It is for
 * tools that start a runtime and keep a snapshot of its memory: what the runtime has asked for stays in there, as
 * seeds of its hash tables and as the rest of buffers.
 *
 * Most programs ask for these by libc, some by the system call itself. A seccomp filter turns the latter into SIGSYS,
 * whose handler answers. It outlives execve and the handler does not: a program that starts others cannot have it. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* 2020-01-01T00:00:00Z, in seconds */
#define THEN 1577836800
/* statx has five arguments; this as the sixth is a call of ours, which the filter lets through. */
#define OURS 0x0e9e3e70

static ssize_t fill(unsigned char *to, size_t length) {
  /* One sequence for each thread: it does not matter which of them asks first. */
  static __thread uint64_t state = 1;
  for (size_t i = 0; i < length; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    to[i] = state >> 56;
  }
  return (ssize_t)length;
}

static uint64_t number(uint64_t device, uint64_t inode) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static struct { uint64_t device, inode; } seen[1 << 16];
  static unsigned count;
  unsigned i = 0;
  pthread_mutex_lock(&lock);
  while (i < count && (seen[i].inode != inode || seen[i].device != device)) i++;
  if (i == count && count < sizeof seen / sizeof *seen) {
    seen[count].device = device;
    seen[count++].inode = inode;
  }
  pthread_mutex_unlock(&lock);
  return i + 1;
}

static void freeze(struct statx *file) {
  const struct statx_timestamp then = {.tv_sec = THEN};
  file->stx_ino = number((uint64_t)file->stx_dev_major << 32 | file->stx_dev_minor, file->stx_ino);
  file->stx_dev_major = 0;
  file->stx_dev_minor = 1;
  file->stx_atime = file->stx_btime = file->stx_ctime = file->stx_mtime = then;
}

static void answer(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const int before = errno;
  (void)signal;
  if (info->si_syscall == SYS_getrandom) {
    registers[REG_RAX] = fill((unsigned char *)registers[REG_RDI], (size_t)registers[REG_RSI]);
  } else {
    long result = syscall(SYS_statx, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX], registers[REG_R10],
                          registers[REG_R8], (long)OURS);
    if (result == 0) freeze((struct statx *)registers[REG_R8]);
    registers[REG_RAX] = result == 0 ? 0 : -errno;
  }
  errno = before;
}

int clock_gettime(clockid_t clock, struct timespec *to) {
  to->tv_sec = clock == CLOCK_REALTIME ? THEN : 1000;
  to->tv_nsec = 0;
  return 0;
}

ssize_t getrandom(void *to, size_t length, unsigned flags) {
  (void)flags;
  return fill(to, length);
}

int getentropy(void *to, size_t length) {
  fill(to, length);
  return 0;
}

__attribute__((constructor)) static void install(void) {
  const struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statx, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  /* The runtime that is started may get this program's environment. */
  unsetenv("LD_PRELOAD");
  if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    perror("cannot answer for the system");
    _exit(1);
  }
}
