// Starting a debugger on a dump: what `inquest gdb` and `inquest lldb` share.
#pragma once

#include "stub/cli.h"

namespace kvm::cli {

struct DebuggerRequest {
  Opening opening;
  std::string program;              // the debugger; empty: the usual one
  std::string threads = "all";
  std::vector<std::string> client;  // the words after `--`, for the debugger itself
};

// Adds the command `name`.  `run` gets the opened dump, so that a bad file is one line and not a debugger with nothing in it.
void add_debugger(CLI::App& app, int& status, const std::vector<std::string>& client, const std::string& name, const std::string& footer,
                  int (*run)(const DebuggerRequest&, const Kernel&));

bool in_path(const std::string& program);
std::string own_path();  // of this program
// For gdb, which hands the text after `target remote |` to a shell.
std::string shell_word(std::string_view word);
// Remarks and what the dump is, on standard error.
void greet(const Kernel& kernel);
// Becomes the debugger; returns only when that fails.
int start(const std::vector<std::string>& words);

}  // namespace kvm::cli
