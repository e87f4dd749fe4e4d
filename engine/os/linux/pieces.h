// What a Linux kernel tells of itself, for when there is no file of it (engine/pieces.h).
#pragma once

#include <map>

#include "engine/os/linux/kallsyms.h"
#include "engine/os/linux/model.h"

namespace kvm::os_linux {

// The kernel image, then each module; the kernel's own word throughout, even where a vmlinux is at hand.
Result<Pieces> collect_pieces(const KernelView& view, const KernelMap& map);

// The kernel's sections, as far as symbols tell where they begin and end; none overlap.
std::vector<PieceSection> kernel_sections(const Symbols& symbols);
// A module's, which end where the next one begins.
std::vector<PieceSection> module_sections(const Module& module);

// The kernel's symbols, looked for as kallsyms.h says.
// `remarks` are what this dump lacks, `nature` what this kernel does.
Result<std::unique_ptr<Kallsyms>> read_kernel_symbols(const KernelView& view, const KernelMap& map, std::vector<std::string>& remarks,
                                                      std::vector<std::string>& nature);
// Names for the variables without which nothing goes, of a kernel that names only functions.
std::vector<std::pair<std::string, VirtAddr>> find_variables(const KernelView& view, const Vmcoreinfo& info, std::span<const Window> windows);
// The symbols that the kernel keeps of a module, for its own backtraces.
Result<std::unique_ptr<Kallsyms>> read_module_symbols(const KernelView& view, const Module& module);

// The kernel's BTF; all of it, or an error.
Result<std::vector<std::uint8_t>> read_kernel_btf(const KernelView& view, const Symbols& symbols);
// The modules', by the address of their struct module.
std::map<std::uint64_t, std::vector<std::uint8_t>> read_module_btf(const KernelView& view, std::vector<std::string>& remarks);

// For kernels without unwind tables: rows that the code in a piece's sections tells of itself.
std::vector<UnwindRow> code_unwind(const KernelView& view, const Piece& piece);

// Well-known variables that this kernel has; their types may be none of its.
std::vector<PieceVariable> known_variables(const Symbols& symbols);

}  // namespace kvm::os_linux
