// Writes FreeBSD's kernel dumps for tests: minidumps of every machine, and the headers around dumps.  Offsets and bits are
// literals from FreeBSD's sys/*/include/minidump.h and sys/sys/kerneldump.h.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/dump_writer.h"

namespace kvm::testing {

struct MinidumpSpec {
  std::string machine = "amd64";  // as in the magic
  int version = 3;
  bool big_endian = false;
  std::uint64_t page_size = 4096;
  std::string mmu_name;           // powerpc64
  std::uint64_t kernbase = 0xfffffe0000000000, kernend = 0;
  std::uint64_t dmapphys = 0, dmapbase = 0, dmapend = 0;
  std::uint32_t pae = 0;          // i386
  std::uint64_t startkernel = 0;  // powerpc64
  std::vector<std::pair<std::uint64_t, std::uint64_t>> available;  // dump_avail: [start, end)
  Buffer message = Buffer(100, 'm');
  Buffer behind_message;          // in its last page
  Buffer entries;                 // the pmap area
  std::map<std::uint64_t, Buffer> pages;  // dumped, by physical address
  unsigned bitmap_word = 8;       // bytes of its longs
};
Buffer write_minidump(const MinidumpSpec& spec);

// Integers in a row, as page tables are.
Buffer number_row(const std::vector<std::uint64_t>& values, int bytes, bool big_endian = false);

// A full dump, an ELF core as the kernel writes it: no notes, no sections, no version, of no system's ABI.
struct FullDumpSpec {
  int bits = 64;
  bool big_endian = false;
  std::uint16_t machine = 62;
  std::map<std::uint64_t, Buffer> memory;  // by physical address, whole pages
  bool is_virtual = false;                 // Power: the addresses are virtual
  std::uint64_t delta_virt = 0, delta_phys = 0;  // of the header that says where the kernel lies; no virtual address: no header
};
Buffer write_full_dump(const FullDumpSpec& spec);

struct KernelDumpHeaderSpec {
  std::string magic = "FreeBSD Kernel Dump";
  std::string architecture = "amd64";
  int version = 4;
  std::uint64_t length = 0, extent = 0;
  std::uint32_t key_size = 0, block_size = 512;
  std::string host = "crashy.example.org", release = "FreeBSD 15.1-RELEASE #0: made", panic = "made up";
  int compression = 0;
};
Buffer kernel_dump_header(const KernelDumpHeaderSpec& spec);

}  // namespace kvm::testing
