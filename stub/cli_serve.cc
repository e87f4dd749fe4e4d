// `inquest serve`: the dump for any debugger that speaks the GDB remote protocol.
#include <fmt/format.h>

#include "stub/cli.h"
#include "stub/server.h"

namespace kvm::cli {
namespace {

struct Request {
  Opening opening;
  rsp::ServerOptions server;
  std::string threads = "all";
};

int run(Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  print_remarks(*kernel);
  rsp::Settings settings;
  if (request.threads == "user") settings.threads = rsp::ThreadChoice::user;
  if (request.threads == "cpus") settings.threads = rsp::ThreadChoice::cpus;
  settings.image = make_image_file;
  settings.unwind = make_unwind_file;
  const rsp::Shared shared(*kernel, settings);
  request.server.on_listening = [&](const std::string& where) {
    fmt::print(stderr, "inquest: serving {}; in gdb: target remote {}\n", request.opening.dump, where);
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
