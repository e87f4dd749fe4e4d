#include "engine/compat/dwarf_types.h"

#include <dlfcn.h>

namespace kvm::compat {
namespace {

// Beside libkvm.so, in the project's own folder.  Its place is never taken from the environment: programs that run with a
// group's rights open libkvm.
std::string plugin_path() {
  Dl_info here{};
  if (!dladdr(reinterpret_cast<const void*>(&open_dwarf_plugin), &here) || !here.dli_fname) return {};
  const std::string library = here.dli_fname;
  const auto slash = library.rfind('/');
  return slash == std::string::npos ? std::string() : library.substr(0, slash + 1) + "inquest/" KVM_DWARF_PLUGIN;
}

using Open = void (*)(const std::string& path, Result<std::unique_ptr<Types>>& types);

// The library stays loaded: its types may outlive any one handle.
Open plugin() {
  const std::string path = plugin_path();
  void* const library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  return library ? reinterpret_cast<Open>(dlsym(library, "inquest_kvm_dwarf_types")) : nullptr;
}

}  // namespace

std::string missing_dwarf_plugin() { return plugin() ? std::string() : plugin_path() + ", which reads types from DWARF, is not installed"; }

Result<std::unique_ptr<Types>> open_dwarf_plugin(const std::string& path) {
  const Open open = plugin();
  if (!open) return fail(Errc::unsupported, missing_dwarf_plugin());
  Result<std::unique_ptr<Types>> types = fail(Errc::unsupported);
  open(path, types);
  return types;
}

}  // namespace kvm::compat
