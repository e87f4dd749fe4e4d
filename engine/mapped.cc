// One extent after the other, from 0 to 2^64.  Extents tile, so each starts where the last ended; the bounds are for tables that
// lead into themselves.
#include "engine/mapped.h"

#include <algorithm>

namespace kvm {
namespace {

constexpr std::uint64_t last_address = ~std::uint64_t{0}, page_bytes = 4096;
constexpr std::uint64_t most_runs = 1u << 24;
constexpr std::uint64_t most_repeats = 16, repeated_block = 1u << 30;

// The first level whose entry was not read, when the walk by `how` made `steps` steps.
std::optional<arch::Level> missing_level(const Method& how, std::size_t steps) {
  const auto* array = std::get_if<EntryArray>(&how);
  const auto* table = array ? &array->table : std::get_if<PageTable>(&how);
  const std::size_t depth = steps + (array ? array->depth : 0);
  if (!table || depth >= table->mode->levels.size()) return std::nullopt;
  return table->mode->levels[depth];
}

// The last address for which the table that is missing at `at` would answer.
std::uint64_t missing_up_to(const AddressSpace& space, VirtAddr at) {
  std::uint64_t last = at.raw | (page_bytes - 1);
  for (const Mapping& mapping : space.mappings()) {
    if (std::holds_alternative<Linear>(mapping.how) || at < mapping.first || at > mapping.last) continue;
    std::vector<WalkStep> steps;
    const auto walked = walk_by(space.memory(), mapping.how, at, &steps);
    const auto level = walked ? std::nullopt : missing_level(mapping.how, steps.size());
    const bool row = steps.empty() && std::holds_alternative<EntryArray>(mapping.how);  // of which each entry is read by itself
    if (!level) break;
    const unsigned span = level->shift + (row ? 0u : level->bits);
    last = span >= 64 ? last_address : at.raw | ((std::uint64_t{1} << span) - 1);
    break;
  }
  // Where another mapping begins or ends, it may know.
  for (const Mapping& mapping : space.mappings()) {
    if (mapping.first > at) last = std::min(last, mapping.first.raw - 1);
    if (mapping.last >= at) last = std::min(last, mapping.last.raw);
  }
  return last;
}

bool continues(const Extent& run, const Extent& next) {
  return next.first.raw == run.last.raw + 1 && next.access == run.access && run.phys->raw + (next.first - run.first) == next.phys->raw;
}

// With a root for each half, the lower half is a process's.
std::uint64_t first_address(const AddressSpace& space) {
  std::uint64_t first = 0;
  for (const Mapping& mapping : space.mappings()) {
    const auto* table = std::get_if<PageTable>(&mapping.how);
    if (!table && mapping.first.raw == 0) return 0;
    if (!table || table->mode->halves != arch::Halves::two_roots) continue;
    first = table->mode->upper_first ? table->mode->upper_first : ~std::uint64_t{0} << table->mode->va_bits;
  }
  return first;
}

}  // namespace

MappedRuns mapped_runs(const AddressSpace& whole, std::uint64_t most) {
  MappedRuns all;
  std::vector<Mapping> listed = whole.mappings();
  all.hashed = std::erase_if(listed, [](const Mapping& m) { return std::holds_alternative<HashedTable>(m.how); }) != 0;
  const AddressSpace space(whole.memory(), std::move(listed));
  std::uint64_t repeats = 0;
  PhysAddr previous{last_address};
  std::uint64_t at = first_address(space), steps = 0;
  for (;;) {
    const auto extent = space.extent_at({at});
    std::uint64_t last = extent ? extent->last.raw : missing_up_to(space, {at});
    if (!extent) ++all.unknown;
    if (extent && extent->phys && !extent->access.user) {
      repeats = *extent->phys == previous ? repeats + 1 : 0;
      previous = *extent->phys;
      if (repeats > most_repeats) last = std::max(last, at | (repeated_block - 1));
      else if (!all.runs.empty() && continues(all.runs.back(), *extent)) all.runs.back().last = extent->last;
      else all.runs.push_back(*extent);
    }
    if (last == last_address) return all;
    at = last + 1;
    if (++steps >= most || all.runs.size() >= most_runs) {
      all.cut = true;
      return all;
    }
  }
}

}  // namespace kvm
