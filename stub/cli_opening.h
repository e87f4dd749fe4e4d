// Which dump and which symbols: the same words for every command of the program and for the lldb plugin's `inquest open`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "engine/kernel.h"
#include "stub/session.h"

namespace kvm::cli {

// What every command takes: which dump, which symbols, and what to overrule.
struct Opening {
  std::string dump, vmlinux;
  std::vector<std::string> parts, symbol_dirs;
  std::string arch, os, format, slide, phys_base, key;
  bool no_vmlinux = false;
};
// `vmlinux_position`: the vmlinux may follow the dump; otherwise it is given with --vmlinux.
void add_opening(CLI::App& command, Opening& opening, bool vmlinux_position);
Result<Kernel> open_kernel(const Opening& opening, Progress progress);
// The same choice of dump and symbols as arguments for another program.
std::vector<std::string> arguments_of(const Opening& opening, const Kernel& kernel);

// Which tasks become a debugger's threads.
void add_threads(CLI::App& command, std::string& choice);
rsp::ThreadChoice threads_of(std::string_view choice);

// "Linux 6.1.0-56-cloud-amd64: Kernel panic - not syncing: ...": what a debugger's user sees first.
std::string headline(const Kernel& kernel);

}  // namespace kvm::cli
