// The command line's parts.  Each command adds itself to the program; running it returns the exit status.
#pragma once

#include "stub/cli_opening.h"
#include "stub/session.h"

namespace kvm::cli {

enum Status : int { done = 0, failed = 1, usage = 2 };

// As open_kernel(), with a progress bar on the terminal.
Result<Kernel> open(const Opening& opening);

// A line on standard error, and Status::failed.
int complain(const Error& error);
// For debuggers without a vmlinux, from the user's cache where it has one; and what debuggers want beside a vmlinux.
Result<rsp::MadeFile> make_image_file(const Kernel& kernel);
Result<rsp::MadeFile> make_unwind_file(const Kernel& kernel);
// In the user's cache; the path, empty when it cannot be kept.
std::string keep_file(const std::string& name, Bytes bytes);

int complain(const std::string& text);
// Remarks about the dump, on standard error.
void print_remarks(const Kernel& kernel);
// A progress bar on a terminal, nothing when piped.
Progress terminal_progress();
// Writes all of it to standard output; false when the reader has gone.
bool print(std::string_view text);

// Sets `status` when its command is the one chosen.
void add_reports(CLI::App& app, int& status);  // info, ps, modules, log, symbol, translate
void add_read(CLI::App& app, int& status);
void add_image(CLI::App& app, int& status);
void add_export(CLI::App& app, int& status);
void add_serve(CLI::App& app, int& status);
// `client`: the words after `--`, for the debugger itself.
void add_gdb(CLI::App& app, int& status, const std::vector<std::string>& client);
void add_lldb(CLI::App& app, int& status, const std::vector<std::string>& client);

void add_vscode(CLI::App& app, int& status);

std::string plugin_path();  // of our plugin for lldb; empty: it was not built

}  // namespace kvm::cli
