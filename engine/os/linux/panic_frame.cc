// Memory alone, a raw image, has no CPU's registers.  But what called panic() is still on the stack of the task that panicked, and
// there the code says itself that it is a call of panic().
#include <array>

#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::size_t call_bytes = 5;  // of a direct call, where arch::LinuxLayout::call_target knows them
constexpr std::uint64_t most_stack = 64 << 10;

std::optional<RegisterFile> before_call(const KernelView& view, VirtAddr back, VirtAddr sp) {
  RegisterFile registers(view.arch);
  const auto pc_index = register_index(view.arch, arch::Role::pc), sp_index = register_index(view.arch, arch::Role::sp);
  if (!pc_index || !sp_index) return std::nullopt;
  registers.set(view.arch.registers[*pc_index].name, back.raw - call_bytes);
  registers.set(view.arch.registers[*sp_index].name, sp.raw);
  return registers;
}

}  // namespace

Result<RegisterFile> panic_caller(const KernelView& view, VirtAddr task) {
  const auto call_target = view.arch.linux_layout ? view.arch.linux_layout->call_target : nullptr;
  if (!call_target) return fail(Errc::unsupported, "what called panic() cannot be found on stacks of " + std::string(view.arch.name));
  const VirtAddr stack = TRY(Record(view, "task_struct", task).pointer("stack"));
  const std::uint64_t size = std::min(view.types.size_of("thread_union").value_or(most_stack), most_stack), word = view.arch.pointer_bytes;
  for (std::string_view name : {"panic", "vpanic"}) {  // a panic() of v6.17 calls vpanic(), and is the caller to be found
    const auto function = view.symbols.find(name);
    for (std::uint64_t at = 0; function && at < size; at += word) {
      const auto back = view.pointer_at(stack + at);
      std::array<std::uint8_t, call_bytes> code;
      if (!back || view.space.read(*back - call_bytes, code).value_or(0) != call_bytes) continue;
      if (call_target(code, back->raw) != function->address.raw) continue;
      if (const auto registers = before_call(view, *back, stack + at + word)) return *registers;
    }
  }
  return fail(Errc::not_found, task.raw, "no call of panic() is on its stack");
}

}  // namespace kvm::os_linux
