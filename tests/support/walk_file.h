// Reads tests/golden/walks/ARCH.txt: page-table entries as text, and what addresses must translate to.
//
//   # comment
//   mode 4-level                   begins a case: empty memory, a mode of the architecture by name
//   root 0x1000 [0x2000]           the root table, and the upper half's where there are two
//   clear 0x800000000000           entry bits that are not address
//   empty 0x5000 [0x6000 ...]      the tables behind empty entries, the root's first
//   order big                      of the entries; default: little
//   bytes 4                        of an entry; default: 8
//   0x1ff8: 0x2003                 an entry at a physical address
//   absent 0x7000                  a page that the dump was made without
//   lost 0x7000                    a page that the file should hold and does not
//   0xVIRT -> 0xPHYS 2M rwxu       expected: physical address, size of the page, permissions (- for those not given)
//   0xVIRT hole 0xFIRST 0xLAST     expected: not mapped, from FIRST to LAST
//   0xVIRT not_in_dump             expected: a table on the way is missing; likewise `lost`
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/walk.h"
#include "tests/support/fake_memory.h"

namespace kvm::testing {

struct WalkCheck {
  std::string where;  // "x86_64.txt:12", for the report
  VirtAddr virt;
  Extent extent;              // expected, unless `error` is set
  std::optional<Errc> error;
  std::optional<PhysAddr> phys;  // of `virt` itself
};
struct WalkCase {
  std::string mode;
  PhysAddr low, high;
  std::uint64_t clear = 0;
  std::array<PhysAddr, 4> empty = PageTable{}.empty;
  std::endian order = std::endian::little;
  std::size_t entry_bytes = 8;
  FakeMemory memory;
  std::vector<std::pair<PhysAddr, std::uint64_t>> entries;  // what `memory` holds
  std::vector<WalkCheck> checks;
};

// Throws std::runtime_error that names the line when the file is malformed.
std::vector<WalkCase> read_walk_file(const std::string& path);

}  // namespace kvm::testing
