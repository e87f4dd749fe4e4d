/* What libkdumpfile needs to read every dumped page once, in order: prints pages and seconds.
 * kdumpfile_bench FILE END: machine-physical addresses from 0 up to END, page by page. */
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
  if (argc != 3) return 2;
  kdump_ctx_t *dump = kdump_new();
  int fd = open(argv[1], O_RDONLY);
  unsigned long long end = strtoull(argv[2], NULL, 0), pages = 0;
  if (!dump || fd < 0 || kdump_set_number_attr(dump, KDUMP_ATTR_FILE_FD, (kdump_num_t)fd) != KDUMP_OK) {
    fprintf(stderr, "kdumpfile_bench: %s\n", dump ? kdump_get_err(dump) : "no memory");
    return 1;
  }
  double from = now();
  for (unsigned long long at = 0; at < end; at += sizeof page) {
    size_t size = sizeof page;
    if (kdump_read(dump, KDUMP_MACHPHYSADDR, at, page, &size) == KDUMP_OK) ++pages;
  }
  printf("%llu %.6f\n", pages, now() - from);
  return 0;
}
