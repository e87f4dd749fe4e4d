// What the engine asks of debug information: names, types and source lines, behind three interfaces so that
// each can come from wherever it is cheapest (ELF symbol table, BTF, kallsyms, DWARF).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "engine/types.h"

namespace kvm {

struct Symbol {
  std::string_view name;  // lives as long as the Symbols that gave it
  VirtAddr address;       // at run time: the slide is applied
  std::uint64_t size = 0;  // 0: not known
  char kind = '?';        // as nm(1): t text, d data, b bss, r read-only; upper case: global
};

class Symbols {
 public:
  virtual ~Symbols() = default;
  virtual std::optional<Symbol> find(std::string_view name) const = 0;
  // The symbol that contains the address, or the nearest before it in the same section.
  virtual std::optional<Symbol> at(VirtAddr address) const = 0;
  // All of them, in no order.
  virtual std::vector<Symbol> all() const { return {}; }
  // What the symbols' file itself has at a run-time address: at most `size` bytes, empty where it has none.  Memory is the authority.
  virtual Bytes contents(VirtAddr, std::size_t) const { return {}; }
};

// A member of a record, found by path ("thread.sp", "se.on_rq"); anonymous members are looked through.
struct Member {
  enum class Kind : std::uint8_t { integer, pointer, record, array, other };
  std::uint64_t offset = 0;   // bytes from the start of the outermost record
  std::uint64_t size = 0;     // bytes of the member (of the storage unit for a bit-field)
  std::uint8_t bit_offset = 0, bit_size = 0;  // bit-field: position counted from the low bit of the storage unit; 0: none
  bool is_signed = false;
  Kind kind = Kind::other;
  std::string type_name;      // of the record, or of the record pointed to; empty: none
  std::uint64_t count = 0;    // array: number of elements; 0 for a flexible one
  std::uint64_t element_size = 0;
};

class Types {
 public:
  virtual ~Types() = default;
  // `type` is "task_struct" or a typedef's name; not_found when the type or the member does not exist.
  virtual Result<Member> member(std::string_view type, std::string_view path) const = 0;
  virtual Result<std::uint64_t> size_of(std::string_view type) const = 0;
  // The value of an enumerator, in any enumeration.
  virtual std::optional<std::int64_t> enumerator(std::string_view name) const = 0;
};

// Where a system's debug files lie (engine/symbols/debug_files.h).  '@' stands for the release, '#' for a build id as a path.
struct DebugPlaces {
  std::span<const std::string_view> in_folder, in_system;  // the kernel's file: in a folder that the user named, in the whole system
  std::span<const std::string_view> modules;               // folders of modules, in either
  std::span<const std::string_view> beside_dump = {};      // the kernel's file, beside the dump
};

struct SourceLine {
  std::string function, file;
  std::uint32_t line = 0;
};

class SourceLines {
 public:
  virtual ~SourceLines() = default;
  // Innermost first; more than one where functions were inlined.  Empty: nothing known.
  virtual std::vector<SourceLine> at(VirtAddr address) const = 0;
};

// Told now and then by long work; `total` 0: not known.
using Progress = std::function<void(std::string_view what, std::uint64_t done, std::uint64_t total)>;

}  // namespace kvm
