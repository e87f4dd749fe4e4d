// Registers, in the order of the architecture's table: target.xml is made from the same table.
#include "stub/handlers.h"

namespace kvm::rsp::handle {
namespace {

bool is_zero_if_unknown(const arch::Arch& arch, std::size_t index) { return arch.gdb_needs_pc && arch.registers[index].role == arch::Role::pc; }

void append_value(std::string& out, const RegisterFile& registers, std::size_t index) {
  const auto value = registers.get(index);
  const std::size_t digits = 2 * ((registers.arch().registers[index].bits + 7u) / 8);
  if (value) append_hex(out, *value);
  else out.append(digits, is_zero_if_unknown(registers.arch(), index) ? '0' : 'x');  // x: known to be unknown
}

}  // namespace

Reply read_registers(State& s, Args args) {
  const RegisterFile& registers = s.registers(TRY(take_thread_suffix(s, args)));
  if (!args.empty()) return fail(Errc::bad_request);
  std::string reply;
  for (std::size_t i = 0; i < registers.arch().registers.size(); ++i) append_value(reply, registers, i);
  return reply;
}

Reply read_register(State& s, Args args) {
  const RegisterFile& registers = s.registers(TRY(take_thread_suffix(s, args)));
  const auto index = parse_hex(args);
  if (!index || *index >= registers.arch().registers.size()) return fail(Errc::bad_request);
  if (!registers.get(*index) && !is_zero_if_unknown(registers.arch(), *index)) return fail(Errc::not_found);
  std::string reply;
  append_value(reply, registers, *index);
  return reply;
}

Reply write(State&, Args) { return fail(Errc::read_only, "this dump is read-only"); }

}  // namespace kvm::rsp::handle
