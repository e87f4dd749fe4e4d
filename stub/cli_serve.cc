// `inquest serve`: the dump for any debugger that speaks the GDB remote protocol.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "stub/cli.h"
#include "stub/documents.h"
#include "stub/server.h"

namespace kvm::cli {
namespace {

struct Request {
  Opening opening;
  rsp::ServerOptions server;
  std::string threads = "all";
};

std::string link_of(const std::string& path) {
  std::error_code none;
  return std::filesystem::read_symlink(path, none).string();
}

// The working folder of the gdb that started us behind `target remote |`, when it sees the same files: it is our parent, or
// the parent of a shell.  Empty: none did (an ssh, say).
std::string folder_of_gdb() {
  constexpr int generations = 3;
  pid_t pid = getppid();
  for (int i = 0; i < generations && pid > 1; ++i) {
    const std::string process = "/proc/" + std::to_string(pid);
    std::ifstream stat(process + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});  // "PID (NAME) STATE PPID": NAME may hold anything
    const std::size_t open = text.find('('), close = text.rfind(')');
    if (open == text.npos || close == text.npos || close + 4 > text.size()) return {};
    const bool gdb = text.substr(open + 1, close - open - 1).find("gdb") != text.npos;
    if (gdb) return link_of(process + "/ns/mnt") == link_of("/proc/self/ns/mnt") ? link_of(process + "/cwd") : "";
    pid = std::atoi(text.c_str() + close + 4);
  }
  return {};
}

int run(Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  print_remarks(*kernel);
  rsp::Settings settings{.threads = threads_of(request.threads)};
  settings.image = make_image_file;
  settings.image_only = request.opening.no_vmlinux;
  settings.unwind = make_unwind_file;
  settings.keep = keep_file;
  if (request.server.stdio) settings.client_folder = folder_of_gdb();
  const rsp::Shared shared(*kernel, settings);
  request.server.on_listening = [&](const std::string& where) {
    const bool foreign = !kernel->vmlinux().empty() && rsp::has_foreign_system(kernel->vmlinux());
    fmt::print(stderr, "inquest: serving {}; in gdb: {}target remote {}\n", request.opening.dump, foreign ? "set osabi none, then " : "", where);
  };
  auto status = rsp::serve(shared, request.server);
  return status ? *status : complain(status.error());
}

}  // namespace

void add_serve(CLI::App& app, int& status) {
  auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("serve", "Serve the dump to gdb, an IDE or any other GDB-remote client");
  add_opening(*command, request->opening, true);
  request->server.listen = "127.0.0.1:1234";
  auto* listen = command->add_option("--listen", request->server.listen, "HOST:PORT or unix:PATH")->type_name("WHERE")->capture_default_str();
  command->add_flag("--stdio", request->server.stdio, "Serve one client on standard input and output")->excludes(listen);
  command->add_flag("--once", request->server.once, "End when the first client has left");
  command->add_flag("--allow-remote", request->server.allow_remote,
                    "Listen on other than this machine's own addresses; whoever can connect can read the whole dump");
  command->add_option("--trace", request->server.trace, "Write the conversation to this file")->type_name("FILE");
  add_threads(*command, request->threads);
  command->callback([request, &status] { status = run(*request); });
}

}  // namespace kvm::cli
