// Registers, in the order of the architecture's table: target.xml is made from the same table.
#include "stub/handlers.h"

namespace kvm::rsp::handle {
namespace {

void append_value(std::string& out, const RegisterFile& registers, std::size_t index) {
  const auto value = registers.get(index);
  const arch::Register& reg = registers.arch().registers[index];
  const bool zero = registers.arch().gdb_needs_pc && reg.role == arch::Role::pc;
  if (value) append_hex(out, *value);
  else out.append(2 * ((reg.bits + 7u) / 8), zero ? '0' : 'x');  // x: known to be unknown
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
  const auto value = registers.get(*index);
  if (!value) return fail(Errc::not_found);
  return hex(as_text(*value));
}

Reply write(State&, Args) { return fail(Errc::read_only, "this dump is read-only"); }

}  // namespace kvm::rsp::handle
