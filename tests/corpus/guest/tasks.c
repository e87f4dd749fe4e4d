// The scenario: tasks of every kind a crash dump can hold, each asleep in a place its name tells.
// Usage: tasks MANY.  MANY > 0 adds that many more tasks (two thirds processes, one third threads).
// README.md lists what is made here; keep the two together.

#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void sleep_forever(void) {
  const struct timespec long_time = {.tv_sec = 1000000};
  for (;;) clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, NULL);
}

static void futex_forever(void) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  pthread_mutex_lock(&mutex);  // held by ourselves: never given
}

static void read_pipe_forever(void) {
  int ends[2];
  char byte;
  if (pipe(ends) == 0 && read(ends[0], &byte, 1) < 0) _exit(1);
}

static void poll_forever(void) {
  int ends[2];
  if (pipe(ends)) _exit(1);
  struct pollfd one = {.fd = ends[0], .events = POLLIN};
  poll(&one, 1, -1);
}

static void epoll_forever(void) {
  struct epoll_event event;
  epoll_wait(epoll_create1(0), &event, 1, -1);
}

static void accept_forever(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path + 1, "corpus", 6);  // an abstract name: there is no disk
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(server, (struct sockaddr*)&address, sizeof address) || listen(server, 1)) _exit(1);
  accept(server, NULL, NULL);
}

static void spin_forever(void) {
  // volatile: an endless loop that does nothing may be removed
  for (volatile unsigned long count = 0;; count++) continue;
}

// Threads ---------------------------------------------------------------------------------------------------

struct kind {
  const char* name;
  void (*run)(void);
};

static const struct kind threads[] = {
    {"nanosleep", sleep_forever},
    {"futex", futex_forever},
    {"pipe-read", read_pipe_forever},
    {"poll", poll_forever},
    {"epoll", epoll_forever},
    {"unix-accept", accept_forever},
    {"spinning", spin_forever},
    // Names that break what reads them: XML, gdb's packet framing, /proc/PID/stat, UTF-8, an empty one.
    {"a#$}*b<&\"", sleep_forever},
    {"x) R (y", sleep_forever},
    {"ctl\x01\x1b", sleep_forever},
    {"caf\xe9\xff", sleep_forever},
    {"", sleep_forever},
    {"fifteen-letters", sleep_forever},
};

static void* thread_main(void* argument) {
  const struct kind* kind = argument;
  prctl(PR_SET_NAME, kind->name);
  kind->run();
  return NULL;
}

static void start_thread(const struct kind* kind) {
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);  // thousands of them must fit
  if (pthread_create(&thread, &attributes, thread_main, (void*)kind)) _exit(1);
}

// Processes -------------------------------------------------------------------------------------------------

static pid_t start_process(const char* name, void (*run)(void)) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_NAME, name);
  run();
  _exit(0);
}

static void become_zombie(void) { _exit(7); }

static void be_stopped(void) { raise(SIGSTOP); }

static void be_traced(void) {
  ptrace(PTRACE_TRACEME, 0, NULL, NULL);
  raise(SIGSTOP);
}

static void lead_session(void) {
  setsid();
  start_process("session-kid-1", sleep_forever);
  start_process("session-kid-2", read_pipe_forever);
  sleep_forever();
}

// The parent of a vfork child sleeps uninterruptibly (state D) until the child execs or exits.
static void vfork_parent(void) {
  if (vfork() == 0) {
    prctl(PR_SET_NAME, "vfork-child");
    sleep_forever();
  }
}

// The leader is a zombie, yet its thread lives on.
static void dead_leader(void) {
  static const struct kind survivor = {"survivor", sleep_forever};
  start_thread(&survivor);
  pthread_exit(NULL);
}

static void session_of_threads(void) {
  static const struct kind pair[] = {{"mt-1", sleep_forever}, {"mt-2", poll_forever}};
  start_thread(&pair[0]);
  start_thread(&pair[1]);
  sleep_forever();
}

// Memory and registers with known contents (see README.md, "The process `registers`").
static void* map_at(uintptr_t address, size_t size) {
  void* got = mmap((void*)address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (got == MAP_FAILED) _exit(1);
  return got;
}

static void known_registers(void) {
  strcpy(map_at(0x10000000, 4096), "a readable page of the process registers");

  // Linux clears the present bit of a PROT_NONE page but keeps its frame: a walker must know that.
  char* hidden = map_at(0x10010000, 4096);
  strcpy(hidden, "a PROT_NONE page of the process registers");
  mprotect(hidden, 4096, PROT_NONE);

  // 4 MB of 2 MB pages (if the guest has them): each 4 KB starts with its own address.
  const uintptr_t huge = (uintptr_t)(sizeof(void*) == 8 ? 0x200000000ull : 0x20000000ull);
  madvise(map_at(huge, 4 << 20), 4 << 20, MADV_HUGEPAGE);
  for (uintptr_t page = huge; page < huge + (4 << 20); page += 4096) *(uintptr_t*)page = page;

#ifdef __x86_64__
  // pause(2) with every register the kernel saves set to a value of its own.
  __asm__ volatile(
      "movabs $0x1111111111111111, %%rbx\n"
      "movabs $0x5555555555555555, %%rbp\n"
      "movabs $0x0808080808080808, %%r8\n"
      "movabs $0x0909090909090909, %%r9\n"
      "movabs $0x1010101010101010, %%r10\n"
      "movabs $0x1212121212121212, %%r12\n"
      "movabs $0x1313131313131313, %%r13\n"
      "movabs $0x1414141414141414, %%r14\n"
      "movabs $0x1515151515151515, %%r15\n"
      "movabs $0x0d1d1d1d1d1d1d1d, %%rdi\n"
      "movabs $0x0515151515151515, %%rsi\n"
      "movabs $0x0d0d0d0d0d0d0d0d, %%rdx\n"
      "1: mov $34, %%eax\n"
      "syscall\n"
      "jmp 1b\n" ::
          : "memory");
#endif
  sleep_forever();
}

// ------------------------------------------------------------------------------------------------------------

static void start_many(int count) {
  static const struct kind idle = {"many-thread", sleep_forever};
  // Processes first: each would copy the page tables of the threads' stacks.
  for (int i = count / 3; i < count; i++) start_process("many-process", sleep_forever);
  for (int i = 0; i < count / 3; i++) start_thread(&idle);
}

int main(int argc, char** argv) {
  prctl(PR_SET_NAME, "tasks");

  start_process("pipe-child", read_pipe_forever);
  start_process("zombie", become_zombie);
  start_process("stopped", be_stopped);
  start_process("traced", be_traced);
  start_process("session", lead_session);
  start_process("vfork-parent", vfork_parent);
  start_process("dead-leader", dead_leader);
  start_process("two-threads", session_of_threads);
  start_process("registers", known_registers);

  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) start_thread(&threads[i]);
  if (argc > 1) start_many(atoi(argv[1]));
  sleep_forever();
}
