// One walk: from the root down, an entry per level, until a page or a hole.
#include "engine/walk.h"

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

Half half_of(const arch::PagingMode& mode, VirtAddr address) {
  const bool one_half = mode.halves == arch::Halves::one_root_unsigned;
  // With sign extension half of va_bits is on either side; Arm's two roots have va_bits each.
  const std::uint64_t reach = low_bits(mode.halves == arch::Halves::one_root_signed ? mode.va_bits - 1u : mode.va_bits);
  if (address.raw <= reach) return {true, false, {0}, {reach}};
  if (one_half) return {false, false, {reach + 1}, {~std::uint64_t{0}}};
  if (address.raw >= ~reach) return {true, true, {~reach}, {~std::uint64_t{0}}};
  return {false, false, {reach + 1}, {~reach - 1}};
}

Result<std::uint64_t> read_entry(const PhysicalMemory& memory, PhysAddr at, std::size_t bytes, std::endian order, VirtAddr address) {
  std::uint8_t raw[8];
  auto got = memory.read(at, MutableBytes(raw, bytes));
  if (!got) return fail(got.error().code, address.raw);
  if (*got != bytes) return fail(Errc::lost, address.raw);
  return bytes == 8 ? load<std::uint64_t>(raw, order) : load<std::uint32_t>(raw, order);
}

PhysAddr frame_of(const arch::PagingMode& mode, const arch::Level& level, std::uint64_t entry) {
  return {mode.frame ? mode.frame(entry, level) : (entry & mode.frame_mask) << mode.frame_shift};
}

}  // namespace

Result<Extent> walk(const PhysicalMemory& memory, const PageTable& table, VirtAddr address, std::vector<WalkStep>* trace) {
  const arch::PagingMode& mode = *table.mode;
  const Half half = half_of(mode, address);
  if (!half.reachable) return Extent{half.first, half.last, std::nullopt, {}};

  Access access{true, true, true};
  PhysAddr at = half.upper && mode.halves == arch::Halves::two_roots ? table.high : table.low;
  for (std::size_t depth = 0; depth < mode.levels.size(); ++depth) {
    const arch::Level& level = mode.levels[depth];
    const std::uint64_t index = address.raw >> level.shift & low_bits(level.bits);
    const PhysAddr entry_at = at + index * mode.entry_bytes;
    std::uint64_t entry = TRY(read_entry(memory, entry_at, mode.entry_bytes, table.order, address));
    if (trace) trace->push_back({static_cast<std::uint8_t>(mode.levels.size() - depth), entry_at, entry});
    entry &= ~table.clear;

    const std::uint64_t span = low_bits(level.shift);
    const VirtAddr first{address.raw & ~span}, last{address.raw | span};
    if (const std::uint64_t kept = level.valid(entry) || !mode.held ? 0 : mode.held(entry); kept && !level.table(kept)) entry = kept & ~table.clear;
    if (!level.valid(entry)) return Extent{first, last, std::nullopt, {}};
    access.write &= mode.write(entry);
    access.execute &= mode.execute(entry);
    access.user &= mode.user(entry);
    const PhysAddr frame = frame_of(mode, level, entry);
    // A large page's frame bits below its size are attributes (x86: PAT at bit 12), not address.
    if (!level.table(entry)) return Extent{first, last, PhysAddr{frame.raw & ~span}, access};
    at = frame;
  }
  return fail(Errc::bad_data, address.raw);  // the last level's `table` never holds
}

}  // namespace kvm
