// debuginfod_check BUILD-ID: prints where the debug file is after fetching it; used by debuginfod.sh.
#include <fmt/format.h>

#include "engine/symbols/debuginfod.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::uint64_t most = 0;
  const auto path = kvm::fetch_debug_file(argv[1], [&](std::string_view, std::uint64_t done, std::uint64_t) { most = done; });
  if (!path) {
    fmt::print(stderr, "{}\n", kvm::to_string(path.error()));
    return 1;
  }
  fmt::print(stderr, "last progress: {} bytes\n", most);
  fmt::print("{}\n", *path);
}
