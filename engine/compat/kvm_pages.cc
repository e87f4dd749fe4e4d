// Every page of the dump, once, in the order of physical addresses, with where the kernel maps it.
#include <algorithm>

#include "engine/compat/handle.h"
#include "engine/mapped.h"
#include "engine/page_bytes.h"

namespace kvm::compat {
namespace {

// How much of a run is RAM: kernels map devices, too, and much of them.
std::uint64_t ram_of(const Extent& run, std::span<const PhysRange> ram) {
  const std::uint64_t first = run.phys->raw, last = first + std::min(run.last - run.first, ~first);
  std::uint64_t bytes = 0;
  for (auto range = std::ranges::partition_point(ram, [&](const PhysRange& r) { return r.first.raw + (r.size - 1) < first; });
       range != ram.end() && range->first.raw <= last; ++range)
    bytes += std::min(last, range->first.raw + (range->size - 1)) - std::max(first, range->first.raw) + 1;
  return bytes;
}

// The kernel's window on all of RAM is what most of what it maps has the same distance to; a kernel without one has no such distance.
// No system has to be asked what it calls it.
std::optional<std::uint64_t> direct_map_distance(const std::vector<Extent>& runs, std::span<const PhysRange> ram) {
  std::map<std::uint64_t, std::uint64_t> bytes;
  std::uint64_t total = 0;
  for (const Extent& run : runs) {
    const std::uint64_t here = ram_of(run, ram);
    bytes[run.first.raw - run.phys->raw] += here;
    total += here;
  }
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  return most == bytes.end() || most->second <= total / 2 ? std::nullopt : std::optional(most->first);
}

// Mapped runs by physical address.  Pages are asked for in ascending order.
class Places {
 public:
  explicit Places(std::vector<Extent> runs) : runs_(std::move(runs)) {
    std::ranges::sort(runs_, {}, [](const Extent& run) { return run.phys->raw; });
  }
  // The run with the lowest virtual address that holds the page.
  const Extent* at(PhysAddr page) {
    while (next_ < runs_.size() && runs_[next_].phys->raw <= page.raw) open_.push_back(&runs_[next_++]);
    std::erase_if(open_, [&](const Extent* run) { return page.raw - run->phys->raw > run->last - run->first; });
    const auto lowest = std::ranges::min_element(open_, {}, [](const Extent* run) { return run->first; });
    return lowest == open_.end() ? nullptr : *lowest;
  }

 private:
  std::vector<Extent> runs_;
  std::size_t next_ = 0;
  std::vector<const Extent*> open_;
};

vm_prot_t protection(const Access& access) {
  return static_cast<vm_prot_t>(VM_PROT_READ | (access.write ? VM_PROT_WRITE : 0) | (access.execute ? VM_PROT_EXECUTE : 0));
}

kvaddr_t address_in(const Extent* run, PhysAddr page) { return run ? (run->first + (page - *run->phys)).raw : 0; }

class PageWalk {
 public:
  explicit PageWalk(const Kernel& kernel) : PageWalk(kernel, mapped_runs(kernel.space()).runs) {}

  int run(kvm_walk_pages_cb_t* visit, void* closure) {
    for (auto run = memory_.next_stored({0}); run;) {
      const std::uint64_t last = run->first.raw + (run->size - 1);
      for (std::uint64_t at = run->first.raw, size = 0;; at += size) {
        size = std::min(page_bytes_ - at % page_bytes_, last - at + 1);
        struct kvm_page page = describe({at}, size);
        if (!visit(&page, closure)) return 0;
        if (last - at < size) break;
      }
      if (last == ~std::uint64_t{0}) break;
      run = memory_.next_stored({last + 1});
    }
    return 1;
  }

 private:
  PageWalk(const Kernel& kernel, const std::vector<Extent>& runs)
      : memory_(*kernel.dump().memory), page_bytes_(page_bytes(kernel.space(), kernel.arch())), distance_(direct_map_distance(runs, memory_.ranges())),
        direct_(those_of(runs, true)), elsewhere_(those_of(runs, false)) {}

  std::vector<Extent> those_of(const std::vector<Extent>& runs, bool direct) const {
    std::vector<Extent> some;
    std::ranges::copy_if(runs, std::back_inserter(some), [&](const Extent& run) { return (distance_ == run.first.raw - run.phys->raw) == direct; });
    return some;
  }

  struct kvm_page describe(PhysAddr at, std::uint64_t size) {
    const Extent *window = direct_.at(at), *place = elsewhere_.at(at);
    struct kvm_page page {};
    page.kp_version = LIBKVM_WALK_PAGES_VERSION;
    page.kp_paddr = at.raw;
    page.kp_kmap_vaddr = address_in(place, at);
    page.kp_dmap_vaddr = address_in(window, at);
    page.kp_prot = place || window ? protection((place ? place : window)->access) : VM_PROT_READ | VM_PROT_WRITE;
    page.kp_offset = static_cast<off_t>(memory_.file_offset(at).value_or(~std::uint64_t{0}));
    page.kp_len = size;
    return page;
  }

  const PhysicalMemory& memory_;
  std::uint64_t page_bytes_;
  std::optional<std::uint64_t> distance_;
  Places direct_, elsewhere_;
};

}  // namespace
}  // namespace kvm::compat

int kvm_walk_pages(kvm_t* kd, kvm_walk_pages_cb_t* visit, void* closure) {
  return kvm::compat::guarded(kd, 0, [&] { return kd->kernel ? kvm::compat::PageWalk(*kd->kernel).run(visit, closure) : 0; });
}
