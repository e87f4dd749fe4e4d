// What a FreeBSD minidump looks like on each machine: where its header keeps what, and what the row of page-table entries
// consists of.
#pragma once

#include <span>
#include <string_view>

#include "arch/arch.h"
#include "engine/types.h"

namespace kvm {

// A field of the header; no bytes: there is none.
struct MinidumpField {
  std::uint8_t at = 0, bytes = 0;
};

// Addresses that the processor translates without tables.
struct MinidumpWindow {
  VirtAddr first, last;
};

// A root table in place of the entries; the tables below it are among the pages.
struct MinidumpTree {
  std::string_view mmu_name;  // part of it
  const arch::PagingMode* mode;
};

struct MinidumpMachine {
  std::string_view name;          // behind "minidump "
  std::uint16_t elf_machine;
  std::uint8_t pointer_bytes;     // 4 and 8 are two rows; the kernel's base tells them apart
  std::uint8_t newest;            // version
  std::uint8_t numbers_at;        // u32: version, and the sizes of message buffer, bitmap and entries
  std::uint8_t available_version = 2;  // since when the header has available_size
  MinidumpField kernbase = {}, dmapphys = {}, dmapbase = {}, dmapend = {}, available_size = {}, flags = {};
  MinidumpField kernend = {};        // the last of the addresses that the entries cover; without it their number says
  MinidumpField mmu_name = {};       // a text
  MinidumpField large_entries = {};  // nonzero: entries are of 8 bytes (PAE)
  MinidumpField kernel_start = {};   // where the kernel lies, if not where it was linked ...
  std::uint64_t link_start = 0;   // ... which is here
  std::uint8_t bitmap_word = 8;   // bytes of the bitmap's words
  std::uint8_t old_bitmap_word = 8;  // the same in version 1
  std::uint8_t entry_bytes = 8;
  std::uint8_t directory_version = 0xff;  // from here on the entries are of page directories, a level above the pages
  bool map_first = true;          // the entries are asked before the direct map
  bool last_inclusive = false;    // dmapend is the direct map's last byte, not the one behind it
  std::span<const MinidumpWindow> windows = {};
  const arch::PagingMode* own_entries = nullptr;  // of the entries, where the processor has none of its own
  const MinidumpTree* tree = nullptr;          // instead of entries of one level, where mmu_name says so
  std::uint64_t (*hashed_segment)(std::uint64_t) = nullptr;  // else they are a hashed table, with this numbering of segments
};

std::span<const MinidumpMachine> minidump_machines();

}  // namespace kvm
