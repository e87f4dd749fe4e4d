// The program: its commands are in cli_*.cc.  Exit status 0 done, 1 failed, 2 usage; results go to standard output,
// everything else to standard error.
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

int report(const CLI::ParseError& error, const CLI::App& app) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  std::fprintf(stderr, "inquest: %s\nTry 'inquest --help'.\n", error.what());
  return kvm::cli::usage;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGBUS, file_shrank);
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Inquest lets stock gdb debug a dead kernel: it reads crash dumps of Linux and serves them to any debugger that\n"
               "speaks the GDB remote protocol.\n"};
  app.name("inquest");
  app.set_version_flag("--version", "inquest " INQUEST_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  int status = kvm::cli::done;
  kvm::cli::add_gdb(app, status);
  kvm::cli::add_serve(app, status);
  kvm::cli::add_reports(app, status);
  kvm::cli::add_read(app, status);
  app.footer("\n'inquest COMMAND --help' tells more.  The manual: man inquest.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return report(error, app);
  } catch (const std::exception& error) {  // out of memory and the like: nothing of ours throws
    return kvm::cli::complain(error.what());
  }
  return status;
}
