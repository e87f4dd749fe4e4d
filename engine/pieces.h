// What a kernel in a dump tells of itself, without any file: its symbols, types and unwind tables.  The OS model collects
// it (Linux: kallsyms, BTF, ORC, of the kernel and of each module); an image for debuggers is made of it (engine/image/).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/symbols.h"

namespace kvm {

struct PieceSection {
  std::string name;            // ".text"; unique within its piece
  VirtAddr address;            // at run time
  std::uint64_t size = 0;
  bool code = false, writable = false;
};

struct PieceVariable {
  std::string name;
  std::string type;            // "task_struct", or as C writes it: "struct list_head", "char[]"
};

// How to leave a frame whose pc is at `address` or above it, up to the next row's.  "cfa" is DWARF's canonical frame
// address; registers are DWARF numbers.
struct UnwindRow {
  enum class Kind : std::uint8_t {
    unknown,            // nobody knows how to go on
    end,                // the outermost frame
    call,               // the caller's stack pointer is the cfa, and the return address is where `ra` says
    interrupt,          // all registers are saved at Pieces::interrupt_frame's places from the cfa
    interrupt_partial,  // those that the processor saves, at Pieces::interrupt_partial's
    elsewhere,          // not in these rows: other files describe the code
  };
  enum class Cfa : std::uint8_t {
    offset,         // register + offset
    word,           // the word at register + offset
    word_offset,    // the word at register, + offset
  };
  enum class Saved : std::uint8_t { unchanged, at_cfa, at_fp };  // the caller's frame pointer: at cfa or at the own one + fp_offset
  enum class Ra : std::uint8_t { below_cfa, in_register, at_cfa };  // the return address: in the word below cfa, in its register, at cfa + ra_offset

  VirtAddr address;
  Kind kind = Kind::unknown;
  Cfa cfa = Cfa::offset;
  Saved fp = Saved::unchanged;
  Ra ra = Ra::below_cfa;
  bool interrupted = false;  // the caller was stopped at its pc, it made no call
  bool switched = false;     // the caller is on another stack
  // The caller may be on another stack.  Debuggers take a stack that goes the wrong way for damage, but not behind interrupts.
  bool breaks_order() const { return known() && (interrupted || switched || cfa == Cfa::word_offset); }
  bool known() const { return kind != Kind::unknown && kind != Kind::end && kind != Kind::elsewhere; }
  std::uint8_t cfa_register = 0;
  std::int16_t cfa_offset = 0, fp_offset = 0, ra_offset = 0;

  friend bool operator==(const UnwindRow&, const UnwindRow&) = default;
};

struct SavedAt {
  std::uint8_t reg;       // DWARF number
  std::int64_t offset;    // of its place, from the cfa
};

// How an interrupt frame of user code looks where kernel code may have the same addresses: it is the outermost.
struct UserSign {
  std::int64_t offset = 0;  // of a word, from the cfa
  std::uint64_t bits = 0;   // set in it; 0: addresses tell
};

// A processor that saves its stack pointer only when an interrupt switched stacks: where the word at `test` from the cfa has a bit of
// `mask`.  Otherwise the interrupted code's stack pointer is the address at which it would be saved.
struct StackSwitch {
  std::int64_t test = 0;
  std::uint8_t mask = 0;
};

// The kernel image, or a module.
struct Piece {
  std::string name;            // of the module; empty: the kernel image
  std::vector<PieceSection> sections;
  std::vector<Symbol> symbols;         // by address; Pieces::names keeps their names
  std::vector<std::uint8_t> btf;       // as it lies in memory; a module's builds on the kernel's
  std::vector<UnwindRow> unwind;       // by address
};

struct Pieces {
  std::vector<Piece> pieces;           // the kernel image first
  std::vector<SavedAt> interrupt_frame, interrupt_partial;
  std::optional<std::uint8_t> pc_column;   // DWARF number that stands for the pc where it has none
  std::optional<StackSwitch> stack_switch;  // of the interrupt frame; none: all of it is always saved
  UserSign user_sign;
  bool unwind_whole = true;            // nothing of the unwind tables is missing
  std::vector<PieceVariable> variables;  // whose type is known but not said by the BTF; it may not have that type at all
  std::vector<std::string> remarks;    // what is missing and what that costs, one line each
  std::vector<std::string> nature;     // the same of what no dump of this kernel has
  std::vector<std::unique_ptr<Symbols>> names;  // keeps the symbols' names
};

}  // namespace kvm
