// Every page of the dump, once, in the order of physical addresses, with where the kernel maps it.
#include <algorithm>

#include "engine/compat/handle.h"
#include "engine/mapped.h"

namespace kvm::compat {
namespace {

// The kernel's window on all of RAM is what most of the mapped memory has the same distance to.  No system has to be asked
// what it calls it.
std::optional<std::uint64_t> direct_map_distance(const std::vector<Extent>& runs) {
  std::map<std::uint64_t, std::uint64_t> bytes;
  for (const Extent& run : runs) bytes[run.first.raw - run.phys->raw] += run.last - run.first;
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  return most == bytes.end() ? std::nullopt : std::optional(most->first);
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

int walk_pages(kvm_t* kd, kvm_walk_pages_cb_t* visit, void* closure) {
  const Kernel& kernel = *kd->kernel;
  const PhysicalMemory& memory = *kernel.dump().memory;
  std::vector<Extent> runs = mapped_runs(kernel.space()).runs, direct_runs, other;
  const auto distance = direct_map_distance(runs);
  for (const Extent& run : runs) (distance == run.first.raw - run.phys->raw ? direct_runs : other).push_back(run);
  Places direct(std::move(direct_runs)), elsewhere(std::move(other));
  const std::uint64_t page_bytes = kernel.arch().page_size;
  for (auto run = memory.next_stored({0}); run;) {
    const std::uint64_t last = run->first.raw + (run->size - 1);
    for (std::uint64_t at = run->first.raw; at <= last;) {
      const std::uint64_t size = std::min(page_bytes - at % page_bytes, last - at + 1);
      const Extent *window = direct.at({at}), *place = elsewhere.at({at});
      struct kvm_page page {};
      page.kp_version = LIBKVM_WALK_PAGES_VERSION;
      page.kp_paddr = at;
      if (place) page.kp_kmap_vaddr = (place->first + (at - place->phys->raw)).raw;
      if (window) page.kp_dmap_vaddr = (window->first + (at - window->phys->raw)).raw;
      page.kp_prot = place || window ? protection((place ? place : window)->access) : VM_PROT_READ | VM_PROT_WRITE;
      page.kp_offset = static_cast<off_t>(memory.file_offset({at}).value_or(~std::uint64_t{0}));
      page.kp_len = size;
      if (!visit(&page, closure)) return 0;
      if (last - at < size) break;  // the end of the address space
      at += size;
    }
    if (last == ~std::uint64_t{0}) break;
    run = memory.next_stored({last + 1});
  }
  return 1;
}

}  // namespace
}  // namespace kvm::compat

int kvm_walk_pages(kvm_t* kd, kvm_walk_pages_cb_t* visit, void* closure) {
  return kvm::compat::guarded(kd, 0, [&] { return kd->kernel ? kvm::compat::walk_pages(kd, visit, closure) : 0; });
}
