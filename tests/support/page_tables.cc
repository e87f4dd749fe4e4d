// See page_tables.h.
#include "tests/support/page_tables.h"

namespace kvm::testing {
namespace {

constexpr std::uint64_t address_bits = 0x000ffffffffff000;  // SDM: bits 51:12, M (MAXPHYADDR) at its largest

std::uint64_t index_of(VirtAddr virt, unsigned level) {
  // SDM figure 4-8: bits 20:12, 29:21, 38:30, 47:39; with LA57 also 56:48.
  static constexpr unsigned low_bit[] = {0, 12, 21, 30, 39, 48};
  return virt.raw >> low_bit[level] & 0x1ff;
}

}  // namespace

X86Tables::X86Tables(FakeMemory& memory, PhysAddr root, unsigned levels, PhysAddr spare)
    : memory_(memory), root_(root), spare_(spare), levels_(levels) {}

std::uint64_t X86Tables::entry(PhysAddr at) const {
  std::uint8_t raw[8] = {};
  return memory_.read(at, raw) ? load<std::uint64_t>(raw, std::endian::little) : 0;
}

PhysAddr X86Tables::entry_at(VirtAddr virt, unsigned level) const {
  PhysAddr table = root_;
  for (unsigned i = levels_; i > level; --i) table = {entry(table + index_of(virt, i) * 8) & address_bits & ~extra_};
  return table + index_of(virt, level) * 8;
}

void X86Tables::map(VirtAddr virt, PhysAddr phys, std::uint64_t page_bytes, std::uint64_t flags) {
  const unsigned leaf = page_bytes == 0x1000 ? 1 : page_bytes == 0x200000 ? 2 : 3;
  for (unsigned level = levels_; level > leaf; --level) {
    const PhysAddr at = entry_at(virt, level);
    if (entry(at) & 0x1) continue;
    memory_.put_number(at, spare_.raw | 0x67 | extra_);  // present, writable, user, accessed, dirty
    memory_.put_number(spare_, 0);
    spare_ = spare_ + 0x1000;
  }
  memory_.put_number(entry_at(virt, leaf), phys.raw | flags | (leaf > 1 ? 0x80 : 0) | extra_);
}

}  // namespace kvm::testing
