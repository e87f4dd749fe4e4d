// Opening a dump as the command line says, and talking to the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "engine/symbols/debuginfod.h"
#include "engine/symbols/dwarf.h"
#include "stub/cli.h"

namespace kvm::cli {
namespace {

// Decimal, or hexadecimal with 0x; a leading minus wraps, since phys_base can be negative.
Result<std::optional<std::uint64_t>> number(const std::string& option, std::string_view text) {
  if (text.empty()) return std::nullopt;
  const bool negative = text.starts_with("-");
  std::string_view digits = text.substr(negative);
  const int base = digits.starts_with("0x") ? 16 : 10;
  if (base == 16) digits.remove_prefix(2);
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty())
    return fail(Errc::bad_request, option + ": '" + std::string(text) + "' is not a number");
  return negative ? 0 - value : value;
}

}  // namespace

void add_opening(CLI::App& command, Opening& opening, bool vmlinux_position) {
  command.add_option("DUMP", opening.dump, "The crash dump: ELF vmcore, kdump-compressed, flattened, LiME or raw")->type_name("")->required();
  const char* group = "Dump and symbols";
  auto add = [&](const char* name, auto& value, const char* type, const char* help) {
    auto* option = command.add_option(name, value, help)->group(group)->type_name(type);
    if constexpr (!std::is_same_v<decltype(value), std::string&>) option->take_all()->allow_extra_args(false)->expected(1);
  };
  if (vmlinux_position)
    command.add_option("VMLINUX", opening.vmlinux, "The kernel's debug file; found by build id when not given")->type_name("");
  else add("--vmlinux", opening.vmlinux, "FILE", "The kernel's debug file");
  add("--symbols", opening.symbol_dirs, "DIR", "Folder with debug files; may be repeated");
  command.add_flag("--no-vmlinux", opening.no_vmlinux, "Use no debug files, only what the kernel in the dump tells of itself")
      ->group(group)->excludes(vmlinux_position ? "VMLINUX" : "--vmlinux")->excludes("--symbols");
  add("--part", opening.parts, "FILE", "Another file of a split dump; may be repeated");
  add("--format", opening.format, "NAME", "Dump format: elf, kdump, lime, raw");
  add("--arch", opening.arch, "NAME", "Processor, where the file does not say it");
  add("--os", opening.os, "NAME", "Operating system: linux");
  add("--slide", opening.slide, "N", "KASLR slide of the kernel image");
  add("--phys-base", opening.phys_base, "N", "Physical address of the kernel image's base");
}

void add_threads(CLI::App& command, std::string& choice) {
  const auto known = [](const std::string& word) {
    return word == "all" || word == "user" || word == "cpus" ? std::string() : "'" + word + "' is none of all, user, cpus";
  };
  command.add_option("--threads", choice, "Which tasks become threads: all, user (no kernel threads), cpus (what ran)")
      ->type_name("WHICH")->check(known)->capture_default_str();
}

Result<Kernel> open(const Opening& opening) {
  OpenOptions options;
  options.dump = opening.dump;
  options.parts = opening.parts;
  options.vmlinux = opening.vmlinux;
  options.symbol_dirs = opening.symbol_dirs;
  options.debug_files = !opening.no_vmlinux;
  options.arch = opening.arch;
  options.os = opening.os;
  options.format = opening.format;
  options.slide = TRY(number("--slide", opening.slide));
  options.phys_base = TRY(number("--phys-base", opening.phys_base));
  options.providers = {open_dwarf_types, open_dwarf_lines, open_module_lines, fetch_debug_file};
  options.progress = terminal_progress();
  return Kernel::open(options);
}

std::vector<std::string> arguments_of(const Opening& opening, const Kernel& kernel) {
  std::vector<std::string> arguments{opening.dump};
  if (!kernel.vmlinux().empty()) arguments.push_back(kernel.vmlinux());
  auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) arguments.push_back(std::string(option) + "=" + value);
  };
  for (const std::string& dir : opening.symbol_dirs) add("--symbols", dir);
  for (const std::string& part : opening.parts) add("--part", part);
  if (opening.no_vmlinux) arguments.push_back("--no-vmlinux");
  add("--format", opening.format);
  add("--arch", opening.arch);
  add("--os", opening.os);
  add("--slide", opening.slide);
  add("--phys-base", opening.phys_base);
  return arguments;
}

int complain(const std::string& text) {
  fmt::print(stderr, "inquest: {}\n", text);
  return failed;
}
int complain(const Error& error) {
  complain(to_string(error));
  return error.code == Errc::bad_request ? usage : failed;
}

void print_remarks(const Kernel& kernel) {
  for (const std::string& remark : kernel.remarks()) fmt::print(stderr, "inquest: note: {}\n", remark);
}

Progress terminal_progress() {
  if (!isatty(STDERR_FILENO)) return {};
  return [](std::string_view what, std::uint64_t done_bytes, std::uint64_t total) {
    constexpr double mib = 1 << 20;
    if (total) fmt::print(stderr, "\r{}: {:.0f} of {:.0f} MiB ({}%) ", what, double(done_bytes) / mib, double(total) / mib, done_bytes * 100 / total);
    else fmt::print(stderr, "\r{}: {:.0f} MiB ", what, double(done_bytes) / mib);
    if (total && done_bytes >= total) fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
  };
}

bool print(std::string_view text) { return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0; }

}  // namespace kvm::cli
