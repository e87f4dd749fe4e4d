// What a kernel in a dump tells of itself, without any file: its symbols, types and unwind tables.  The OS model collects
// it (Linux: kallsyms, BTF, ORC, of the kernel and of each module); an image for debuggers is made of it (engine/image/).
#pragma once

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

// A symbol with what a debugger wants to know of it.  Names live as long as the OsModel that gave them.
struct PieceVariable {
  std::string name;
  std::string type;            // "task_struct", or as C writes it: "struct list_head", "char[]"
};

// How to leave a frame at a code address: the row is valid from `address` up to the next row's.  The caller's registers
// are found from `cfa`: the value of the stack pointer before the call or the interrupt.
struct UnwindRow {
  enum class Kind : std::uint8_t {
    unknown,       // no way to go on is known
    end,           // the outermost frame
    call,          // the return address is below cfa
    interrupt,     // all registers are saved in the structure that ends at cfa (Linux: pt_regs)
    interrupt_partial,  // only what the processor saved: ip, cs, flags, sp, ss
  };
  enum class Base : std::uint8_t { none, cfa, sp, bp, r10, r13, di, dx, ax, sp_indirect, bp_indirect };
  VirtAddr address;
  Kind kind = Kind::unknown;
  Base cfa_base = Base::none;  // cfa = value of base + cfa_offset; *_indirect: the word at base ... see `orc.h`
  Base bp_base = Base::none;   // where the caller's frame pointer is saved; none: unchanged
  std::int16_t cfa_offset = 0, bp_offset = 0;
};

// The kernel image, or a module.
struct Piece {
  std::string name;            // of the module; empty: the kernel image
  std::vector<PieceSection> sections;
  std::vector<Symbol> symbols;         // by address
  std::vector<std::uint8_t> btf;       // as it lies in memory; a module's builds on the kernel's
  std::vector<UnwindRow> unwind;       // by address
};

struct Pieces {
  std::vector<Piece> pieces;           // the kernel image first
  std::vector<PieceVariable> variables;  // variables whose type is known but not said by the BTF
  std::vector<std::string> remarks;    // what is missing and what that costs, one line each
};

}  // namespace kvm
