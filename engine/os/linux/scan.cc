// Searches.  Texts: `linux_banner` (init/version.c), the .notes section, and vmcoreinfo_data (kernel/crash_core.c), a page
// that starts with "OSRELEASE=".
#include "engine/os/linux/scan.h"

#include <array>
#include <algorithm>
#include <vector>

#include "engine/integers.h"

namespace kvm::os_linux {
namespace {

constexpr std::string_view banner = "Linux version ";
// An ELF note's head: name of 4 bytes, description of 20, type 3, "GNU".
constexpr std::string_view build_id_little{"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16};
constexpr std::string_view build_id_big{"\0\0\0\x04\0\0\0\x14\0\0\0\x03GNU\0", 16};
constexpr std::string_view elf_magic = "\x7f" "ELF";
constexpr std::uint64_t image_limit = 256u << 20;  // no kernel image is larger

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// "Linux version 6.1.0-35-cloud-amd64 (...": a format string ("Linux version %s") is no banner.
std::string release_at(std::string_view text) {
  const std::string_view rest = text.substr(banner.size());
  const std::string_view release = rest.substr(0, rest.find(' '));
  const bool plain = std::ranges::all_of(release, [](char c) { return c > ' ' && c < 127 && c != '%'; });
  return plain && !release.empty() && release.size() < 65 && release.size() < rest.size() ? std::string(release) : std::string();
}

void scan_chunk(std::string_view chunk, std::string_view gnu_build_id, ImageFacts& facts) {
  for (std::size_t at = 0; facts.release.empty() && (at = chunk.find(banner, at)) != chunk.npos; ++at)
    facts.release = release_at(chunk.substr(at, 128));
  for (std::size_t at = 0; facts.build_id.empty() && (at = chunk.find(gnu_build_id, at)) != chunk.npos; ++at) {
    // The vDSO images inside the kernel have build ids of their own, on the page of their ELF header.
    const bool in_vdso = chunk.substr(at & ~std::size_t{4095}).starts_with(elf_magic);
    if (!in_vdso && at + 36 <= chunk.size()) facts.build_id = hex_digits({reinterpret_cast<const std::uint8_t*>(chunk.data()) + at + 16, 20});
  }
}

}  // namespace

ImageFacts scan_image(const AddressSpace& space, VirtAddr text, std::endian order) {
  ImageFacts facts;
  std::vector<std::uint8_t> chunk(1 << 20);
  constexpr std::uint64_t page_bytes = 4096;  // chunks overlap by one: a text may straddle two
  for (std::uint64_t at = 0; at < image_limit && (facts.release.empty() || facts.build_id.empty());) {
    auto got = space.read(text + at, chunk);
    if (got) scan_chunk(text_of(Bytes(chunk).first(*got)), order == std::endian::little ? build_id_little : build_id_big, facts);
    else if (got.error().code == Errc::not_mapped && at > (64u << 20)) break;
    // A page that is not there ends a read: the gap between text and read-only data is given back, and what is behind it
    // matters.
    const std::uint64_t read = got.value_or(0) & ~(page_bytes - 1);
    at += read == chunk.size() ? read - page_bytes : read + page_bytes;
  }
  return facts;
}

void scan_vmcoreinfo(const PhysicalMemory& memory, std::uint64_t page_size, const std::function<bool(const std::string&)>& found) {
  constexpr std::string_view start = "OSRELEASE=";
  std::string page(page_size, '\0');
  std::uint64_t looked_at = 0;
  for (const PhysRange& range : memory.ranges()) {
    const std::uint64_t before = -range.first.raw & (page_size - 1);  // ranges may begin inside a page
    for (std::uint64_t at = before; at < range.size; at += page_size) {
      if (++looked_at > most_places) return;
      auto head = memory.read(range.first + at, {reinterpret_cast<std::uint8_t*>(page.data()), start.size()});
      if (!head || !page.starts_with(start)) continue;
      auto got = memory.read(range.first + at, {reinterpret_cast<std::uint8_t*>(page.data()), page.size()});
      if (!got) continue;
      const std::string text = page.substr(0, std::min(page.find('\0'), *got));
      if (text.find("\nPAGESIZE=") != text.npos && found(text)) return;
    }
  }
}

bool banner_at(const PhysicalMemory& memory, PhysAddr at) {
  std::array<std::uint8_t, banner.size()> bytes;
  auto got = memory.read(at, bytes);
  return got && *got == bytes.size() && text_of(bytes) == banner;
}

}  // namespace kvm::os_linux
