// The lowcore is the first 8 KiB of absolute memory, where every dump has it.  Two pointers in it are for dump tools and have kept
// their places: to the note of VMCOREINFO (0xe0c) and to os_info (0xe18), a page with a checksum of its own
// (arch/s390/include/asm/lowcore.h, os_info.h; arch/s390/kernel/os_info.c).  Since v6.10 os_info tells how virtual addresses lie.
#include "engine/os/linux/os_info.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include <fmt/format.h>

#include "engine/integers.h"
#include "engine/notes.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t magic = 0x4f53494e464f535a;  // "OSINFOSZ"
constexpr std::uint64_t page_bytes = 4096;
constexpr unsigned known_version = 1;

// By number, in os_info.h: those before v6.10 are texts with a length and a sum, the others plain values.
enum Number {
  vmcoreinfo,
  identity_base = 4,
  kaslr_offset,
  kaslr_offset_phys,
  vmemmap,
  amode31_start,
  amode31_end,
  image_start,  // these since v6.13
  image_end,
  image_phys,
  numbers
};

struct Entry {
  be64 value, size;
  be32 sum;
};
struct Page {
  be64 magic;
  be32 sum;
  be16 major, minor;
  be64 crashkernel_address, crashkernel_size;
  Entry entries[numbers];
  std::uint8_t rest[3804];
};
static_assert(sizeof(Page) == page_bytes && sizeof(Entry) == 20);

// The instruction CKSM: words, the carry added again; what is missing of the last one is zero.
std::uint32_t checksum(Bytes bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 4) {
    std::uint8_t word[4] = {};
    std::ranges::copy(bytes.subspan(at, std::min<std::size_t>(4, bytes.size() - at)), word);
    sum += load<std::uint32_t>(word, std::endian::big);
    sum = (sum & 0xffffffff) + (sum >> 32);
  }
  return static_cast<std::uint32_t>(sum);
}

bool read_whole(const PhysicalMemory& memory, std::uint64_t at, MutableBytes out) { return memory.read({at}, out).value_or(0) == out.size(); }

// A pointer of the lowcore; 0: none, or it cannot be read.
std::uint64_t pointer(const PhysicalMemory& memory, std::uint64_t at) {
  std::uint8_t raw[8] = {};
  return at && read_whole(memory, at, raw) ? load<std::uint64_t>(raw, std::endian::big) : 0;
}

std::optional<Page> read_page(const PhysicalMemory& memory, std::uint64_t at) {
  Page page;
  const MutableBytes bytes(reinterpret_cast<std::uint8_t*>(&page), sizeof page);
  if (!at || at % page_bytes || !read_whole(memory, at, bytes) || page.magic != magic || page.major > known_version) return std::nullopt;
  return page.sum == checksum(bytes.subspan(offsetof(Page, major))) ? std::optional(page) : std::nullopt;
}

// The text that an entry points to.
std::string text_at(const PhysicalMemory& memory, const Entry& entry) {
  if (!entry.value || entry.size == 0 || entry.size > page_bytes) return {};
  std::vector<std::uint8_t> text(entry.size);
  return read_whole(memory, entry.value, text) && checksum(text) == entry.sum ? text_of(text) : std::string();
}

// VMCOREINFO's own note, in the page that the kernel keeps for it.
std::string note_at(const PhysicalMemory& memory, std::uint64_t at) {
  std::array<std::uint8_t, page_bytes + 64> note;
  const std::size_t got = at ? memory.read({at}, note).value_or(0) : 0;
  return vmcoreinfo_text(parse_notes(Bytes(note).first(got), std::endian::big));
}

void add(std::vector<Mapping>& maps, std::uint64_t first, std::uint64_t end, std::uint64_t phys, const char* name) {
  if (first < end) maps.push_back({{first}, {end - 1}, Linear{{phys}}, name});
}

}  // namespace

OsInfo read_os_info(const PhysicalMemory& memory, const arch::LinuxLayout& layout) {
  OsInfo info;
  if (!layout.os_info_pointer) return info;
  if (const auto page = read_page(memory, pointer(memory, layout.os_info_pointer))) {
    const auto value = [&](Number number) -> std::uint64_t { return page->entries[number].value; };
    info.vmcoreinfo = text_at(memory, page->entries[vmcoreinfo]);
    if (const std::uint64_t image = value(kaslr_offset)) {  // else the kernel is older, and its addresses are physical ones
      info.keys = fmt::format("{}={:x}\n{}={:x}\n", layout.image_base_key, image, layout.phys_base_key, value(kaslr_offset_phys));
      add(info.mappings, value(image_start), value(image_end), value(image_phys), "kernel image");
      add(info.mappings, value(amode31_start), value(amode31_end), value(amode31_start), "31-bit code");
      add(info.mappings, value(identity_base) + layout.first_shared, value(vmemmap), layout.first_shared, "identity map");
    }
  }
  if (info.vmcoreinfo.empty()) info.vmcoreinfo = note_at(memory, pointer(memory, layout.note_pointer));
  return info;
}

}  // namespace kvm::os_linux
