// The program: its commands are in cli_*.cc.  Exit status 0 done, 1 failed, 2 usage; results go to standard output,
// everything else to standard error.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <unistd.h>

#include "stub/cli.h"

namespace {

// A dump is read through a mapping: when somebody cuts the file short meanwhile, the kernel can only send a signal.
extern "C" void file_shrank(int) {
  constexpr char text[] = "inquest: a file became shorter while it was being read\n";
  [[maybe_unused]] auto written = write(STDERR_FILENO, text, sizeof text - 1);
  _exit(kvm::cli::failed);
}

int report(const CLI::ParseError& error, const CLI::App& app, std::string_view first) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  if (!first.empty() && !first.starts_with("-") && app.get_subcommands([&](const CLI::App* command) { return command->get_name() == first; }).empty())
    std::fprintf(stderr, "inquest: '%s' is not a command\n", std::string(first).c_str());
  else std::fprintf(stderr, "inquest: %s\n", error.what());
  std::fprintf(stderr, "Try 'inquest --help'.\n");
  return kvm::cli::usage;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGBUS, file_shrank);
  CLI::App app{"Inquest lets stock gdb and lldb debug a dead kernel: it reads crash dumps of Linux and FreeBSD and serves them\n"
               "to any debugger that speaks the GDB remote protocol.\n"};
  app.name("inquest");
  app.set_version_flag("--version", "inquest " INQUEST_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  int status = kvm::cli::done;
  const int own = static_cast<int>(std::find(argv, argv + argc, std::string_view("--")) - argv);
  const std::vector<std::string> client(argv + std::min(own + 1, argc), argv + argc);
  kvm::cli::add_gdb(app, status, client);
  kvm::cli::add_lldb(app, status, client);
  kvm::cli::add_serve(app, status);
  kvm::cli::add_vscode(app, status);
  kvm::cli::add_reports(app, status);
  kvm::cli::add_read(app, status);
  kvm::cli::add_image(app, status);
  kvm::cli::add_export(app, status);
  app.footer("\n'inquest COMMAND --help' tells more.  The manual: man inquest.");
  try {
    if (!client.empty() && (own < 2 || (argv[1] != std::string_view("gdb") && argv[1] != std::string_view("lldb")))) throw CLI::ExtrasError(std::vector<std::string>{"--"});
    app.parse(own, argv);
  } catch (const CLI::ParseError& error) {
    return report(error, app, own > 1 ? argv[1] : "");
  } catch (const std::exception& error) {  // out of memory and the like: nothing of ours throws
    return kvm::cli::complain(error.what());
  }
  return status;
}
