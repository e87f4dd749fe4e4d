// Errors, and the second opening that brings types and the OS model.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/compat/dwarf_types.h"
#include "engine/compat/handle.h"

int __kvm::close() {
  int failed = 0;
  for (int* descriptor : {&core, &live})
    if (*descriptor >= 0) failed |= ::close(std::exchange(*descriptor, -1));
  return failed;
}

namespace kvm::compat {

void note(kvm_t* kd, const std::string& text) {
  const std::size_t size = std::min(text.size(), kvm_error_bytes - 1);
  std::copy_n(text.data(), size, kd->error);
  kd->error[size] = '\0';
}

void complain(kvm_t* kd, const std::string& text) {
  if (kd->program) std::fprintf(stderr, "%s: %s\n", kd->program, text.c_str());
  else note(kd, text);
}

void complain_errno(kvm_t* kd, const std::string& what) { complain(kd, what + ": " + std::strerror(errno)); }

namespace {

// A kernel file may have types that only the plugin reads.
std::string missing_types(kvm_t* kd) {
  const std::string plugin = kd->kernel->vmlinux().empty() ? "" : missing_dwarf_plugin();
  return plugin.empty() ? "" : "; " + plugin;
}

}  // namespace

const Kernel* structures(kvm_t* kd, const char* what) {
  if (kd->alive()) {
    complain(kd, fmt::format("{}: not known of the running kernel", what));
    return nullptr;
  }
  if (!kd->structures) {
    OpenOptions options = kd->options;
    options.structures = true;
    options.vmlinux = kd->kernel->vmlinux();
    options.debug_files = kd->options.debug_files || !options.vmlinux.empty();
    options.providers.dwarf_types = open_dwarf_plugin;
    kd->structures.emplace(Kernel::open(options));
  }
  if (!*kd->structures) complain(kd, fmt::format("{}: {}", what, to_string(kd->structures->error())));
  else if (const std::string& missing = (*kd->structures)->os_missing(); !missing.empty()) complain(kd, fmt::format("{}: {}{}", what, missing, missing_types(kd)));
  else return &**kd->structures;
  return nullptr;
}

const Statistics* statistics(kvm_t* kd, const char* what) {
  const Kernel* kernel = structures(kd, what);
  if (!kernel) return nullptr;
  const Statistics* known = kernel->os().statistics();
  if (!known) complain(kd, fmt::format("{}: not known of {}", what, kernel->os().name()));
  return known;
}

}  // namespace kvm::compat

using namespace kvm::compat;

char* kvm_geterr(kvm_t* kd) {
  static char none[] = "";
  return kd ? kd->error : none;
}
