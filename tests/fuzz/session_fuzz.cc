// A session on the fake kernel, fed lines: each line of the input is a packet's body, or raw bytes when it begins with '!'.
#include <cstdlib>

#include "stub/packet.h"
#include "stub/session.h"
#include "tests/unit/stub/fake_kernel.h"

using namespace kvm::rsp;

namespace {

// Every reply must be whole packets of at most the agreed size; what is made for lldb (stop replies, JSON) has no such limit.
void check(const std::string& out, bool gdb, std::size_t packet_size) {
  Decoder decoder(std::size_t{1} << 24);
  decoder.feed(out);
  while (auto event = decoder.next()) {
    if (std::holds_alternative<Corrupt>(*event)) std::abort();
    const auto* packet = std::get_if<Packet>(&*event);
    if (packet && gdb && !packet->body.starts_with('[') && encode(packet->body).size() > packet_size + 4) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const kvm::Kernel kernel = fake::make_kernel();
  static constexpr std::size_t packet_size = 0x400;
  static const Shared shared(kernel, {.packet_size = packet_size});
  Session session(shared);
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty() && !session.finished()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::string out(session.consume(line.starts_with('!') ? std::string(line.substr(1)) : encode(line)));
    for (int turns = 0; session.busy() && turns < 10000; ++turns) out += session.consume({});
    if (session.busy()) std::abort();
    check(out, session.client() == Client::gdb, packet_size);
  }
  return 0;
}
