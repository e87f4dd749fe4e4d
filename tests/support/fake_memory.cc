// See fake_memory.h.
#include "tests/support/fake_memory.h"

#include <algorithm>
#include <stdexcept>

namespace kvm::testing {

FakeMemory& FakeMemory::ram(std::uint64_t first, std::uint64_t size) {
  ranges_.push_back({{first}, size});
  return *this;
}

FakeMemory::Page& FakeMemory::page(std::uint64_t number) { return pages_.try_emplace(number, Page{}).first->second; }

void FakeMemory::put(PhysAddr at, Bytes bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const std::uint64_t address = at.raw + done, inside = address % page_bytes;
    const std::size_t size = std::min<std::uint64_t>(bytes.size() - done, page_bytes - inside);
    std::ranges::copy(bytes.subspan(done, size), page(address / page_bytes).begin() + static_cast<std::ptrdiff_t>(inside));
    done += size;
  }
}

void FakeMemory::put(PhysAddr at, std::string_view text) {
  put(at, Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

void FakeMemory::put_number(PhysAddr at, std::uint64_t value, std::size_t bytes, std::endian order) {
  std::uint8_t raw[8];
  if (bytes > sizeof raw) throw std::logic_error("FakeMemory: a number of more than 8 bytes");
  for (std::size_t i = 0; i < bytes; ++i)
    raw[order == std::endian::little ? i : bytes - 1 - i] = static_cast<std::uint8_t>(value >> (8 * i));
  put(at, Bytes(raw, bytes));
}

std::vector<PhysAddr> FakeMemory::pages() const {
  std::vector<PhysAddr> numbers;
  for (const auto& [number, page] : pages_) numbers.push_back({number * page_bytes});
  std::ranges::sort(numbers);
  return numbers;
}

bool FakeMemory::is_ram(std::uint64_t address) const {
  return std::ranges::any_of(ranges_, [&](const PhysRange& r) { return address - r.first.raw < r.size; });
}

Result<std::size_t> FakeMemory::read(PhysAddr at, MutableBytes out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t address = at.raw + done, number = address / page_bytes, inside = address % page_bytes;
    const auto page = pages_.find(number);
    const auto fate = fate_.find(number);
    const bool missing = page == pages_.end() && !is_ram(address);
    if (fate != fate_.end() || missing) {
      if (done) break;
      return fail(fate != fate_.end() ? fate->second : Errc::not_in_dump, address);
    }
    const std::size_t size = std::min<std::uint64_t>(out.size() - done, page_bytes - inside);
    const MutableBytes to = out.subspan(done, size);
    if (page == pages_.end()) std::ranges::fill(to, std::uint8_t{0});
    else std::ranges::copy(Bytes(page->second).subspan(inside, size), to.begin());
    done += size;
  }
  return done;
}

}  // namespace kvm::testing
