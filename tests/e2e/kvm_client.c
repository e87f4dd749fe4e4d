/* A program for libkvm, in C99, as FreeBSD's own are: calls every function and prints what it says, a line each, for
 * tests/e2e/libkvm.py to compare with the truth.
 *   kvm_client KERNEL|- CORE [NAME...]     - : the dump's own symbols
 * Exit status 1 when the dump does not open or a call breaks a promise of the manual pages. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures;

static void check(int good, const char *what) {
  if (good) return;
  printf("FAILED %s\n", what);
  ++failures;
}

static kvaddr_t address_of(kvm_t *kd, const char *name) {
  struct kvm_nlist list[] = {{NULL, 0, 0}, {NULL, 0, 0}};
  list[0].n_name = name;
  return kvm_nlist2(kd, list) == 0 ? list[0].n_value : 0;
}

static void print_bytes(const char *what, const char *text, size_t size) {
  size_t i;
  printf("%s ", what);
  for (i = 0; i < size && text[i]; ++i)
    if (text[i] >= ' ' && text[i] <= '~') putchar(text[i]);
    else printf("\\%02x", (unsigned char)text[i]);
  putchar('\n');
}

static void names(kvm_t *kd, char **wanted, int count) {
  struct kvm_nlist *list = calloc((size_t)count + 1, sizeof *list);
  int i, missing;
  for (i = 0; i < count; ++i) list[i].n_name = wanted[i];
  missing = kvm_nlist2(kd, list);
  printf("missing %d\n", missing);
  for (i = 0; i < count; ++i) printf("symbol %s %d %#llx\n", wanted[i], list[i].n_type, (unsigned long long)list[i].n_value);
  if (kvm_native(kd)) {
    struct nlist *old = calloc((size_t)count + 1, sizeof *old);
    for (i = 0; i < count; ++i) old[i].n_name = wanted[i];
    check(kvm_nlist(kd, old) == missing, "kvm_nlist finds as many as kvm_nlist2");
    for (i = 0; i < count; ++i) check(old[i].n_value == list[i].n_value && old[i].n_type == list[i].n_type, "both nlists agree");
    free(old);
  } else {
    struct nlist old[2];
    memset(old, 0, sizeof old);
    old[0].n_name = "x";
    check(kvm_nlist(kd, old) == -1, "kvm_nlist refuses a foreign core");
    check(!strcmp(kvm_geterr(kd), "kvm_nlist of non-native vmcore"), "and says so");
  }
  free(list);
}

static void reading(kvm_t *kd, const char *banner) {
  char text[200], again[200], before[2048];
  kvaddr_t at = address_of(kd, banner);
  if (!at) return;
  memset(text, 0, sizeof text);
  check(kvm_read2(kd, at, text, sizeof text) == (ssize_t)sizeof text, "kvm_read2 of the banner");
  check(kvm_read(kd, (unsigned long)at, again, sizeof again) == (ssize_t)sizeof again && !memcmp(text, again, sizeof text), "kvm_read is the same");
  print_bytes("banner", text, sizeof text);
  check(kvm_read2(kd, at, text, 0) == 0, "nothing asked, nothing read");
  check(kvm_read2(kd, 8, text, 4) == -1 && kvm_geterr(kd)[0], "an address that is not mapped");
  strcpy(before, kvm_geterr(kd));
  check(kvm_read2(kd, at, text, 1) == 1 && !strcmp(before, kvm_geterr(kd)), "a success keeps the last message");
  check(kvm_write(kd, (unsigned long)at, text, 1) == -1, "a dead kernel is not written");
  check(!strcmp(kvm_geterr(kd), "kvm_write not implemented for dead kernels"), "and it is said");
}

static void process(kvm_t *kd, const char *kind, const struct kinfo_proc *p) {
  char **words;
  int i;
  printf("%s %d %d %d %d %d %d %lld %u %u %d %d %lu %ld %lld %d %d ", kind, (int)p->ki_pid, (int)p->ki_tid, (int)p->ki_ppid,
         (int)p->ki_pgid, (int)p->ki_sid, (int)p->ki_tpgid, p->ki_tdev == ~0ull ? -1ll : (long long)p->ki_tdev, (unsigned)p->ki_uid,
         (unsigned)p->ki_groups[0], p->ki_stat, p->ki_nice, p->ki_size, p->ki_rssize, (long long)p->ki_start.tv_sec, p->ki_numthreads,
         p->ki_lastcpu);
  print_bytes("", p->ki_comm, sizeof p->ki_comm);
  if (strcmp(kind, "process")) return;
  words = kvm_getargv(kd, p, 0);
  for (i = 0; words && words[i]; ++i) printf("arg %d ", (int)p->ki_pid), print_bytes("", words[i], strlen(words[i]) + 1);
  words = kvm_getenvv(kd, p, 0);
  for (i = 0; words && words[i]; ++i) printf("env %d ", (int)p->ki_pid), print_bytes("", words[i], strlen(words[i]) + 1);
  words = kvm_getargv(kd, p, 4);
  check(!words || !words[0] || strlen(words[0]) <= 3, "kvm_getargv keeps to the limit");
}

static void processes(kvm_t *kd) {
  int count = -1, threads = -1, i, n;
  pid_t first;
  struct kinfo_proc *p = kvm_getprocs(kd, KERN_PROC_PROC, 0, &count);
  if (!p) {
    printf("no-processes %s\n", kvm_geterr(kd));
    return;
  }
  first = p[0].ki_pid;
  for (i = 0; i < count; ++i) {
    check(p[i].ki_structsize == (int)sizeof *p, "ki_structsize");
    process(kd, "process", &p[i]);
  }
  p = kvm_getprocs(kd, KERN_PROC_PROC | KERN_PROC_INC_THREAD, 0, &threads);
  for (i = 0; p && i < threads; ++i) process(kd, "thread", &p[i]);
  p = kvm_getprocs(kd, KERN_PROC_ALL, 0, &n);
  check(p && n == threads, "KERN_PROC_ALL is every thread");
  p = kvm_getprocs(kd, KERN_PROC_PID, (int)first, &n);
  check(p && n == 1 && p->ki_pid == first, "KERN_PROC_PID");
  p = kvm_getprocs(kd, KERN_PROC_PID, 0x7ffffff0, &n);
  check(!p && n == 0, "no such process");
  p = kvm_getprocs(kd, KERN_PROC_UID, 0, &n);
  check(p && n > 0 && n <= count, "KERN_PROC_UID");
  for (i = 0; i < n; ++i) check(p[i].ki_uid == 0, "root's");
}

static void totals(kvm_t *kd) {
  double load[3] = {-1, -1, -1};
  struct kvm_swap swap[8];
  long times[CPUSTATES];
  int n = kvm_getloadavg(kd, load, 3), i;
  if (n >= 0) printf("load %.2f %.2f %.2f\n", load[0], load[1], load[2]);
  else printf("no-load %s\n", kvm_geterr(kd));
  check(n < 0 || kvm_getloadavg(kd, load, 1) == 1, "one sample");
  n = kvm_getswapinfo(kd, swap, 8, SWIF_DEV_PREFIX);
  for (i = 0; i <= n; ++i) printf("swap %s %u %u\n", i < n ? swap[i].ksw_devname : "total", swap[i].ksw_total, swap[i].ksw_used);
  if (n < 0) printf("no-swap %s\n", kvm_geterr(kd));
  check(kvm_getswapinfo(NULL, NULL, 0, 0) == 0 && kvm_getcptime(NULL, NULL) == 0 && kvm_getmaxcpu(NULL) == 0, "resets are nothing");
  check(kvm_getpcpu(NULL, 0) == NULL, "kvm_getpcpu without a handle");
  if (kvm_getcptime(kd, times) == 0) printf("cptime %ld %ld %ld %ld %ld\n", times[0], times[1], times[2], times[3], times[4]);
  else printf("no-cptime %s\n", kvm_geterr(kd));
}

static void cpus(kvm_t *kd, const char *counter) {
  int most = kvm_getmaxcpu(kd), count = kvm_getncpus(kd), cpu;
  kvaddr_t at = 0;
  printf("cpus %d %d\n", count, most);
  for (cpu = 0; cpu < most; ++cpu) {
    void *area = kvm_getpcpu(kd, cpu);
    if (area == (void *)-1) printf("no-pcpu %d %s\n", cpu, kvm_geterr(kd));
    else printf("pcpu %d %s\n", cpu, area ? "there" : "none");
    if (area && area != (void *)-1) {
      free(area);
      check(kvm_dpcpu_setcpu(kd, (unsigned)cpu) == 0, "kvm_dpcpu_setcpu");
      if (counter) {
        char name[200];
        kvaddr_t here;
        snprintf(name, sizeof name, "pcpu_entry_%s", counter);
        here = address_of(kd, name);
        check(here != 0 && here != at, "each CPU has its copy");
        printf("copy %d %#llx\n", cpu, (unsigned long long)here);
        at = here;
      }
    }
  }
  check(most < 0 || kvm_getpcpu(kd, most) == NULL, "a CPU beyond the last");
  check(most < 0 || kvm_dpcpu_setcpu(kd, (unsigned)most) == -1, "kvm_dpcpu_setcpu beyond the last");
  if (counter && count > 0) {
    unsigned char raw[8];
    kvaddr_t base = address_of(kd, counter);
    printf("zpcpu %zd\n", kvm_read_zpcpu(kd, (unsigned long)base, raw, sizeof raw, 0));
    printf("counter %llu\n", (unsigned long long)kvm_counter_u64_fetch(kd, (unsigned long)base));
  }
}

struct walk {
  kvm_t *kd;
  int core;
  unsigned long long pages, mapped, in_window, compared;
  kpaddr_t last;
};

/* The page is the same, however one gets to it: every 64th is read in three ways. */
static int visit(struct kvm_page *page, void *closure) {
  struct walk *w = closure;
  static char a[65536], b[65536];
  check(page->kp_version == LIBKVM_WALK_PAGES_VERSION, "kp_version");
  check(w->pages == 0 || page->kp_paddr > w->last, "ascending: each page once");
  w->last = page->kp_paddr;
  w->mapped += page->kp_kmap_vaddr != 0;
  w->in_window += page->kp_dmap_vaddr != 0;
  if (w->pages++ % 64 || page->kp_len > sizeof a) return 1;
  if (page->kp_dmap_vaddr) {
    check(kvm_read2(w->kd, page->kp_dmap_vaddr, a, page->kp_len) == (ssize_t)page->kp_len, "the direct map reads");
    if (page->kp_offset >= 0) {
      check(pread(w->core, b, page->kp_len, page->kp_offset) == (ssize_t)page->kp_len && !memcmp(a, b, page->kp_len), "kp_offset");
      ++w->compared;
    }
  }
  if (page->kp_kmap_vaddr) {
    check(kvm_read2(w->kd, page->kp_kmap_vaddr, b, page->kp_len) == (ssize_t)page->kp_len, "the mapping reads");
    check(!page->kp_dmap_vaddr || !memcmp(a, b, page->kp_len), "both mappings show the same");
  }
  return 1;
}
static int stop(struct kvm_page *page, void *closure) {
  (void)page;
  ++*(int *)closure;
  return 0;
}

static void walk(kvm_t *kd, const char *core) {
  struct walk w;
  int calls = 0;
  memset(&w, 0, sizeof w);
  w.kd = kd;
  w.core = open(core, O_RDONLY);
  check(kvm_walk_pages(kd, visit, &w) == 1, "kvm_walk_pages");
  printf("pages %llu %llu %llu %llu\n", w.pages, w.mapped, w.in_window, w.compared);
  check(kvm_walk_pages(kd, stop, &calls) == 0 && calls == 1, "a walk that is stopped");
  close(w.core);
}

static void openings(const char *kernel, const char *core) {
  char errors[2048] = "";
  char name[5000];
  kvm_t *kd;
  errno = 0;
  check(kvm_close(NULL) == -1 && errno == EINVAL, "kvm_close(NULL)");
  check(!strcmp(kvm_geterr(NULL), ""), "kvm_geterr(NULL)");
  check(!kvm_open2(kernel, "/nonexistent", O_RDONLY, errors, NULL), "a core that is not there");
  check(!strcmp(errors, "/nonexistent: No such file or directory"), errors);
  check(!kvm_open2("/nonexistent", core, O_RDONLY, errors, NULL), "a kernel that is not there");
  check(!strcmp(errors, "/nonexistent: No such file or directory"), errors);
  check(!kvm_openfiles(kernel, core, NULL, O_CREAT, errors) && !strcmp(errors, "bad flags arg"), "flags");
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = 0;
  check(!kvm_open2(name, core, O_RDONLY, errors, NULL) && !strcmp(errors, "exec file name too long"), "a long name");
  check(!kvm_open2("/etc/passwd", core, O_RDONLY, errors, NULL) && !strcmp(errors, "kernel is not an ELF file"), "a kernel that is text");
  check(!kvm_open2(kernel, "/etc/passwd", O_RDONLY, errors, NULL) && errors[0], "a core that is text");
  check(!kvm_open2(kernel, "/nonexistent", O_RDONLY, NULL, NULL), "without room for a message");
  kd = kvm_open2(NULL, "/dev/null", O_RDONLY, errors, NULL);
  check(kd && kvm_native(kd) == 1, "/dev/null is the live kernel without memory");
  check(kvm_read2(kd, 0, name, 4) == 0 && !strcmp(kvm_geterr(kd), "short read"), "which is empty");
  check(kvm_close(kd) == 0, "kvm_close");
}

int main(int argc, char **argv) {
  static char *usual[] = {"linux_banner", "_linux_banner", "no_such_symbol", "version"};
  char errors[2048] = "";
  const char *kernel, *core, *banner;
  kvm_t *kd;
  if (argc < 3) return 2;
  kernel = strcmp(argv[1], "-") ? argv[1] : NULL;
  core = argv[2];
  if (kernel) openings(kernel, core);
  kd = kvm_open2(kernel, core, O_RDONLY, errors, kvm_own_symbols);
  if (!kd) {
    printf("not opened: %s\n", errors);
    return 1;
  }
  printf("native %d\nkerndisp %lld\n", kvm_native(kd), (long long)kvm_kerndisp(kd));
  if (argc > 3) names(kd, argv + 3, argc - 3);
  else names(kd, usual, 4);
  banner = address_of(kd, "linux_banner") ? "linux_banner" : "version";
  reading(kd, banner);
  processes(kd);
  totals(kd);
  cpus(kd, address_of(kd, "runqueues") ? "runqueues" : NULL);
  walk(kd, core);
  check(kvm_close(kd) == 0, "kvm_close");
  printf("failures %d\n", failures);
  return failures != 0;
}
