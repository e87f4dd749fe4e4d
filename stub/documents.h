// The XML documents that gdb reads with qXfer, made from the opened kernel.
#pragma once

#include "stub/session_state.h"

namespace kvm::rsp {

// gdb manual, "Library List Format": modules for which a file with symbols was found.
std::string libraries_xml(Shared::State& shared);

// True for a module's file whose sections have addresses that gdb must not see.
bool has_own_addresses(const std::string& path);

// True for a file that names a system of its own, which gdb would believe.
bool has_foreign_system(const std::string& path);

// Link address of the first loadable segment of an ELF file; none when it has no segments.
std::optional<std::uint64_t> first_segment(const File& file);

// One table of `info os` (gdb manual, "Operating System Information").
struct OsTable {
  std::string_view name, description;
  std::string (*rows)(Shared::State&);
};
std::span<const OsTable> os_tables();  // the first one lists the others
const OsTable* find_os_table(std::string_view name);  // "" is the first
std::string os_table_xml(Shared::State& shared, const OsTable& table);

}  // namespace kvm::rsp
