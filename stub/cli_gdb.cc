// `inquest gdb`: starts the gdb that knows the dump's processor, on `target remote | inquest serve --stdio`.
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <filesystem>

#include "stub/cli_debugger.h"
#include "stub/documents.h"

namespace kvm::cli {
namespace {

namespace fs = std::filesystem;

// Debian's gdb knows the machine it was built for; gdb-multiarch knows all.
std::string choose_gdb(const arch::Arch& arch) {
  utsname host{};
  uname(&host);
  const bool native = arch::find_machine(host.machine) == &arch;
  for (const char* program : {native ? "gdb" : "gdb-multiarch", "gdb-multiarch"})
    if (in_path(program)) return program;
  return {};
}

// gdb takes 20 s to index a kernel's debug file the first time, and one second from its cache.
bool indexed(const Kernel& kernel) {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path cache = xdg && *xdg ? fs::path(xdg) : fs::path(home ? home : "") / ".cache";
  std::error_code ignored;
  return fs::exists(cache / "gdb" / (kernel.build_id() + ".gdb-index"), ignored);
}

std::vector<std::string> command_line(const std::string& gdb, const DebuggerRequest& request, const Kernel& kernel) {
  std::string server = shell_word(own_path()) + " serve --stdio --threads=" + request.threads;
  for (const std::string& argument : arguments_of(request.opening, kernel)) server += " " + shell_word(argument);
  std::vector<std::string> words{gdb, "-q", "-iex", "set index-cache enabled on", "-iex", "set remotetimeout 60"};
  // A file's own word for its system goes before ours, and gdb-multiarch does not know every system.
  if (!kernel.vmlinux().empty() && rsp::has_foreign_system(kernel.vmlinux()))
    words.insert(words.end(), {"-iex", fmt::format("set osabi {}", kernel.arch().gdb_osabi)});
  if (!kernel.vmlinux().empty()) words.push_back(kernel.vmlinux());
  // Per-CPU symbols of kernels before 6.15 are offsets, which gdb slides with a vmlinux's others: $slide is there to take off.
  const std::uint64_t slide = kernel.vmlinux().empty() ? 0 : kernel.map().slide;
  words.insert(words.end(), {"-ex", "target remote | " + server, "-ex", fmt::format("set $slide = {:#x}", slide)});
  words.insert(words.end(), request.client.begin(), request.client.end());
  return words;
}

int run(const DebuggerRequest& request, const Kernel& kernel) {
  const std::string gdb = request.program.empty() ? choose_gdb(kernel.arch()) : request.program;
  if (gdb.empty()) return complain(fmt::format("no gdb that knows {} found; install gdb-multiarch, or name one with --gdb", kernel.arch().name));
  greet(kernel);
  if (!kernel.vmlinux().empty() && !kernel.build_id().empty() && !indexed(kernel))
    fmt::print(stderr, "inquest: gdb now indexes {}; this takes about 20 s once, a second from its cache later\n", kernel.vmlinux());
  return start(command_line(gdb, request, kernel));
}

}  // namespace

void add_gdb(CLI::App& app, int& status, const std::vector<std::string>& client) {
  add_debugger(app, status, client, "gdb", "inquest gdb vmcore -- -batch -ex bt", run);
}

}  // namespace kvm::cli
