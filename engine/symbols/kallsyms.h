// Symbols from the tables that a Linux kernel carries for its own backtraces (CONFIG_KALLSYMS), and from those of its modules.
// Tables come as bytes; where they lie is for others to find (engine/os/linux/kallsyms.h).
// The kernel's own know no sizes: a symbol's size here is the distance to the next one, padding included.
#pragma once

#include <atomic>
#include <bit>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/symbols.h"
#include "engine/symbols/name_index.h"

namespace kvm {

// Bytes of which some could not be read; these are zero.
struct PartialBytes {
  struct Gap {
    std::size_t first, end;
  };
  std::vector<std::uint8_t> bytes;
  std::vector<Gap> gaps;  // ascending

  bool has(std::size_t at, std::size_t size) const;
};

// As scripts/kallsyms.c writes them and kernel/kallsyms.c reads them.
struct KallsymsTables {
  std::endian order = std::endian::little;
  std::uint8_t word = 8;               // bytes of an unsigned long
  std::uint32_t count = 0;             // kallsyms_num_syms
  PartialBytes names;                  // kallsyms_names; may go on behind the last name
  std::vector<std::uint32_t> markers;  // where every 256th name begins in `names`; empty: not known
  PartialBytes tokens;                 // kallsyms_token_table; may go on behind the last token
  std::vector<std::uint8_t> token_index;  // kallsyms_token_index: 256 u16
  // One of the two: an address is a word of `addresses` (until v6.10), or made from a 32-bit entry of `offsets`.
  PartialBytes addresses, offsets;
  VirtAddr offsets_at;                 // of kallsyms_offsets: newest kernels count from the entry itself
  std::optional<std::uint64_t> relative_base;  // kallsyms_relative_base; none: newest kernels
};

// How 32-bit offsets become addresses.
enum class KallsymsOffsets : std::uint8_t {
  from_base,           // base + offset (since v4.6)
  absolute_or_before,  // not negative: the address, of a per-CPU symbol; negative: base - 1 - offset (CONFIG_KALLSYMS_ABSOLUTE_PERCPU)
  from_entry,          // address of the entry + offset: there is no base
};
// A loaded module's table: ELF symbols at their run-time addresses (struct mod_kallsyms, include/linux/module.h).
struct ModuleKallsyms {
  std::endian order = std::endian::little;
  std::uint8_t word = 8;
  PartialBytes symtab, strtab;  // `strtab` may go on behind the last name
  PartialBytes kinds;           // typetab, a letter for each symbol; empty: before v5.2
};

// What the offsets themselves tell, since tables are ordered by address and lie behind the kernel's text.
KallsymsOffsets kind_of_offsets(Bytes offsets, std::endian order);

// Where the `count` names that begin at `at` end; none when one of them cannot be.  `wide`: lengths of two bytes.
std::optional<std::size_t> skip_names(Bytes names, std::size_t at, std::size_t count, bool wide);

class Kallsyms final : public Symbols {
 public:
  // Fails when the tables make no sense.  Where parts could not be read, the other symbols are there.
  static Result<std::unique_ptr<Kallsyms>> open(const KallsymsTables& tables);
  static Result<std::unique_ptr<Kallsyms>> open(const ModuleKallsyms& tables);

  // Names, of data, that the tables lack.  Before anything else is asked of them.
  void add(const std::vector<std::pair<std::string, VirtAddr>>& names);

  std::optional<Symbol> find(std::string_view name) const override;  // a global one before local ones
  // Never one of kind 'A': its address is an offset or a number.
  std::optional<Symbol> at(VirtAddr address) const override;
  // By address, sizes as above; names live as long as this.
  std::vector<Symbol> all() const override;
  std::size_t missing() const { return missing_; }  // symbols whose name or address could not be read

 private:
  struct Entry {
    std::uint64_t address;
    std::uint32_t name;  // in names_
    std::uint16_t length;
    char kind;
    std::uint64_t size;  // as told; not_told: the distance to the next symbol
  };
  static constexpr std::uint64_t not_told = ~std::uint64_t{0};
  Kallsyms() = default;
  void finish();  // orders the entries
  std::string_view name(std::size_t number) const { return {names_.get() + entries_[number].name, entries_[number].length}; }
  Symbol symbol(std::size_t number) const;
  std::uint64_t size_of(std::size_t number) const;

  // A few questions are answered by looking through short marks of all names; an index would take as long as fifty.
  static constexpr unsigned questions_without_index = 32;
  static std::uint16_t mark_of(std::string_view name);
  std::optional<std::uint32_t> look_through(std::string_view name) const, look_up(std::string_view name) const;
  void add(std::uint64_t address, char kind, std::size_t name, std::size_t length, std::uint64_t size);

  std::unique_ptr<char[]> names_;     // one after another
  std::size_t names_size_ = 0;
  std::vector<Entry> entries_;        // by address
  std::vector<std::uint16_t> marks_;  // of the entries' names
  std::size_t missing_ = 0;
  mutable std::atomic<unsigned> questions_ = 0;
  mutable std::once_flag index_once_;
  mutable std::optional<NameIndex> index_;

  friend class KallsymsDecoder;
};

}  // namespace kvm
