#include "engine/export/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/export/elf_core.h"
#include "engine/export/notes.h"
#include "engine/mapped.h"

namespace kvm {
namespace {

constexpr std::uint64_t page_bytes = 4096;  // file offsets and addresses agree in what is below it

std::vector<PhysRange> stored_runs(const PhysicalMemory& memory) {
  std::vector<PhysRange> runs;
  std::uint64_t at = 0;
  while (const auto run = memory.next_stored({at})) {
    if (!runs.empty() && runs.back().first + runs.back().size == run->first) runs.back().size += run->size;
    else runs.push_back(*run);
    at = run->first.raw + run->size;
    if (at < run->first.raw || run->size == 0) break;  // the end of the address space
  }
  return runs;
}

// The parts of a mapped run whose pages the dump holds.
void add_segments(const Extent& run, const std::vector<PhysRange>& stored, std::vector<CoreSegment>& segments) {
  const std::uint64_t first = run.phys->raw, last = first + std::min(run.last - run.first, ~first);
  auto piece = std::ranges::partition_point(stored, [&](const PhysRange& r) { return r.first.raw + (r.size - 1) < first; });
  for (; piece != stored.end() && piece->first.raw <= last; ++piece) {
    const std::uint64_t from = std::max(first, piece->first.raw), to = std::min(last, piece->first.raw + (piece->size - 1));
    segments.push_back({run.first + (from - first), {from}, to - from + 1, 0, run.access});
  }
}

std::vector<CorePages> pages_of(std::vector<CoreSegment> segments) {
  std::ranges::sort(segments, {}, &CoreSegment::phys);
  std::vector<CorePages> pages;
  for (const CoreSegment& segment : segments) {
    const bool joins = !pages.empty() && segment.phys - pages.back().first <= pages.back().size;
    if (!joins) pages.push_back({segment.phys, segment.size, 0});
    else pages.back().size = std::max(pages.back().size, segment.phys - pages.back().first + segment.size);
  }
  return pages;
}

std::uint64_t offset_of(PhysAddr at, const std::vector<CorePages>& pages) {
  const auto behind = std::ranges::upper_bound(pages, at, {}, &CorePages::first);
  return std::prev(behind)->offset + (at - std::prev(behind)->first);
}

void place(CorePlan& plan, std::uint64_t at) {
  for (CorePages& run : plan.pages) {
    at += (run.first.raw - at) % page_bytes;
    run.offset = at;
    at += run.size;
  }
  for (CoreSegment& segment : plan.segments) segment.offset = offset_of(segment.phys, plan.pages);
  plan.size = at;
}

void add_remarks(const MappedRuns& mapped, CorePlan& plan) {
  if (mapped.unknown)
    plan.remarks.push_back(fmt::format("page tables are missing from the dump in {} places: what they map is left out", mapped.unknown));
  if (mapped.hashed) plan.remarks.push_back("the hashed page table cannot be listed: pages outside the direct map are left out");
  if (mapped.cut) plan.remarks.push_back("the page tables are damaged: they map more than can be written, and the rest is left out");
}

}  // namespace

Result<CorePlan> plan_core(const Kernel& kernel) {
  CorePlan plan;
  const MappedRuns mapped = mapped_runs(kernel.space());
  const std::vector<PhysRange> stored = stored_runs(*kernel.dump().memory);
  for (const Extent& run : mapped.runs) add_segments(run, stored, plan.segments);
  if (plan.segments.empty()) return fail(Errc::not_in_dump, kernel.path() + ": holds no page that the kernel maps");
  add_remarks(mapped, plan);
  plan.pages = pages_of(plan.segments);
  plan.notes = core_notes(kernel, plan.remarks);
  plan.notes_at = core_header_bytes(kernel.arch(), plan.segments.size());
  place(plan, plan.notes_at + plan.notes.size());
  if (kernel.arch().pointer_bytes == 4 && plan.size > ~std::uint32_t{0})
    return fail(Errc::unsupported, fmt::format("{}: the kernel maps {} bytes, a 32-bit ELF file ends at 4 GiB", kernel.path(), plan.size));
  return plan;
}

}  // namespace kvm
