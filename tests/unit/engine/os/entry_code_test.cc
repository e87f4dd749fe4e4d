// Frames of the code where interrupts and system calls come in, on processors whose kernels have no ORC.
#include <catch2/catch.hpp>

#include <algorithm>

#include "engine/os/linux/orc.h"
#include "tests/support/fake_memory.h"
#include "tests/support/fake_symbols.h"

using namespace kvm;
using Kind = UnwindRow::Kind;

namespace {

struct Machine {
  explicit Machine(std::string_view name) : arch(*arch::find(name)) { memory.ram(0, 0x10000); }
  void put(std::uint64_t at, std::uint64_t value) { memory.put_number({at}, value, 8, arch.endian); }
  std::vector<UnwindRow> rows() const { return os_linux::entry_code(view, symbols); }

  const arch::Arch& arch;
  kvm::testing::FakeMemory memory;
  kvm::testing::FakeTypes types;
  kvm::testing::FakeSymbols symbols;
  AddressSpace space{memory, {{{0}, {~std::uint64_t{0}}, Linear{{0}}, "everything"}}};
  KernelView view{arch, space, symbols, types};
};

const UnwindRow* row_at(const std::vector<UnwindRow>& rows, std::uint64_t address) {
  const auto next = std::ranges::upper_bound(rows, VirtAddr{address}, {}, &UnwindRow::address);
  return next == rows.begin() ? nullptr : &*std::prev(next);
}

}  // namespace

TEST_CASE("s390's entry code: 160 bytes above the stack pointer, and other code is not described", "[linux][unwind]") {
  Machine machine("s390x");
  machine.symbols.add("ext_int_handler", {0x2000}, 0x80, 'T');
  machine.symbols.add("ret_from_fork", {0x2080}, 0x40, 'T');
  machine.symbols.add("io_int_handler", {0x3000}, 0x100, 'T');
  const auto rows = machine.rows();
  REQUIRE(row_at(rows, 0x2010));
  CHECK(row_at(rows, 0x2010)->kind == Kind::interrupt);
  CHECK(row_at(rows, 0x2010)->cfa_register == 15);
  CHECK(row_at(rows, 0x2010)->cfa_offset == 160);
  CHECK(row_at(rows, 0x2010)->interrupted);
  CHECK(row_at(rows, 0x2080)->kind == Kind::end);
  CHECK(row_at(rows, 0x20c0)->kind == Kind::elsewhere);
  CHECK(row_at(rows, 0x30ff)->kind == Kind::interrupt);
  CHECK(row_at(rows, 0x30ff)->interrupted);
  CHECK(row_at(rows, 0x3100)->kind == Kind::elsewhere);
}

TEST_CASE("Power's entry code: a switched-out task's frame tells the distance", "[linux][unwind]") {
  // STACK_FRAME_OVERHEAD; since v6.2 little-endian kernels have 32 below a task's registers and 48 below an interrupt's.
  for (const auto& [gap, distance] : {std::pair{112, 112}, std::pair{32, 48}, std::pair{64, 0}}) {
    Machine machine("ppc64le");
    machine.types.define("task_struct", 0x200, "thread.ksp 0x100 *");
    machine.types.define("pt_regs", 0x180, "nip 256 u8");
    machine.symbols.add("kthreadd_task", {0x1000});
    machine.put(0x1000, 0x1100);
    machine.put(0x1200, 0x4000);  // its stack pointer
    machine.put(0x4000, 0x4000 + static_cast<std::uint64_t>(gap) + 0x180);
    machine.symbols.add("hardware_interrupt_common", {0x2000}, 0x80, 'T');
    machine.symbols.add("system_call_common", {0x2080}, 0x80, 'T');
    machine.symbols.add("ret_from_fork", {0x2100}, 0x40, 'T');
    const auto rows = machine.rows();
    CHECK(row_at(rows, 0x2100)->kind == Kind::end);
    if (distance == 0) {
      CHECK(!row_at(rows, 0x2000));  // a layout that nobody knows
      continue;
    }
    REQUIRE(row_at(rows, 0x2000));
    CHECK(row_at(rows, 0x2000)->kind == Kind::interrupt);
    CHECK(row_at(rows, 0x2000)->cfa_register == 1);
    CHECK(row_at(rows, 0x2000)->cfa_offset == distance);
    CHECK(row_at(rows, 0x2000)->interrupted);
    CHECK(!row_at(rows, 0x2080)->interrupted);  // a call
  }
}

TEST_CASE("where s390's interrupts save registers, and how a user's frame looks", "[linux][unwind]") {
  Machine machine("s390x");
  machine.types.define("pt_regs", 0x100, "psw.mask 8 u8; psw.addr 16 u8; gprs 24 a128");  // arch/s390/include/asm/ptrace.h
  Pieces pieces;
  os_linux::add_interrupt_places(machine.view, pieces);
  const auto at = [&](unsigned reg) { return std::ranges::find(pieces.interrupt_frame, reg, &SavedAt::reg)->offset; };
  CHECK(at(65) == 16);        // the PSW's address
  CHECK(at(15) == 24 + 120);  // r15
  CHECK(pieces.interrupt_partial.empty());
  CHECK(pieces.user_sign.offset == 8);
  CHECK(pieces.user_sign.bits == 0x0001'0000'0000'0000);  // problem state
}

TEST_CASE("Arm's entry code: system calls return into it by a jump, with two arguments on the stack", "[linux][unwind]") {
  Machine machine("arm");
  machine.symbols.add("ret_fast_syscall", {0xc04000c0}, 0x1c);
  machine.symbols.add("slow_work_pending", {0xc04000dc}, 0x24);
  machine.symbols.add("ret_from_fork", {0xc0400150}, 0x1c);
  machine.symbols.add("call_with_stack", {0xc0e1924c}, 0x20);
  machine.symbols.add("__sys_trace_return", {0xc04002d4}, 4);  // too short for its second row
  const auto rows = machine.rows();
  REQUIRE(rows.size() == 10);
  CHECK(rows[0].address.raw == 0xc04000c0);
  CHECK(rows[0].kind == Kind::interrupt);
  CHECK(rows[0].cfa_register == 13);  // sp
  CHECK(rows[0].cfa_offset == 8);
  CHECK(rows[0].interrupted);
  CHECK(rows[1].address.raw == 0xc04000c4);
  CHECK(rows[1].cfa_offset == 0);
  CHECK(rows[2].address.raw == 0xc04000dc);  // the next symbol, without a gap
  CHECK(rows[2].kind == Kind::interrupt);
  CHECK(row_at(rows, 0xc0400100)->kind == Kind::elsewhere);
  CHECK(row_at(rows, 0xc0400160)->kind == Kind::end);
  const UnwindRow* stack = row_at(rows, 0xc0e19264);
  CHECK(stack->kind == Kind::call);
  CHECK(stack->cfa_register == 11);  // fp
  CHECK(stack->cfa_offset == 8);
  CHECK(stack->fp_offset == -8);
  CHECK(stack->breaks_order());
}

TEST_CASE("On RISC-V one piece of code serves interrupts and system calls", "[linux][unwind]") {
  Machine machine("riscv64");
  machine.symbols.add("handle_exception", {0xffffffff80a81240}, 0x156);
  const auto rows = machine.rows();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].kind == Kind::interrupt);
  CHECK(rows[0].cfa_register == 2);  // sp
  CHECK(rows[0].cfa_offset == 0);
  CHECK_FALSE(rows[0].interrupted);
}

TEST_CASE("Registers in an array: Arm's struct pt_regs", "[linux][unwind]") {
  Machine machine("arm");
  machine.types.define("pt_regs", 72, "uregs 0 a72");
  Pieces pieces;
  os_linux::add_interrupt_places(machine.view, pieces);
  REQUIRE(pieces.interrupt_frame.size() == 16);
  for (const SavedAt& place : pieces.interrupt_frame) CHECK(place.offset == 4 * place.reg);
}

TEST_CASE("Entry code goes before what code tells of itself", "[linux][unwind]") {
  using os_linux::with_entry_code;
  const auto call = [](std::uint64_t at, std::int16_t offset) { return UnwindRow{.address = {at}, .kind = Kind::call, .cfa_offset = offset}; };
  const auto of = [](std::uint64_t at, Kind kind) { return UnwindRow{.address = {at}, .kind = kind}; };
  const std::vector<UnwindRow> code{call(0x1000, 0), call(0x1004, 16), call(0x1100, 0), call(0x1104, 32), call(0x1200, 0)};

  CHECK(with_entry_code(code, {}) == code);
  const std::vector<UnwindRow> entry{of(0x1100, Kind::interrupt), of(0x1180, Kind::end), of(0x1190, Kind::elsewhere)};
  CHECK(with_entry_code({}, entry) == entry);
  CHECK(with_entry_code(code, entry) ==
        std::vector{call(0x1000, 0), call(0x1004, 16), of(0x1100, Kind::interrupt), of(0x1180, Kind::end), call(0x1190, 32), call(0x1200, 0)});
  // It ends where the next function begins; and one that goes on behind all code.
  CHECK(with_entry_code(code, {of(0x1100, Kind::end), of(0x1200, Kind::elsewhere)}) == std::vector{call(0x1000, 0), call(0x1004, 16), of(0x1100, Kind::end), call(0x1200, 0)});
  CHECK(with_entry_code(code, {of(0x1104, Kind::end)}) == std::vector{call(0x1000, 0), call(0x1004, 16), call(0x1100, 0), of(0x1104, Kind::end)});
  CHECK(with_entry_code(code, {of(0x800, Kind::end), of(0x900, Kind::elsewhere)}).size() == 6);  // nothing is known from 0x900 on
}
