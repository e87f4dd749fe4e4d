// The vocabulary of processors: everything that differs between machines, as data.
// One file in this folder per processor defines one constant of type Arch; the build collects them.
// Nothing here reads memory: the engine interprets these tables, so a wrong fact can only be wrong once.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

namespace kvm::arch {

// A test on a page-table entry: (entry & mask) == value.
struct Match {
  std::uint64_t mask, value;
  constexpr bool operator()(std::uint64_t entry) const { return (entry & mask) == value; }
};
inline constexpr Match always{0, 0};
inline constexpr Match never{0, 1};

// Holds when either test does.
struct Rule {
  Match one = always, other = never;
  constexpr bool operator()(std::uint64_t entry) const { return one(entry) || other(entry); }
};

// Which accesses an entry allows.
struct Rights {
  Rule write, execute, user;
};

// One level of a page table.  `shift` and `bits` say which address bits index it.
struct Level {
  std::uint8_t shift, bits;
  Match valid;  // the entry means something
  Match table;  // a valid entry points to the next level; otherwise it is a page
  bool has_rights = true;  // its entries have permission bits
  std::uint64_t (*held)(std::uint64_t entry) = nullptr;  // in place of the mode's, where this level's entries differ (s390)
  Rule empty = {never, never};  // of the valid entries those that mean nothing, where one mask cannot tell
  const Rights* page = nullptr;  // what its pages' entries allow, where the bits are not those of other levels
};

// How the two halves of the virtual address space find their root table.
enum class Halves : std::uint8_t {
  one_root_signed,    // x86, RISC-V: addresses are sign-extended from va_bits
  two_roots,          // Arm: the upper half has a root of its own
  one_root_unsigned,  // 32-bit machines, s390: all addresses below 2^va_bits
};

// Addresses that the processor translates without tables.
struct Window {
  std::uint64_t first, last, phys;
};

// Addresses from `first` to `last`, inclusive.
struct Reach {
  std::uint64_t first, last;
};

struct PagingMode {
  std::string_view name;  // "4-level", "sv48", "4k-48"
  std::uint8_t entry_bytes;
  std::uint8_t va_bits;
  Halves halves;
  std::uint64_t frame_mask;         // entry bits that hold the page frame ...
  std::uint8_t frame_shift;         // ... shifted left by this (RISC-V: 2)
  std::span<const Level> levels;    // root first
  Rights page;                      // what a page's entry allows, ...
  Rights table = {};                // ... unless the entry of a table above it forbids it
  // Where mask and shift do not say it: LPA2, PSE-36.  Null for most.
  std::uint64_t (*frame)(std::uint64_t entry, const Level&) = nullptr;
  // An entry that means nothing to the processor, but behind which the operating system keeps a page (PROT_NONE, NUMA
  // hinting): the entry as it would be, or 0.  Null for none.
  std::uint64_t (*held)(std::uint64_t entry) = nullptr;
  // log2 of the size of the page where it is larger than the level's: the entries for its parts are all alike (Svnapot, Arm's
  // supersections).  Null for most.
  std::uint8_t (*page_shift)(std::uint64_t entry, const Level&) = nullptr;
  // Whether the table behind an entry is long enough for an index (s390).  Null: all tables are full.
  bool (*in_table)(std::uint64_t entry, std::uint64_t index) = nullptr;
  std::int32_t own_entry = 0;       // where, from an entry of the last level, lies what `held` is told instead of it; 0: nowhere
  Match root = always;              // what the first entry of every root table is like, where that tells modes apart
  std::uint64_t upper_first = 0;    // start of the upper half where that is not the top of the address space (Power)
  std::span<const Window> windows = {};
  // What the tables translate, where the halves do not say it: the lower half, then parts of the upper one, ascending, all of
  // which the same tables serve.
  std::span<const Reach> reach = {};
  // Symbols of the tables behind empty entries, where Linux has such instead of invalid entries: behind the root's entries first.
  std::span<const std::string_view> empty_tables = {};

  constexpr std::uint64_t page_bytes() const { return std::uint64_t{1} << levels.back().shift; }
};

enum class Role : std::uint8_t { none, pc, sp, fp, ra, flags };

// One register as debuggers see it.  The order of the table is the order of gdb's `g` packet.
struct Register {
  std::string_view name;
  std::uint16_t bits;
  std::int16_t dwarf;            // DWARF number, -1: none
  std::string_view feature;      // gdb's target feature that owns it
  std::string_view type = "int64";
  Role role = Role::none;
  std::string_view group = {};   // gdb's register group, empty: by type
};

// Where a per-CPU ELF note keeps registers.
struct NoteField {
  std::string_view reg;
  std::uint16_t offset;
  std::uint8_t bytes;
};
struct CpuNote {
  std::string_view owner;  // "CORE", "QEMU"
  std::uint32_t type;
  std::uint16_t min_size;
  std::int16_t pid_offset;  // of an i32 process id, -1: none
  std::span<const NoteField> fields;
};

// How a task that is not running keeps its registers.  `path` leads from the OS's thread record to the frame; `record` names
// the type of what lies there, or `offset` bytes behind it; empty when the members are reached from the thread record itself.
struct SavedRegister {
  std::string_view reg, member;
  std::uint16_t word_at = 0;     // in the frame where there is no member, else in the member, which is then an array
  std::string_view symbol = {};  // or where this lies, the same for all
};
struct SavedFrame {
  std::string_view os;      // "linux", "freebsd"
  std::string_view path;    // "thread.sp": a pointer in the task record to the frame
  std::string_view record;  // "inactive_task_frame"
  std::span<const SavedRegister> regs;
  bool sp_is_frame_end = false;  // the stack pointer is the address just above the frame
  std::uint16_t offset = 0;
  bool below_caller = false;     // `path` leads to a pointer to the caller's stack frame, and the record ends there (Power)
  // The member that points, `words_offset` bytes short, to the words of registers without a member; empty: they are the frame's.
  std::string_view words = {};
  std::uint16_t words_offset = 0;
  // Where a system changed the record's layout, newest first.  This one holds when `mark` lies at `mark_at`; without debug
  // information since that version of the system, or while the record is smaller.  Empty: always; 0: where no other is.
  std::string_view mark = {};
  std::uint16_t mark_at = 0;
  std::uint32_t since = 0, smaller_than = 0;
};

// Where a CPU's own state tells what VMCOREINFO does not: the root of the page tables.
struct CpuRoot {
  std::string_view root_register;   // "cr3"
  std::uint64_t root_mask = 0;      // bits of it that are the table's address
  std::string_view mode_register;   // "cr4": its bits in mode_mask are the number of the paging mode
  std::uint64_t mode_mask = 0;
};

// How Linux's ORC unwind tables number the registers that a frame is found from.
struct OrcRegister {
  std::uint8_t number;
  std::string_view reg;
};
struct OrcNumbering {
  std::uint8_t sp, fp, cfa, sp_indirect, fp_indirect;
  std::span<const OrcRegister> others;
};

// Code that leaves its frame in a way of its own, from `at` bytes behind a symbol to the next row or the symbol's end.
struct EntryCode {
  std::string_view symbol;
  std::uint16_t at = 0;
  Role base = Role::sp;
  std::int16_t offset = 0;  // of an InterruptFrame's record from the base
  // Instead, base + offset is the caller's stack pointer, on another stack; below it are the return address and the caller's frame
  // pointer.
  bool switches_stack = false;
};

// What one instruction does to its function's frame: to the stack and frame pointers, and to the words on the stack that hold the
// caller's frame pointer and the return address.
struct FrameStep {
  enum class Flow : std::uint8_t {
    next,
    branch,   // on, or to `target`
    jump,     // to `target`
    call,     // on, but for functions that do not return
    trap,     // the same
    computed, // through a register: a table's, or another function
    end,      // a return
  };
  enum class Sp : std::uint8_t {
    kept,
    moved,    // by `amount`
    from_fp,  // is fp + amount
    varied,   // by an amount that only the running code knows
    switched, // to another stack
    restored, // is the caller's again; on another stack what it was on the one before
  };
  enum class Fp : std::uint8_t { kept, from_sp, changed };  // from_sp: is sp + amount
  enum class Words : std::uint8_t { none, saved, restored };
  // The return address's register, where another one, the copy, takes part in saving it (Power).
  enum class Link : std::uint8_t { kept, changed, copied, from_copy, copy_changed };
  static constexpr std::int32_t nowhere = INT32_MIN;

  Flow flow = Flow::next;
  Sp sp = Sp::kept;
  Fp fp = Fp::kept;
  Words words = Words::none;
  Link link = Link::kept;
  bool by_fp = false;
  std::int32_t amount = 0;
  // Of these words, from sp as it is before the instruction, or from fp; copy_at: of the copy's; sp_at: of the stack pointer's own.
  std::int32_t fp_at = nowhere, ra_at = nowhere, copy_at = nowhere, sp_at = nowhere;
  std::uint64_t target = 0;
};

// What the frame pointer leads to: where it and the return address are saved, and the cfa.
struct FrameRecord {
  std::int8_t fp, ra, end;
};

// How code makes its frames, for kernels that keep no unwind tables.
struct FrameCode {
  std::uint8_t unit;  // all instructions' lengths and addresses are multiples of so many bytes
  FrameStep (*step)(std::span<const std::uint8_t> instruction, std::uint64_t address);
  // Of the instruction that begins with this unit, in bytes.  Null: one unit.
  std::uint8_t (*length)(std::span<const std::uint8_t> unit) = nullptr;
  // Whether code goes on to save all registers of what it interrupted, in a record at the stack pointer.  Null: names tell.
  bool (*saves_all)(std::span<const std::uint8_t> code) = nullptr;
  const FrameRecord* record = nullptr;  // null: there is none
  std::uint8_t cfa_above_sp = 0;        // the cfa, from the caller's stack pointer (s390)
  bool fp_is_any = false;               // the frame pointer's register is like all others, where a function has no use for one
  bool chained = false;                 // the word at the stack pointer is the last frame's, on the last stack
};

// What an interrupt or system call saves, as members of one record, or where there are none at `word_at` bytes from its start.
struct InterruptFrame {
  std::string_view record;                  // "pt_regs"
  std::span<const SavedRegister> regs;
  std::string_view partial;                 // the first member of what the processor itself saves: from here on
  std::string_view call_prefix;             // of the names of code that saves it on a system call
  // Without ORC: functions in assembly, which debug information does not describe.  Those that call on with the record so far above
  // the stack pointer; which distance it is, the frame of a switched-out task tells where `switch_gap` is not 0: that is what lies
  // there below SavedFrame's record.
  struct Depth {
    std::uint16_t switch_gap, record_at;
  };
  std::span<const Depth> depths = {};
  std::span<const std::string_view> functions = {};
  std::span<const std::string_view> outermost = {};  // those behind which the kernel has no frame
  std::span<const EntryCode> codes = {};             // those that differ
  // A record with these bits set in a register is a user's, where addresses do not tell.
  std::string_view user_register = {};
  std::uint64_t user_bits = 0;
};

// Facts that a Linux kernel of this processor hard-wires, and the names under which it tells the rest.  The image lies at a
// constant distance from its physical place: virtual = physical + distance.
struct LinuxLayout {
  // Virtual addresses of which one lies at physical phys_base; several where a kernel's builder chooses.  None: the image can
  // be anywhere, and phys_base is where its first byte lies.
  std::span<const std::uint64_t> image_bases;
  std::uint64_t image_size = 0;    // with one base, the window in which there is nothing but the image, KASLR included; 0: none
  std::uint64_t image_align = 0;   // the image's physical start is a multiple of this
  std::uint64_t image_offset = 0;  // default link address of _text, above its base
  bool image_in_tables = true;     // false: the processor has locked translations for it
  // Where nobody tells phys_base: 0, or the start of RAM.
  enum class Physical : std::uint8_t { zero, ram } physical = Physical::zero;
  std::span<const std::string_view> root_symbols;  // of the kernel's root table
  // In VMCOREINFO.  mode_key's value indexes paging; va_bits_key's is a mode's va_bits; image_base_key's is the address that lies
  // at phys_base, where no base is hard-wired.
  std::string_view phys_base_key, distance_key, mode_key, va_bits_key, clear_key, image_base_key;
  std::string_view slide_key = "KERNELOFFSET";
  std::string_view link_key;  // also in VMCOREINFO: the address that the image's first byte was linked at
  std::span<const std::string_view> index_bits_symbols;  // variables with the index bits of each level, smallest page first
  // Also in VMCOREINFO: the bits of a kernel address that a signature may take.  Empty: addresses are not signed.
  std::string_view signature_key;
  std::string_view distance_symbol;                // variable that holds the distance
  std::span<const std::string_view> per_cpu_registers;  // that can hold a CPU's per-CPU base
  CpuRoot cpu;
  std::span<const OrcNumbering> orc;  // every numbering that there was; empty: no ORC on this processor
  InterruptFrame interrupt_frame;
  // Where the direct call leads whose instruction ends at `after`, from the bytes before; 0: it is none.  Null: not known.
  std::uint64_t (*call_target)(std::span<const std::uint8_t> before, std::uint64_t after) = nullptr;
  std::uint64_t first_shared = 0;  // kernel addresses below it lead each CPU to memory of its own (s390's prefix area) ...
  std::string_view own_register, own_symbol;  // ... the place of which a register holds, and an array of pointers by CPU
  // Absolute addresses of pointers for dump tools: to VMCOREINFO's note, and to os_info (engine/os/linux/os_info.h).  0: none.
  std::uint64_t note_pointer = 0, os_info_pointer = 0;
};

// Rows of one machine that differ in byte order are told apart by a CPU's register: files may have another order than the kernel.
struct OrderSign {
  std::string_view reg;
  Match value = always;
};

// Code that a FreeBSD kernel enters by a trap, an interrupt or a system call: while it runs, what it saved of the interrupted code
// lies `offset` bytes above the stack pointer.
struct TrapEntry {
  std::string_view name;        // of the function, or with `prefix` what names begin with; a small letter or digit follows
  std::uint8_t offset = 0;
  bool call = false;            // a system call: the caller's pc is not one where it was stopped
  bool prefix = false;
  bool outermost = false;       // a thread's first frame
};
struct FreebsdTraps {
  std::span<const TrapEntry> entries;     // the first that fits a name
  std::span<const SavedFrame> frames;     // struct trapframe
  std::string_view moved = {};            // the variable that tells how far the entry code was moved when the system started
  // Where kernel and user code have the same addresses: what was interrupted is a user's where this register has a bit of the mask.
  std::string_view user_register = {};
  std::uint64_t user_mask = 0;
  bool users_stack_only = false;          // only then the processor saves the stack pointer
  std::uint8_t pc_column = 0;             // of frame tables, for an interrupted pc that has no DWARF number of its own
};

struct Arch {
  std::string_view name;       // as in file name and `--arch`
  std::string_view gdb_name;   // <architecture> of target.xml
  std::string_view triple;     // LLVM's processor name
  std::span<const std::string_view> machines;  // utsname.machine
  std::uint16_t elf_machine;
  std::uint8_t pointer_bytes;
  std::endian endian;
  std::uint32_t page_size;     // smallest
  std::endian entry_order = endian;  // of page-table entries
  std::span<const PagingMode> paging;
  std::span<const Register> registers;
  std::span<const CpuNote> notes;
  std::span<const SavedFrame> frames;
  std::span<const std::string_view> level_names;  // what Linux calls the levels, smallest page first: PTE, PMD ...
  const LinuxLayout* linux_layout = nullptr;
  const FrameCode* frame_code = nullptr;
  OrderSign order_sign = {};
  // With "none" gdb asks for our library list instead of looking for a dynamic linker; but it may know no such processor.
  std::string_view gdb_osabi = "none";
  bool gdb_needs_pc = false;   // gdb 13 dies of a thread whose pc is not known: it is told 0
  const FreebsdTraps* freebsd_traps = nullptr;
};

std::span<const Arch* const> arches();  // every row, by name; generated by the build
const Arch* find(std::string_view name);
const Arch* find_elf(std::uint16_t machine, std::uint8_t pointer_bytes, std::endian endian);
// The byte order chooses where a name is that of two rows.
const Arch* find_machine(std::string_view utsname_machine, std::endian endian = std::endian::little);

}  // namespace kvm::arch
