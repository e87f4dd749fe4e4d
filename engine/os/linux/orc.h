// ORC: the kernel's own unwind tables (arch/x86/kernel/unwind_orc.c).  Unlike DWARF's they cover assembly too.
#pragma once

#include "engine/pieces.h"
#include "engine/record.h"

namespace kvm::os_linux {

struct Unwind {
  std::vector<UnwindRow> rows;  // by address
  std::size_t missing = 0;      // rows whose page is not in the dump
};

// The kernel image's table.
Result<Unwind> kernel_unwind(const KernelView& view);
// A module's; `module` is a struct module.
Result<Unwind> module_unwind(const KernelView& view, const Record& module);

// Where an interrupt saves registers: all of them, and those that the processor saves by itself.
struct InterruptPlaces {
  std::vector<SavedAt> all, partial;
};
Result<InterruptPlaces> interrupt_places(const KernelView& view);

}  // namespace kvm::os_linux
