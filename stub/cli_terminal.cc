// Talking to the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "stub/cli.h"

namespace kvm::cli {

Result<Kernel> open(const Opening& opening) { return open_kernel(opening, terminal_progress()); }

int complain(const std::string& text) {
  fmt::print(stderr, "inquest: {}\n", text);
  return failed;
}
int complain(const Error& error) {
  complain(to_string(error));
  return error.code == Errc::bad_request ? usage : failed;
}

void print_remarks(const Kernel& kernel) {
  for (const std::string& remark : kernel.remarks()) fmt::print(stderr, "inquest: note: {}\n", remark);
}

Progress terminal_progress() {
  if (!isatty(STDERR_FILENO)) return {};
  return [](std::string_view what, std::uint64_t done_bytes, std::uint64_t total) {
    constexpr double mib = 1 << 20;
    if (total) fmt::print(stderr, "\r{}: {:.0f} of {:.0f} MiB ({}%) ", what, double(done_bytes) / mib, double(total) / mib, done_bytes * 100 / total);
    else fmt::print(stderr, "\r{}: {:.0f} MiB ", what, double(done_bytes) / mib);
    if (total && done_bytes >= total) fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
  };
}

bool print(std::string_view text) { return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0; }

}  // namespace kvm::cli
