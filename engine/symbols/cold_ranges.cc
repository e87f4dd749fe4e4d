// Finds the range lists that name a cold half: lists of several ranges of which the last is exactly a symbol "NAME.cold".
// The debug information that refers to them need not be read.  DWARF 5, 7.25 and 7.28; DWARF 4, 2.17.3; ELF gABI, chapter 4.
#include "engine/symbols/cold_ranges.h"

#include <compare>
#include <cstring>
#include <map>
#include <optional>

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint32_t sht_rela = 4;
constexpr std::uint64_t shf_compressed = 0x800;
enum RangeListEntry : std::uint8_t {  // DW_RLE_*
  rle_end_of_list, rle_base_addressx, rle_startx_endx, rle_startx_length, rle_offset_pair, rle_base_address, rle_start_end, rle_start_length
};

// A linked file's addresses have section 0; a relocatable file's count from their section.
struct Place {
  std::uint32_t section = 0;
  std::uint64_t address = 0;
  auto operator<=>(const Place&) const = default;
};
struct Range {
  Place first;
  std::uint64_t size = 0;
};

// Reads on through bytes; past the end `failed` is set and everything is 0.
class Cursor {
 public:
  Cursor(Bytes bytes, std::endian order) : bytes_(bytes), order_(order) {}
  std::uint64_t at() const { return at_; }
  bool more() const { return !failed && at_ < bytes_.size(); }
  std::uint64_t number(std::uint64_t width) {
    if (width > bytes_.size() - at_) return failed = true, 0;
    at_ += width;
    return load_unsigned(bytes_.subspan(at_ - width, width), order_);
  }
  std::uint64_t uleb() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const std::uint64_t byte = number(1);
      if (shift < 64) value |= (byte & 0x7f) << shift;
      if (failed || !(byte & 0x80)) return value;
    }
  }
  void go_to(std::uint64_t place) {
    if (place > bytes_.size()) failed = true;
    else at_ = place;
  }
  bool failed = false;

 private:
  Bytes bytes_;
  std::endian order_;
  std::uint64_t at_ = 0;
};

struct RawSymbol {
  std::string_view name;
  Place place;
  std::uint64_t size = 0;
};

class SymbolTable {
 public:
  explicit SymbolTable(const ElfFile& file) : file_(file) {
    for (const ElfSection& section : file.sections())
      if (section.type == elf::sht_symtab && section.link < file.sections().size())
        table_ = file.contents(section), strings_ = file.contents(file.sections()[section.link]);
  }
  std::uint64_t count() const { return table_.size() / entry(); }
  RawSymbol operator[](std::uint64_t number) const {
    if (number >= count()) return {};
    Cursor in(table_.subspan(number * entry(), entry()), file_.order());
    const std::uint64_t name = in.number(4);
    RawSymbol symbol;
    if (!file_.is_64()) symbol.place.address = in.number(4), symbol.size = in.number(4);
    in.number(2);  // st_info, st_other
    const auto section = static_cast<std::uint32_t>(in.number(2));
    if (file_.is_64()) symbol.place.address = in.number(8), symbol.size = in.number(8);
    if (file_.type() == elf::et_rel) symbol.place.section = section;
    if (name < strings_.size()) {
      const auto* text = reinterpret_cast<const char*>(strings_.data()) + name;
      symbol.name = {text, strnlen(text, strings_.size() - name)};
    }
    return symbol;
  }

 private:
  std::size_t entry() const { return file_.is_64() ? 24 : 16; }
  const ElfFile& file_;
  Bytes table_, strings_;
};

class ColdRanges {
 public:
  explicit ColdRanges(const ElfFile& file) : file_(file), symbols_(file) {
    for (std::uint64_t i = 0; i < symbols_.count(); ++i)
      if (const RawSymbol symbol = symbols_[i]; symbol.size && symbol.name.ends_with(".cold")) cold_[symbol.place] = symbol.size;
  }

  std::vector<Blank> find() {
    if (cold_.empty()) return {};
    if (open(".debug_rnglists")) read_tables();
    // In a relocatable file the linker's work would put addresses back over the zeros.
    if (file_.type() != elf::et_rel && open(".debug_ranges")) read_pairs();
    return std::move(found_);
  }

 private:
  bool open(std::string_view name) {
    const ElfSection* section = file_.section(name);
    if (!section || section->flags & shf_compressed) return false;
    bytes_ = file_.contents(*section);
    base_ = section->offset;
    targets_.clear();
    for (const ElfSection& other : file_.sections())
      if (file_.type() == elf::et_rel && other.type == sht_rela && &file_.sections()[0] + other.info == section) read_relocations(other);
    return true;
  }

  void read_relocations(const ElfSection& section) {
    const std::uint64_t word = file_.is_64() ? 8 : 4;
    const Bytes bytes = file_.contents(section);
    for (Cursor in(bytes, file_.order()); in.more();) {
      const std::uint64_t offset = in.number(word), info = in.number(word), addend = in.number(word);
      Place target = symbols_[file_.is_64() ? info >> 32 : info >> 8].place;
      target.address += addend;
      targets_[offset] = target;
    }
  }

  Place address(Cursor& in, std::uint64_t width) const {
    const auto relocated = targets_.find(in.at());
    const std::uint64_t value = in.number(width);
    return relocated == targets_.end() ? Place{0, value} : relocated->second;
  }

  bool is_cold(const Range& range) const {
    const auto found = cold_.find(range.first);
    return found != cold_.end() && found->second == range.size;
  }

  // .debug_rnglists: tables, each with a header and lists of entries that begin with their kind.
  void read_tables() {
    for (Cursor headers(bytes_, file_.order()); headers.more();) {
      std::uint64_t length = headers.number(4), width = 4;
      if (length == 0xffffffff) length = headers.number(8), width = 8;
      const std::uint64_t end = headers.at() + std::min<std::uint64_t>(length, bytes_.size() - headers.at());
      Cursor in(bytes_.first(end), file_.order());
      in.go_to(headers.at());
      headers.go_to(end);
      const std::uint64_t version = in.number(2), address_size = in.number(1);
      in.number(1);  // no segments
      const std::uint64_t offsets = in.number(4);
      if (version != 5 || address_size > 8) continue;
      in.go_to(in.at() + offsets * width);
      while (in.more()) read_list(in, address_size);
    }
  }

  void read_list(Cursor& in, std::uint64_t width) {
    std::uint64_t last = 0;
    std::optional<Place> base;
    bool cold = false;
    for (unsigned count = 0; !in.failed;) {
      const std::uint64_t at = in.at();
      Range range;
      switch (in.number(1)) {
        case rle_end_of_list:
          if (cold && count > 1 && !in.failed) found_.push_back({base_ + last, 1});
          return;
        case rle_base_addressx: in.uleb(); continue;
        case rle_base_address: base = address(in, width); continue;
        case rle_startx_endx: case rle_startx_length: in.uleb(), in.uleb(); break;  // of split DWARF
        case rle_offset_pair: {
          const std::uint64_t first = in.uleb(), end = in.uleb();
          if (base) range = {{base->section, base->address + first}, end - first};
          break;
        }
        case rle_start_end: range.first = address(in, width), range.size = address(in, width).address - range.first.address; break;
        case rle_start_length: range.first = address(in, width), range.size = in.uleb(); break;
        default: in.failed = true;
      }
      last = at, cold = is_cold(range), ++count;
    }
  }

  // .debug_ranges: pairs of addresses; (0, 0) ends a list and (-1, N) sets a base, which is 0 in units of several sections.
  void read_pairs() {
    const std::uint64_t width = file_.is_64() ? 8 : 4, none = width == 8 ? ~std::uint64_t{0} : 0xffffffff;
    std::uint64_t base = 0, last = 0;
    unsigned count = 0;
    bool cold = false;
    for (Cursor in(bytes_, file_.order()); in.more();) {
      const std::uint64_t at = in.at(), first = in.number(width), end = in.number(width);
      if (first == none) {
        base = end;
      } else if (first || end) {
        cold = is_cold({{0, base + first}, end - first});
        last = at, ++count;
      } else {
        if (cold && count > 1) found_.push_back({base_ + last, 2 * width});
        base = count = 0, cold = false;
      }
    }
  }

  const ElfFile& file_;
  SymbolTable symbols_;
  std::map<Place, std::uint64_t> cold_;  // where a cold half is, and its size
  Bytes bytes_;                          // the section being read,
  std::uint64_t base_ = 0;               // its place in the file,
  std::map<std::uint64_t, Place> targets_;  // and what its relocations put where
  std::vector<Blank> found_;
};

}  // namespace

std::vector<Blank> cold_ranges(const ElfFile& file) { return ColdRanges(file).find(); }

}  // namespace kvm
