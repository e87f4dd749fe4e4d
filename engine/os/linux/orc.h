// ORC: the kernel's own unwind tables (arch/x86/kernel/unwind_orc.c).  Unlike DWARF's they cover assembly too.
#pragma once

#include "engine/os.h"

namespace kvm::os_linux {

// Rows by address.  What cannot be read is missing, and a remark says so; a processor without ORC has no rows.
// `symbols` are the kernel's: they tell the code that is entered from user mode only.
std::vector<UnwindRow> kernel_unwind(const KernelView& view, const Symbols& symbols, std::vector<std::string>& remarks);
// For kernels without ORC: the code where interrupts and system calls come in, alone (arch::InterruptFrame).
std::vector<UnwindRow> entry_code(const KernelView& view, const Symbols& symbols);
// `rows`, and in their place those of the entry code where there are any.
std::vector<UnwindRow> with_entry_code(const std::vector<UnwindRow>& rows, const std::vector<UnwindRow>& entry);
std::vector<UnwindRow> module_unwind(const KernelView& view, const Module& module, std::vector<std::string>& remarks);

// Some functions have no rows (STACK_FRAME_NON_STANDARD: the one that saves the registers for kdump is among them).  Where a
// CPU was in one, its frame is found by the return address, behind a call of that function; adds a row for that pc alone.
void add_rows_of_cpus(const KernelView& view, const Symbols& symbols, const std::vector<Cpu>& cpus, std::vector<UnwindRow>& rows);

// Where an interrupt saves registers: all of them, and those that the processor saves by itself.
void add_interrupt_places(const KernelView& view, Pieces& pieces);

}  // namespace kvm::os_linux
