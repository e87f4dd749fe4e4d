// Looking for a Linux kernel in memory that nobody described: bounded searches for texts that every kernel carries.
#pragma once

#include <functional>
#include <string>

#include "engine/space.h"

namespace kvm::os_linux {

// A file can claim any amount of RAM: searches give up after so many places (1 TiB of small pages).
constexpr std::uint64_t most_places = std::uint64_t{1} << 28;

struct ImageFacts {
  std::string release, build_id;  // empty: not found
};

// Reads the banner and the build-id note of the image that starts at `text`.
ImageFacts scan_image(const AddressSpace& space, VirtAddr text, std::endian order);

// Calls `found` with each text that looks like VMCOREINFO, page by page, until it returns true.
void scan_vmcoreinfo(const PhysicalMemory& memory, std::uint64_t page_size, const std::function<bool(const std::string&)>& found);

// True when a kernel's banner is at this physical address.
bool banner_at(const PhysicalMemory& memory, PhysAddr at);

// Calls `found` with each aligned physical address that has a banner at `banner_offset` above it; the first answer wins.
template <class Found>
auto find_image(const PhysicalMemory& memory, std::uint64_t align, std::uint64_t banner_offset, Found found)
    -> decltype(found(PhysAddr{})) {
  std::uint64_t looked_at = 0;
  for (const PhysRange& range : memory.ranges()) {
    const std::uint64_t end = range.first.raw + range.size;
    for (std::uint64_t at = (range.first.raw + align - 1) & ~(align - 1); at >= range.first.raw && at < end; at += align) {
      if (++looked_at > most_places) return std::nullopt;
      if (banner_at(memory, PhysAddr{at + banner_offset}))
        if (auto answer = found(PhysAddr{at})) return answer;
    }
  }
  return std::nullopt;
}

}  // namespace kvm::os_linux
