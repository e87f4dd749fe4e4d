// The headers of kdump-compressed and diskdump files, made plain.  On disk they are C structs of the machine that wrote
// them: either byte order, 32- or 64-bit longs, and no mark that says which.
#pragma once

#include <array>
#include <bit>
#include <string>

#include "engine/file.h"

namespace kvm {

struct KdumpHeader {
  bool diskdump = false;  // the older format: another sub header, which is not read
  std::endian order = std::endian::little;
  std::uint8_t word = 8;  // bytes of a C long
  std::uint32_t version = 0, status = 0, block_size = 0;
  std::array<std::string, 6> utsname;  // sysname nodename release version machine domainname
  std::uint64_t seconds = 0, microseconds = 0;
  std::uint64_t max_pfn = 0;      // page frames that the bitmaps describe
  std::uint64_t bitmap_at = 0;    // the bitmap of existing pages; that of dumped pages follows
  std::uint64_t bitmap_size = 0;  // bytes of one of the two
  std::uint64_t descriptors_at = 0;

  std::uint64_t phys_base = 0;
  std::uint32_t dump_level = 0;
  bool split = false;  // this file holds the page frames from start_pfn up to end_pfn only
  std::uint64_t start_pfn = 0, end_pfn = 0;
  std::uint64_t vmcoreinfo_at = 0, vmcoreinfo_size = 0, notes_at = 0, notes_size = 0;

  const std::string& release() const { return utsname[2]; }
  const std::string& machine() const { return utsname[4]; }
  bool incomplete() const { return status & 0x8; }  // DUMP_DH_COMPRESSED_INCOMPLETE
};

bool has_kdump_signature(const File& file);

Result<KdumpHeader> read_kdump_header(const File& file);

}  // namespace kvm
