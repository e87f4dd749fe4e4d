// Answers from an ELF symbol table (System V gABI, chapter 4).  Nothing is copied: both indexes hold symbol numbers.
// A kernel has some 200 000 symbols and most commands ask for a few, so that the time to build the indexes is what counts.
#include "engine/symbols/elf_symtab.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>

#include "engine/integers.h"
#include "engine/symbols/labels.h"
#include "engine/symbols/name_index.h"

namespace kvm {
namespace {

constexpr std::uint8_t stt_object = 1, stt_func = 2, stt_section = 3, stt_file = 4, stb_local = 0;
constexpr std::uint32_t absolute = std::numeric_limits<std::uint32_t>::max();  // in place of a section number

struct RawSymbol {
  std::uint32_t name, section;
  std::uint8_t type, binding;
  std::uint64_t value, size;
};

// Where a section is at run time.
struct Place {
  bool known = false;       // its symbols can be found by name
  bool searchable = false;  // its addresses are addresses, not per-CPU offsets or positions in a debug section
  std::uint64_t delta = 0;  // run-time address minus symbol value
  VirtAddr first;
  std::uint64_t size = 0;
  char letter = 'n';
  Bytes bytes = {};         // its contents in the file
};

struct AddressEntry {
  std::uint64_t address;
  std::uint32_t symbol;
  bool operator<(const AddressEntry& other) const {
    return address != other.address ? address < other.address : symbol < other.symbol;
  }
};

// Sorts by address.  A kernel's symbols are spread evenly enough that dealing them into as many buckets as there are
// symbols leaves almost nothing to compare: ten times faster than sorting at once.
void sort_spread(std::vector<AddressEntry>& entries) {
  if (entries.size() < 2) return;
  const auto [low, high] = std::minmax_element(entries.begin(), entries.end(),
                                               [](const auto& a, const auto& b) { return a.address < b.address; });
  const std::uint64_t base = low->address, span = high->address - base;
  int shift = 0;
  while (span >> shift >= entries.size()) ++shift;

  std::vector<std::uint32_t> ends((span >> shift) + 1);
  for (const auto& entry : entries) ++ends[(entry.address - base) >> shift];
  std::uint32_t sum = 0;
  for (auto& end : ends) sum = end += sum;
  std::vector<AddressEntry> sorted(entries.size());
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) sorted[--ends[(entry->address - base) >> shift]] = *entry;
  for (std::size_t i = 0; i < ends.size(); ++i) {  // `ends` has become where the buckets begin
    const std::size_t end = i + 1 < ends.size() ? ends[i + 1] : sorted.size();
    std::sort(sorted.begin() + ends[i], sorted.begin() + static_cast<std::ptrdiff_t>(end));
  }
  entries = std::move(sorted);
}

class ElfSymbols final : public Symbols {
 public:
  ElfSymbols(const ElfFile& file, const ElfSection& table, std::vector<Place> places);

  std::optional<Symbol> find(std::string_view name) const override;
  std::optional<Symbol> at(VirtAddr address) const override;
  std::vector<Symbol> all() const override;
  Bytes contents(VirtAddr address, std::size_t size) const override;

 private:
  RawSymbol raw(std::uint32_t number) const;
  std::string_view name(std::uint32_t offset) const;
  std::string_view name_of(std::uint32_t number) const { return name(load<std::uint32_t>(entry(number), order_)); }
  const std::uint8_t* entry(std::uint32_t number) const { return table_.data() + std::size_t{number} * entry_size_; }
  Symbol symbol(std::uint32_t number) const;
  bool is_defined(const RawSymbol& raw) const;
  const Place* place_at(VirtAddr address) const;
  void index_names() const;
  void index_addresses() const;

  Bytes table_, strings_, wide_sections_;
  std::endian order_;
  bool is_64_;
  std::size_t entry_size_;
  std::uint32_t count_;
  std::vector<Place> places_;  // by section number

  mutable std::once_flag names_once_, addresses_once_;
  mutable std::optional<NameIndex> names_;
  mutable std::vector<AddressEntry> addresses_;
};

ElfSymbols::ElfSymbols(const ElfFile& file, const ElfSection& table, std::vector<Place> places)
    : table_(file.contents(table)), order_(file.order()), is_64_(file.is_64()), entry_size_(is_64_ ? 24 : 16),
      count_(static_cast<std::uint32_t>(std::min<std::uint64_t>(table_.size() / entry_size_, 1U << 30))),
      places_(std::move(places)) {
  const auto& sections = file.sections();
  if (table.link < sections.size()) strings_ = file.contents(sections[table.link]);
  for (const ElfSection& section : sections)
    if (section.type == elf::sht_symtab_shndx && section.link < sections.size() && &sections[section.link] == &table)
      wide_sections_ = file.contents(section);
}

RawSymbol ElfSymbols::raw(std::uint32_t number) const {
  const std::uint8_t* at = entry(number);
  RawSymbol raw;
  raw.name = load<std::uint32_t>(at, order_);
  // The classes order the fields differently: 64-bit files put the small ones first.
  const std::uint8_t* info = at + (is_64_ ? 4 : 12);
  raw.type = info[0] & 15;
  raw.binding = info[0] >> 4;
  raw.section = load<std::uint16_t>(info + 2, order_);
  raw.value = is_64_ ? load<std::uint64_t>(at + 8, order_) : load<std::uint32_t>(at + 4, order_);
  raw.size = is_64_ ? load<std::uint64_t>(at + 16, order_) : load<std::uint32_t>(at + 8, order_);
  if (raw.section == elf::shn_xindex && number < wide_sections_.size() / 4)
    raw.section = load<std::uint32_t>(wide_sections_.data() + number * std::size_t{4}, order_);
  else if (raw.section >= elf::shn_loreserve)
    raw.section = raw.section == elf::shn_abs ? absolute : elf::shn_undef;
  return raw;
}

std::string_view ElfSymbols::name(std::uint32_t offset) const {
  if (offset >= strings_.size()) return {};
  const auto* first = reinterpret_cast<const char*>(strings_.data()) + offset;
  return {first, strnlen(first, strings_.size() - offset)};
}

bool ElfSymbols::is_defined(const RawSymbol& raw) const {
  if (raw.type == stt_section || raw.type == stt_file || raw.section == elf::shn_undef) return false;
  return raw.section == absolute || (raw.section < places_.size() && places_[raw.section].known);
}

Symbol ElfSymbols::symbol(std::uint32_t number) const {
  const RawSymbol raw = this->raw(number);
  const Place place = raw.section == absolute ? Place{.letter = 'a'} : places_[raw.section];
  const bool global = raw.binding != stb_local;
  return {name(raw.name), VirtAddr{raw.value + place.delta}, raw.size,
          static_cast<char>(global ? place.letter - 'a' + 'A' : place.letter)};
}

void ElfSymbols::index_names() const {
  NameIndex index(count_);
  const auto names = [this](std::uint32_t number) { return name_of(number); };
  for (std::uint32_t i = 1; i < count_; ++i) {
    const RawSymbol raw = this->raw(i);
    const std::string_view text = is_defined(raw) ? name(raw.name) : std::string_view{};
    if (text.empty() || text[0] == '$') continue;  // aarch64 has more mapping symbols than all others together
    std::uint32_t& kept = index.add(text, i, names);
    if (kept != i && raw.binding != stb_local && this->raw(kept).binding == stb_local) kept = i;
  }
  names_ = std::move(index);
}

std::optional<Symbol> ElfSymbols::find(std::string_view name) const {
  std::call_once(names_once_, [this] { index_names(); });
  const std::uint32_t* number = std::as_const(*names_).find(name, [this](std::uint32_t n) { return name_of(n); });
  if (!number) return {};
  return symbol(*number);
}

void ElfSymbols::index_addresses() const {
  std::vector<AddressEntry> entries;
  entries.reserve(count_);
  for (std::uint32_t i = 1; i < count_; ++i) {
    const RawSymbol raw = this->raw(i);
    if (raw.section == absolute || !is_defined(raw)) continue;
    const Place& place = places_[raw.section];
    const std::uint64_t address = raw.value + place.delta;
    // A symbol at its section's end (_etext) is a mark; at that address lies what comes next.
    if (place.searchable && address - place.first.raw < place.size) entries.push_back({address, i});
  }
  sort_spread(entries);
  addresses_ = std::move(entries);
}

const Place* ElfSymbols::place_at(VirtAddr address) const {
  const auto found = std::find_if(places_.begin(), places_.end(),
                                  [address](const Place& p) { return p.searchable && address - p.first < p.size; });
  return found == places_.end() ? nullptr : &*found;
}

// Like gdb, prefer a symbol whose size covers the address to a label that is nearer: inner labels of assembly functions
// have no size.  Where several begin together, functions and objects go before labels, global names before local ones.
std::optional<Symbol> ElfSymbols::at(VirtAddr address) const {
  const Place* place = place_at(address);
  if (!place) return {};
  std::call_once(addresses_once_, [this] { index_addresses(); });

  constexpr int most_steps = 64;  // labels inside one function; a limit for odd files
  constexpr int covers = 8, named = 4, typed = 2, global = 1;
  int best_rank = -1;
  const AddressEntry* best = nullptr;
  auto entry = std::upper_bound(addresses_.begin(), addresses_.end(), AddressEntry{address.raw, absolute});
  for (int step = 0; step < most_steps && entry != addresses_.begin(); ++step) {
    --entry;
    if (entry->address < place->first.raw) break;
    if (best && best->address != entry->address && best_rank >= covers + named) break;
    const RawSymbol raw = this->raw(entry->symbol);
    const int rank = (address.raw - entry->address < raw.size ? covers : 0) + (is_mere_label(name(raw.name)) ? 0 : named) +
                     (raw.type == stt_object || raw.type == stt_func ? typed : 0) + (raw.binding != stb_local ? global : 0);
    const bool farther = best && best->address != entry->address;
    if (!best || (farther ? rank >> 2 > best_rank >> 2 : rank > best_rank)) best = &*entry, best_rank = rank;
  }
  if (!best) return {};
  return symbol(best->symbol);
}

std::vector<Symbol> ElfSymbols::all() const {
  std::vector<Symbol> symbols;
  for (std::uint32_t i = 1; i < count_; ++i) {
    const RawSymbol raw = this->raw(i);
    if (raw.section == absolute || !is_defined(raw) || !places_[raw.section].searchable) continue;
    if (const Symbol found = symbol(i); !found.name.empty() && found.name[0] != '$') symbols.push_back(found);
  }
  return symbols;
}

Bytes ElfSymbols::contents(VirtAddr address, std::size_t size) const {
  const Place* place = place_at(address);
  const std::uint64_t offset = place ? address - place->first : 0;
  return place && offset < place->bytes.size() ? place->bytes.subspan(offset, std::min<std::uint64_t>(size, place->bytes.size() - offset)) : Bytes();
}

char letter_of(const ElfSection& section) {
  if (!(section.flags & elf::shf_alloc)) return 'n';
  if (section.flags & elf::shf_execinstr) return 't';
  if (!(section.flags & elf::shf_write)) return 'r';
  return section.type == elf::sht_nobits ? 'b' : 'd';
}

Result<std::unique_ptr<Symbols>> open_placed(const ElfFile& file, std::vector<Place> places) {
  for (const std::uint32_t wanted : {elf::sht_symtab, elf::sht_dynsym})
    for (const ElfSection& section : file.sections())
      if (section.type == wanted && !file.contents(section).empty())
        return std::make_unique<ElfSymbols>(file, section, std::move(places));
  return fail(Errc::not_found, file.file().path() + ": no symbol table");
}

}  // namespace

Result<std::unique_ptr<Symbols>> open_elf_symbols(const ElfFile& file, std::uint64_t slide) {
  std::vector<Place> places;
  for (const ElfSection& section : file.sections()) {
    const bool is_offset = section.addr == 0 && section.name.starts_with(".data..percpu");
    const bool slides = section.flags & elf::shf_alloc && !is_offset;
    const std::uint64_t delta = slides ? slide : 0;
    places.push_back({true, slides, delta, VirtAddr{section.addr + delta}, section.size, letter_of(section), file.contents(section)});
  }
  return open_placed(file, std::move(places));
}

Result<std::unique_ptr<Symbols>> open_module_symbols(const ElfFile& file,
                                                     std::span<const std::pair<std::string, VirtAddr>> sections) {
  std::vector<Place> places;
  for (const ElfSection& section : file.sections()) {
    const auto given = std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.first == section.name; });
    Place place{.letter = letter_of(section)};
    if (given != sections.end() && section.flags & elf::shf_alloc) {
      // A relocatable file's symbols count from their section, a linked one's from 0.
      const std::uint64_t delta = given->second.raw - (file.type() == elf::et_rel ? 0 : section.addr);
      place = {true, true, delta, given->second, section.size, place.letter, file.contents(section)};
    }
    places.push_back(place);
  }
  return open_placed(file, std::move(places));
}

}  // namespace kvm
