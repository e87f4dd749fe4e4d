// The library behind engine/compat/dwarf_types.h: nothing but the one function.
#include "engine/symbols/dwarf.h"

extern "C" __attribute__((visibility("default"))) void inquest_kvm_dwarf_types(const std::string& path,
                                                                               kvm::Result<std::unique_ptr<kvm::Types>>& types) {
  types = kvm::open_dwarf_types(path);
}
