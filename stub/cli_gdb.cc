// `inquest gdb`: starts the gdb that knows the dump's processor, on `target remote | inquest serve --stdio`.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "stub/cli.h"
#include "stub/report.h"

namespace kvm::cli {
namespace {

namespace fs = std::filesystem;

struct Request {
  Opening opening;
  std::string gdb;
  std::string threads = "all";
  std::vector<std::string> client;
};

bool in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path ? path : ""; !rest.empty();) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    if (access((std::string(folder) + "/" + program).c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
  }
  return false;
}

// Debian's gdb knows the machine it was built for; gdb-multiarch knows all.
std::string choose_gdb(const arch::Arch& arch) {
  utsname host{};
  uname(&host);
  const bool native = arch::find_machine(host.machine) == &arch;
  for (const char* program : {native ? "gdb" : "gdb-multiarch", "gdb-multiarch"})
    if (in_path(program)) return program;
  return {};
}

// gdb hands the text after `|` to a shell.
std::string shell_word(std::string_view word) {
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string own_path() {
  std::error_code ignored;
  const fs::path path = fs::read_symlink("/proc/self/exe", ignored);
  return path.empty() ? "inquest" : path.string();
}

// gdb takes 20 s to index a kernel's debug file the first time, and one second from its cache.
bool indexed(const Kernel& kernel) {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path cache = xdg && *xdg ? fs::path(xdg) : fs::path(home ? home : "") / ".cache";
  std::error_code ignored;
  return fs::exists(cache / "gdb" / (kernel.build_id() + ".gdb-index"), ignored);
}

void greet(const Kernel& kernel) {
  print_remarks(kernel);
  fmt::print(stderr, "inquest: {}\n", headline(kernel));
  if (!kernel.vmlinux().empty() && !kernel.build_id().empty() && !indexed(kernel))
    fmt::print(stderr, "inquest: gdb now indexes {}; this takes about 20 s once, a second from its cache later\n", kernel.vmlinux());
}

std::vector<std::string> command_line(const std::string& gdb, const Request& request, const Kernel& kernel) {
  std::string server = shell_word(own_path()) + " serve --stdio --threads=" + request.threads;
  for (const std::string& argument : arguments_of(request.opening, kernel)) server += " " + shell_word(argument);
  std::vector<std::string> words{gdb, "-q", "-iex", "set index-cache enabled on", "-iex", "set remotetimeout 60"};
  if (!kernel.vmlinux().empty()) words.push_back(kernel.vmlinux());
  // Per-CPU symbols of kernels before 6.15 are offsets, which gdb slides with a vmlinux's others: $slide is there to take off.
  const std::uint64_t slide = kernel.vmlinux().empty() ? 0 : kernel.map().slide;
  words.insert(words.end(), {"-ex", "target remote | " + server, "-ex", fmt::format("set $slide = {:#x}", slide)});
  words.insert(words.end(), request.client.begin(), request.client.end());
  return words;
}

int run(const Request& request) {
  auto kernel = open(request.opening);  // first, so that a bad file is one line and not a gdb with nothing in it
  if (!kernel) return complain(kernel.error());
  const std::string gdb = request.gdb.empty() ? choose_gdb(kernel->arch()) : request.gdb;
  if (gdb.empty()) return complain(fmt::format("no gdb that knows {} found; install gdb-multiarch, or name one with --gdb", kernel->arch().name));
  greet(*kernel);
  const std::vector<std::string> words = command_line(gdb, request, *kernel);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  return complain(gdb + ": cannot be started: " + std::strerror(errno));
}

}  // namespace

void add_gdb(CLI::App& app, int& status, const std::vector<std::string>& client) {
  auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("gdb", "Start gdb on the dump: every task is a thread with its own backtrace");
  add_opening(*command, request->opening, true);
  command->add_option("--gdb", request->gdb, "The gdb to start")->type_name("PROGRAM");
  add_threads(*command, request->threads);
  command->footer("\nWords after -- go to gdb: inquest gdb vmcore -- -batch -ex bt");
  command->callback([request, &status, &client] {
    request->client = client;
    status = run(*request);
  });
}

}  // namespace kvm::cli
