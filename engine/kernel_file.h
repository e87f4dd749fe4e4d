// The file of a kernel, with its symbols and debug information: a vmlinux.  Whether it is the crashed kernel's, and what it leads to.
#pragma once

#include <string>
#include <vector>

#include "engine/os.h"
#include "engine/symbols/debug_files.h"
#include "engine/symbols/elf_file.h"

namespace kvm {

// Refuses one of another processor, or of another build than `build_id` (empty: not known).
Result<ElfFile> open_kernel_file(const std::string& path, const std::string& build_id, const arch::Arch& arch);

// Some writers name no machine they do not know themselves (QEMU's kdump files of Arm): the kernel's file then does.
void take_arch(const ElfFile& file, Dump& dump);

// Why the file cannot be of the kernel in memory; empty when nothing speaks against it.
std::string contradiction(const ElfFile& file, const AddressSpace& space, std::uint64_t slide);

// The file with the debug information of one that has none itself; empty: none found.
std::string debug_companion(const ElfFile& file, const DebugFileQuery& query);

// Debug packages keep boot/vmlinux-REL and lib/modules/REL in one tree: the vmlinux leads to the modules.
void add_tree_of(const std::string& vmlinux, DebugFileQuery& query);

// The sentence about a file that was not found, with what can be done.
std::string missing_kernel_file(const KernelMap& map, const OsKind& kind, const std::vector<std::string>& rejected);

}  // namespace kvm
