/* What libkdumpfile needs to read every dumped page once, in order: prints pages and seconds.
 * kdumpfile_bench FILE < PAGES, where each line is `first count`, as `engine_bench pages FILE` prints them. */
#include <fcntl.h>
#include <libkdumpfile/kdumpfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  static char page[4096];
  if (argc != 2) return 2;
  kdump_ctx_t *dump = kdump_new();
  int fd = open(argv[1], O_RDONLY);
  unsigned long long first, count, pages = 0;
  if (!dump || fd < 0 || kdump_set_number_attr(dump, KDUMP_ATTR_FILE_FD, (kdump_num_t)fd) != KDUMP_OK) {
    fprintf(stderr, "kdumpfile_bench: %s\n", dump ? kdump_get_err(dump) : "no memory");
    return 1;
  }
  double spent = 0;
  while (scanf("%llu %llu", &first, &count) == 2) {
    double from = now();
    for (unsigned long long at = first; at < first + count; ++at) {
      size_t size = sizeof page;
      if (kdump_read(dump, KDUMP_MACHPHYSADDR, at * sizeof page, page, &size) == KDUMP_OK) ++pages;
    }
    spent += now() - from;
  }
  printf("%llu %.6f\n", pages, spent);
  return 0;
}
