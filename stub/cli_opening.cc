// Opening a dump as the command line says.
#include "stub/cli_opening.h"

#include <fmt/format.h>

#include <charconv>

#include "engine/symbols/debuginfod.h"
#include "engine/symbols/dwarf.h"
#include "stub/report_text.h"

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
    command.add_option("VMLINUX", opening.vmlinux, "The kernel's file (vmlinux, FreeBSD's kernel or kernel.debug); found when not given")->type_name("");
  else add("--vmlinux,--kernel", opening.vmlinux, "FILE", "The kernel's file: vmlinux, FreeBSD's kernel or kernel.debug");
  add("--symbols", opening.symbol_dirs, "DIR", "Folder with debug files; may be repeated");
  command.add_flag("--no-vmlinux", opening.no_vmlinux, "Use no debug files, only what the kernel in the dump tells of itself")
      ->group(group)->excludes(vmlinux_position ? "VMLINUX" : "--vmlinux")->excludes("--symbols");
  add("--part", opening.parts, "FILE", "Another file of a split dump; may be repeated");
  add("--key", opening.key, "FILE", "Private key of an encrypted FreeBSD dump");
  add("--format", opening.format, "NAME", "Dump format: elf, kdump, lime, minidump, raw");
  add("--arch", opening.arch, "NAME", "Processor, where the file does not say it");
  add("--os", opening.os, "NAME", "Operating system: freebsd, linux");
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

Result<Kernel> open_kernel(const Opening& opening, Progress progress) {
  OpenOptions options;
  options.dump = opening.dump;
  options.parts = opening.parts;
  options.vmlinux = opening.vmlinux;
  options.symbol_dirs = opening.symbol_dirs;
  options.debug_files = !opening.no_vmlinux;
  options.key = opening.key;
  options.arch = opening.arch;
  options.os = opening.os;
  options.format = opening.format;
  options.slide = TRY(number("--slide", opening.slide));
  options.phys_base = TRY(number("--phys-base", opening.phys_base));
  options.providers = {open_dwarf_types, open_dwarf_lines, open_module_lines, fetch_debug_file};
  options.progress = std::move(progress);
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
  add("--key", opening.key);
  add("--format", opening.format);
  add("--arch", opening.arch);
  add("--os", opening.os);
  add("--slide", opening.slide);
  add("--phys-base", opening.phys_base);
  return arguments;
}

rsp::ThreadChoice threads_of(std::string_view choice) {
  return choice == "user" ? rsp::ThreadChoice::user : choice == "cpus" ? rsp::ThreadChoice::cpus : rsp::ThreadChoice::all;
}

std::string headline(const Kernel& kernel) {
  const std::string panic = kernel.os().panic_message();
  return rsp::printable(fmt::format("{} {}{}{}", kernel.system(), kernel.os().release(), panic.empty() ? "" : ": ", panic));
}

}  // namespace kvm::cli
