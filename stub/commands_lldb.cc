// What only lldb asks.  LLVM's docs/resources/lldbgdbremote.md.
#include <fmt/format.h>

#include "stub/handlers.h"

namespace kvm::rsp::handle {
namespace {

// "none" is the system: with "linux" lldb expects a dynamic linker and looks at this machine's process of the same pid.
std::string machine_fields(const arch::Arch& arch) {
  return fmt::format("triple:{};ptrsize:{};endian:{};", hex(std::string(arch.triple) + "-unknown-none"), arch.pointer_bytes,
                     arch.endian == std::endian::little ? "little" : "big");
}

}  // namespace

// Its registers and memory packets then say which thread they are about.
Reply thread_suffix(State& s, Args) {
  s.client = Client::lldb;
  s.multiprocess = false;
  return "OK";
}

Reply enable_error_strings(State& s, Args) {
  s.error_strings = true;
  return "OK";
}

// lldb takes an answer that comes later than after 5 seconds for the next question's.
Reply host_info(State& s, Args) { return machine_fields(s.kernel().arch()) + "default_packet_timeout:60;"; }

// The build id lets lldb check the user's vmlinux, or find one; the slide is KASLR's.  It complains when it finds none.
Reply process_info(State& s, Args) {
  std::string reply = fmt::format("pid:{:x};{}ostype:none;", s.dialect().pid, machine_fields(s.kernel().arch()));
  if (const std::string& id = s.kernel().build_id(); !id.empty() && !s.shared.settings.image_only)
    reply += fmt::format("main-binary-uuid:{};main-binary-slide:{:x};", id, s.kernel().map().slide);
  return reply;
}

Reply version(State&, Args) { return "name:inquest;version:0.1.0;"; }

}  // namespace kvm::rsp::handle
