// `inquest lldb`: starts lldb with the plugin loaded and the dump opened.
#include <fmt/format.h>

#include <filesystem>

#include "stub/cli_debugger.h"
#include "stub/lldb_files.h"

namespace kvm::cli {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> command_line(const std::string& lldb, const std::string& plugin, const DebuggerRequest& request, const Kernel& kernel) {
  std::string open = "inquest open --threads=" + request.threads;
  for (const std::string& argument : arguments_of(request.opening, kernel)) open += " " + rsp::lldb_word(argument);
  // The index cache saves two thirds of the time from the second start on.
  std::vector<std::string> words{lldb, "--source-quietly", "-O", "settings set symbols.enable-lldb-index-cache true",
                                 "-o", "plugin load " + rsp::lldb_word(plugin), "-o", open};
  words.insert(words.end(), request.client.begin(), request.client.end());
  return words;
}

int run(const DebuggerRequest& request, const Kernel& kernel) {
  const std::string plugin = plugin_path();
  if (plugin.empty()) return complain("the plugin inquest-lldb.so is neither beside this program nor installed");
  const std::string usual = in_path(INQUEST_LLDB) ? INQUEST_LLDB : "lldb";
  if (request.program.empty() && !in_path(usual)) return complain("no lldb found; install " INQUEST_LLDB ", or name one with --lldb");
  if (const std::string& file = kernel.vmlinux(); !file.empty() && !rsp::prepared_for_lldb(file))
    fmt::print(stderr, "inquest: making a copy of {} that lldb can unwind through; this is done once\n", file);
  return start(command_line(request.program.empty() ? usual : request.program, plugin, request, kernel));
}

}  // namespace

std::string plugin_path() {
  const fs::path folder = fs::path(own_path()).parent_path();
  for (const fs::path& place : {folder / "inquest-lldb.so", folder.parent_path() / INQUEST_LIBDIR / "inquest" / "inquest-lldb.so"}) {
    std::error_code ignored;
    if (fs::exists(place, ignored)) return fs::weakly_canonical(place, ignored).string();
  }
  return {};
}

void add_lldb(CLI::App& app, int& status, const std::vector<std::string>& client) {
  add_debugger(app, status, client, "lldb", "inquest lldb vmcore -- -b -o bt", run);
}

}  // namespace kvm::cli
