// The last act of the guest: process 1 prints what /proc says about every task, then crashes the kernel.
// Usage: truth SETTLE-SECONDS.
//
// Nothing may change between what is printed and the crash.  So this is one process that never forks,
// and it does not print through a driver (output.h).  What is printed: README.md, "Ground truth".

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/corpus/guest/output.h"

enum { max_tasks = 16384 };

static struct {
  int tgid, tid;
} tasks[max_tasks];
static int task_count;

__attribute__((format(printf, 1, 2))) static void say(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  put(line, length);
}

// The whole of a /proc file; *length says how much.  Empty if it cannot be read (a task may have gone).
static char* read_whole(const char* path, size_t* length) {
  static char buffer[1 << 20];
  *length = 0;
  int file = open(path, O_RDONLY);
  if (file < 0) return buffer;
  ssize_t got;
  while (*length < sizeof buffer - 1 && (got = read(file, buffer + *length, sizeof buffer - 1 - *length)) > 0) *length += got;
  close(file);
  buffer[*length] = 0;
  return buffer;
}

static void put_file(const char* path) {
  static char block[65536];
  int file = open(path, O_RDONLY);
  if (file < 0) return;
  for (ssize_t got; (got = read(file, block, sizeof block)) > 0;) put(block, got);
  close(file);
}

static void section(const char* name, const char* path) {
  say("@@BEGIN %s\n", name);
  put_file(path);
  say("@@END %s\n", name);
}

// Calls visit with each name in a directory, in the kernel's order.
static void each_entry(const char* path, void (*visit)(const char* directory, const char* name)) {
  DIR* directory = opendir(path);
  if (!directory) return;
  for (struct dirent* entry; (entry = readdir(directory));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) visit(path, entry->d_name);
  closedir(directory);
}

// What the kernel and its modules are ----------------------------------------------------------------------

static void print_module_section(const char* directory, const char* name) {
  char path[512];
  size_t length;
  snprintf(path, sizeof path, "%s/%s", directory, name);
  char* address = read_whole(path, &length);
  if (length) say("%s %s", name, address);
}

static void print_module(const char* directory, const char* name) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s/sections", directory, name);
  if (access(path, F_OK)) return;  // built in
  say("== %s\n", name);
  each_entry(path, print_module_section);
}

static void print_machine(void) {
  section("version", "/proc/version");
  struct utsname name;
  uname(&name);
  say("@@BEGIN uname\n%s %s %s %s %s\n@@END uname\n", name.sysname, name.nodename, name.release, name.version, name.machine);
  say("@@BEGIN cpus\nonline ");
  put_file("/sys/devices/system/cpu/online");
  say("possible ");
  put_file("/sys/devices/system/cpu/possible");
  say("@@END cpus\n");
  section("kernel-cmdline", "/proc/cmdline");
  section("iomem", "/proc/iomem");
  section("modules", "/proc/modules");
  say("@@BEGIN sections\n");
  each_entry("/sys/module", print_module);
  say("@@END sections\n");
  section("vmcoreinfo", "/sys/kernel/vmcoreinfo");
  section("kallsyms", "/proc/kallsyms");
}

// The tasks ------------------------------------------------------------------------------------------------

static int listed_tgid;

static void list_task(const char* directory, const char* name) {
  (void)directory;
  if (task_count == max_tasks) return;
  tasks[task_count].tgid = listed_tgid;
  tasks[task_count++].tid = atoi(name);
}

static void list_process(const char* directory, const char* name) {
  char path[64];
  if (name[0] < '0' || name[0] > '9') return;
  listed_tgid = atoi(name);
  snprintf(path, sizeof path, "%s/%d/task", directory, listed_tgid);
  each_entry(path, list_task);
}

static char* read_task_file(int index, const char* file, size_t* length) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%d/%s", tasks[index].tgid, tasks[index].tid, file);
  return read_whole(path, length);
}

static void print_stat(const char* name) {
  size_t length;
  say("@@BEGIN %s\n", name);
  task_count = 0;
  each_entry("/proc", list_process);
  for (int i = 0; i < task_count; i++) {
    char* line = read_task_file(i, "stat", &length);
    if (!length) continue;
    say("%d ", tasks[i].tgid);
    put(line, length);
  }
  say("@@END %s\n", name);
}

// stat's name of a kernel thread is not task_struct::comm (a worker's says what it does, a long name is
// whole).  The first line of the file `sched` is the only place that shows comm itself.
static void print_comm(void) {
  size_t length;
  say("@@BEGIN comm\n");
  for (int i = 0; i < task_count; i++) {
    char* text = read_task_file(i, "sched", &length);
    char* end = strstr(text, ", #threads: ");
    if (!length || !end) continue;
    while (end > text && strncmp(end, " (", 2)) end--;
    say("%d %d %.*s\n", tasks[i].tgid, tasks[i].tid, (int)(end - text), text);
  }
  say("@@END comm\n");
}

enum { every_task = 0, leaders_only = 1, nul_to_newline = 2 };

static void print_each(const char* file, int options) {
  size_t length;
  say("@@BEGIN %s\n", file);
  for (int i = 0; i < task_count; i++) {
    if ((options & leaders_only) && tasks[i].tgid != tasks[i].tid) continue;
    char* text = read_task_file(i, file, &length);
    if ((options & leaders_only) && !length) continue;  // a kernel thread has no memory
    for (size_t at = 0; (options & nul_to_newline) && at < length; at++)
      if (!text[at]) text[at] = '\n';
    say("== %d %d\n", tasks[i].tgid, tasks[i].tid);
    put(text, length);
  }
  say("@@END %s\n", file);
}

static void print_log(void) {
  static char log[1 << 20];
  int length = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof log);
  say("@@BEGIN dmesg\n");
  if (length > 0) put(log, length);
  say("@@END dmesg\n");
}

// Until the tasks program has made all of its tasks: on a busy host that takes longer than anyone would guess.  Kernel threads
// come and go meanwhile.
static void wait_for_tasks(unsigned seconds) {
  const int few = 8, most_waits = 60;
  struct sysinfo before, now;
  for (int i = 0; i < most_waits; ++i) {
    if (sysinfo(&before)) return;
    sleep(seconds);
    if (sysinfo(&now) || now.procs < before.procs + few) return;
  }
}

int main(int argc, char** argv) {
  if (open_output()) return 1;
  int sysrq = open("/proc/sysrq-trigger", O_WRONLY);

  print_machine();
  wait_for_tasks(argc > 1 ? atoi(argv[1]) : 3);

  // Slow files that cannot change first, then stat as the last but quick things: what is the same in
  // stat and stat2 was so all the time between them.
  print_stat("stat");
  print_each("cmdline", leaders_only | nul_to_newline);
  print_each("environ", leaders_only | nul_to_newline);
  print_each("maps", leaders_only);
  print_each("syscall", every_task);
  print_each("stack", every_task);
  section("meminfo", "/proc/meminfo");
  print_log();
  print_comm();
  print_stat("stat2");
  section("loadavg", "/proc/loadavg");

  if (write(sysrq, "c", 1) < 0) return 1;
  return 0;
}
