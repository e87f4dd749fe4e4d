// One walk: from the root down, an entry per level, until a page or a hole.
#include "engine/walk.h"

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint64_t low_bits(unsigned count) { return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1; }

// The range that translation can reach, or the hole around the address when it is outside.
struct Half {
  bool reachable;
  bool upper;
  VirtAddr first, last;  // of the half, or of the hole between the halves
};

Half part_of(std::span<const arch::Reach> reach, VirtAddr address) {
  std::uint64_t next = 0;
  for (const arch::Reach& part : reach) {
    if (address.raw < part.first) return {false, false, {next}, {part.first - 1}};
    if (address.raw <= part.last) return {true, &part != reach.data(), {part.first}, {part.last}};
    next = part.last + 1;
  }
  return {false, false, {next}, {~std::uint64_t{0}}};
}

Half half_of(const arch::PagingMode& mode, VirtAddr address) {
  if (!mode.reach.empty()) return part_of(mode.reach, address);
  const bool one_half = mode.halves == arch::Halves::one_root_unsigned;
  // With sign extension half of va_bits is on either side; Arm's two roots have va_bits each.
  const std::uint64_t reach = low_bits(mode.halves == arch::Halves::one_root_signed ? mode.va_bits - 1u : mode.va_bits);
  if (address.raw <= reach) return {true, false, {0}, {reach}};
  if (one_half) return {false, false, {reach + 1}, {~std::uint64_t{0}}};
  const std::uint64_t upper = mode.upper_first ? mode.upper_first : ~reach;
  if (address.raw < upper) return {false, false, {reach + 1}, {upper - 1}};
  if (address.raw - upper <= reach) return {true, true, {upper}, {upper + reach}};
  return {false, false, {upper + reach + 1}, {~std::uint64_t{0}}};
}

std::uint64_t entry_from(const std::uint8_t* bytes, std::size_t size, std::endian order) {
  return size == 8 ? load<std::uint64_t>(bytes, order) : load<std::uint32_t>(bytes, order);
}

Result<std::uint64_t> read_entry(const PhysicalMemory& memory, PhysAddr at, std::size_t bytes, std::endian order, VirtAddr address) {
  std::uint8_t raw[8];
  auto got = memory.read(at, MutableBytes(raw, bytes));
  if (!got) return fail(got.error().code, address.raw);
  if (*got != bytes) return fail(Errc::lost, address.raw);
  return entry_from(raw, bytes, order);
}

PhysAddr frame_of(const arch::PagingMode& mode, const arch::Level& level, std::uint64_t entry) {
  return {mode.frame ? mode.frame(entry, level) : (entry & mode.frame_mask) << mode.frame_shift};
}

std::uint64_t index_of(const arch::Level& level, VirtAddr address) { return address.raw >> level.shift & ((std::uint64_t{1} << level.bits) - 1); }

Extent hole_at(unsigned shift, VirtAddr address) {
  const std::uint64_t span = low_bits(shift);
  return {{address.raw & ~span}, {address.raw | span}, std::nullopt, {}};
}

bool is_valid(const arch::Level& level, std::uint64_t entry) { return level.valid(entry) && !level.empty(entry); }

// The entry of a page that the operating system keeps behind an entry without meaning; else the entry itself.
std::uint64_t as_kept(const PhysicalMemory& memory, const PageTable& table, const arch::Level& level, PhysAddr at, std::uint64_t entry) {
  const arch::PagingMode& mode = *table.mode;
  auto* const held = level.held ? level.held : mode.held;
  if (!held || !table.keeps) return entry;
  std::uint64_t told = entry;
  if (mode.own_entry) {
    if (&level != &mode.levels.back()) return entry;
    const PhysAddr own = at + static_cast<std::uint64_t>(std::int64_t{mode.own_entry});
    told = read_entry(memory, own, mode.entry_bytes, table.order, {}).value_or(0);
  }
  const std::uint64_t kept = held(told);
  return kept && !level.table(kept) ? kept & ~table.clear : entry;
}

// A large page's frame bits below its size are attributes (x86: PAT at bit 12), not address.
Extent page_at(const arch::PagingMode& mode, const arch::Level& level, std::uint64_t entry, PhysAddr frame, VirtAddr address, Access access) {
  const std::uint64_t span = low_bits(mode.page_shift ? mode.page_shift(entry, level) : level.shift);
  return {{address.raw & ~span}, {address.raw | span}, PhysAddr{frame.raw & ~span}, access};
}

// Down from `depth`, whose entry for the address lies at `entry_at` of `source`; the tables below lie in memory.
Result<Extent> descend(const PhysicalMemory& memory, const PageTable& table, const PhysicalMemory& source, std::size_t depth, PhysAddr entry_at,
                       VirtAddr address, std::vector<WalkStep>* trace) {
  const arch::PagingMode& mode = *table.mode;
  Access access{true, true, true};
  auto allow = [&access](const arch::Rights& rights, std::uint64_t entry) {
    access.write &= rights.write(entry);
    access.execute &= rights.execute(entry);
    access.user &= rights.user(entry);
  };
  for (const PhysicalMemory* from = &source; depth < mode.levels.size(); ++depth, from = &memory) {
    const arch::Level& level = mode.levels[depth];
    const Bytes there = from->view(entry_at);  // where it can be had this is half of all that a walk costs
    std::uint64_t entry = there.size() >= mode.entry_bytes ? entry_from(there.data(), mode.entry_bytes, table.order)
                                                           : TRY(read_entry(*from, entry_at, mode.entry_bytes, table.order, address));
    if (trace) trace->push_back({static_cast<std::uint8_t>(mode.levels.size() - depth), entry_at, entry});
    entry &= ~table.clear;

    if (!is_valid(level, entry)) {
      entry = as_kept(memory, table, level, entry_at, entry);
      if (!is_valid(level, entry)) return hole_at(level.shift, address);
    }
    const PhysAddr frame = frame_of(mode, level, entry);
    if (!level.table(entry)) {
      allow(level.page ? *level.page : mode.page, entry);
      return page_at(mode, level, entry, frame, address, access);
    }
    if (level.has_rights) allow(mode.table, entry);
    if (depth + 1 == mode.levels.size()) break;  // the last level's `table` never holds
    if (depth < table.empty.size() && frame == table.empty[depth]) return hole_at(level.shift, address);
    const arch::Level& next = mode.levels[depth + 1];
    if (mode.in_table && !mode.in_table(entry, index_of(next, address))) return hole_at(next.shift, address);
    entry_at = frame + index_of(next, address) * mode.entry_bytes;
  }
  return fail(Errc::bad_data, address.raw);
}

}  // namespace

Result<Extent> walk(const PhysicalMemory& memory, const PageTable& table, VirtAddr address, std::vector<WalkStep>* trace) {
  const arch::PagingMode& mode = *table.mode;
  const Half half = half_of(mode, address);
  if (!half.reachable) return Extent{half.first, half.last, std::nullopt, {}};
  const PhysAddr root = half.upper && mode.halves == arch::Halves::two_roots ? table.high : table.low;
  auto extent = descend(memory, table, memory, 0, root + index_of(mode.levels.front(), address) * mode.entry_bytes, address, trace);
  if (extent && !extent->phys) extent->first = std::max(extent->first, half.first), extent->last = std::min(extent->last, half.last);
  return extent;
}

Result<Extent> walk(const PhysicalMemory& memory, const EntryArray& array, VirtAddr address, std::vector<WalkStep>* trace) {
  const arch::PagingMode& mode = *array.table.mode;
  const std::uint64_t index = (address - array.first) >> mode.levels[array.depth].shift;
  return descend(memory, array.table, *array.entries, array.depth, {index * mode.entry_bytes}, address, trace);
}

bool fits_root(const PhysicalMemory& memory, const PageTable& table) {
  if (table.mode->root.mask == 0) return true;
  const auto first = read_entry(memory, table.low, table.mode->entry_bytes, table.order, {});
  return first && table.mode->root(*first);
}

}  // namespace kvm
