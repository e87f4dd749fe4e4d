/* libkvm on an ELF dump: what kvm_read2() costs beside memcpy(), and what opening costs.  Prints `NAME VALUE` lines.
 * kvm_bench KERNEL DUMP */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum { chunk = 1 << 20, page = 4096, reads = 200000, most_chunks = 4096 };

/* Of this thread: microseconds would drown in whatever else the machine does. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Stretches of a MiB that follow each other in the direct map and in the file. */
struct stretches {
  kvaddr_t next, first, at[most_chunks];
  off_t offset, place, places[most_chunks];
  int count;
};

static int collect(struct kvm_page *p, void *closure) {
  struct stretches *s = closure;
  if (!p->kp_dmap_vaddr || p->kp_offset < 0) return 1;
  if (p->kp_dmap_vaddr != s->next || p->kp_offset != s->offset) s->first = p->kp_dmap_vaddr, s->place = p->kp_offset;
  s->next = p->kp_dmap_vaddr + p->kp_len;
  s->offset = p->kp_offset + (off_t)p->kp_len;
  if (s->next - s->first < chunk) return 1;
  s->at[s->count] = s->first;
  s->places[s->count] = s->place;
  s->first = s->next;
  s->place = s->offset;
  return ++s->count < most_chunks;
}

static double least(double a, double b) { return a < b ? a : b; }

int main(int argc, char **argv) {
  static struct stretches s;
  static char out[chunk];
  char why[2048];
  double opening = 1e9, ours = 1e9, plain = 1e9, from;
  unsigned long long seed = 1, failed = 0;
  struct stat status;
  const char *bytes;
  kvm_t *kd = NULL;
  int i, round, file;
  if (argc != 3) return 2;
  for (round = 0; round < 5; ++round) {
    if (kd) kvm_close(kd);
    from = now();
    kd = kvm_open2(argv[1], argv[2], O_RDONLY, why, NULL);
    opening = least(opening, now() - from);
    if (!kd) {
      fprintf(stderr, "kvm_bench: %s\n", why);
      return 1;
    }
  }
  kvm_walk_pages(kd, collect, &s);
  file = open(argv[2], O_RDONLY);
  if (s.count == 0 || file < 0 || fstat(file, &status)) return 1;
  bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes == MAP_FAILED) return 1;
  for (round = 0; round < 6; ++round) {
    from = now();
    for (i = 0; i < s.count; ++i) failed += kvm_read2(kd, s.at[i], out, chunk) != chunk;
    if (round) ours = least(ours, now() - from);
    from = now();
    for (i = 0; i < s.count; ++i) memcpy(out, bytes + s.places[i], chunk);
    if (round) plain = least(plain, now() - from);
  }
  from = now();
  for (i = 0; i < reads; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    failed += kvm_read2(kd, s.at[(seed >> 33) % (unsigned)s.count] + (seed >> 20) % (chunk / page) * page, out, page) != page;
  }
  printf("open %.6f\nmebibytes %d\nread %.6f\nmemcpy %.6f\nrandom_microseconds %.4f\nfailed %llu\n", opening, s.count, ours, plain,
         (now() - from) / reads * 1e6, failed);
  kvm_close(kd);
  return failed != 0;
}
