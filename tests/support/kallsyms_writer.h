// Writes kallsyms' tables as scripts/kallsyms.c of the kernel's sources does, typed from there: write_src(), its order since
// v6.4 (commit 404bad70fcf7) and before, ULEB128 lengths since v6.1 (73bbb94466fd), 32-bit counts and markers since v4.20
// (80ffbaa5b1bd), offsets since v4.6 (2213e9a66bb8), place-relative ones as arch-independent PREL32 references.
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kvm::testing {

struct KallsymsSymbol {
  std::uint64_t address;
  char kind;
  std::string name;
};

struct KallsymsSpec {
  enum class Order : std::uint8_t { addresses_first, seqs_behind_markers, addresses_last };
  enum class Encoding : std::uint8_t { absolute, base_relative, absolute_percpu, place_relative };
  Order order = Order::addresses_last;
  Encoding encoding = Encoding::base_relative;
  std::endian endian = std::endian::little;
  unsigned word = 8;
  unsigned alignment = 8;        // ALGN of the script
  bool wide_lengths = true;      // ULEB128
  bool wide_markers = false;     // unsigned long, and kallsyms_num_syms too
  std::uint64_t base = 0xffffffff81000000;  // relative_base, _text
  std::uint64_t at = 0;          // the address of the first byte of the tables
};

struct KallsymsBytes {
  std::vector<std::uint8_t> bytes;
  std::map<std::string, std::size_t> labels;  // "kallsyms_names" and its like: offsets in `bytes`
  std::size_t names_end = 0;                  // in `bytes`
  std::vector<std::size_t> markers;           // from kallsyms_names on
};

// `symbols` are in the order of their addresses.
KallsymsBytes write_kallsyms(const std::vector<KallsymsSymbol>& symbols, const KallsymsSpec& spec);

// So many symbols with names as kernels have them, from `base` on, in the order of their addresses.
std::vector<KallsymsSymbol> many_symbols(std::size_t count, std::uint64_t base);

}  // namespace kvm::testing
