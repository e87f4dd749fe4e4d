// See cli_debugger.h.
#include "stub/cli_debugger.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace kvm::cli {

void add_debugger(CLI::App& app, int& status, const std::vector<std::string>& client, const std::string& name, const std::string& footer,
                  int (*run)(const DebuggerRequest&, const Kernel&)) {
  auto request = std::make_shared<DebuggerRequest>();
  CLI::App* command = app.add_subcommand(name, "Start " + name + " on the dump: every task is a thread with its own backtrace");
  add_opening(*command, request->opening, true);
  command->add_option("--" + name, request->program, "The " + name + " to start")->type_name("PROGRAM");
  add_threads(*command, request->threads);
  command->footer("\nWords after -- go to " + name + ": " + footer);
  command->callback([request, run, &status, &client] {
    request->client = client;
    auto kernel = open(request->opening);
    status = kernel ? run(*request, *kernel) : complain(kernel.error());
  });
}

bool in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path ? path : ""; !rest.empty();) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    if (access((std::string(folder) + "/" + program).c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
  }
  return false;
}

std::string own_path() {
  std::error_code ignored;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return path.empty() ? "inquest" : path.string();
}

std::string shell_word(std::string_view word) {
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

void greet(const Kernel& kernel) {
  print_remarks(kernel);
  fmt::print(stderr, "inquest: {}\n", headline(kernel));
}

int start(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  return complain(words[0] + ": cannot be started: " + std::strerror(errno));
}

}  // namespace kvm::cli
