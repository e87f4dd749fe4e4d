// A session on the fake kernel, asked packet by packet.
#pragma once

#include <string>
#include <vector>

#include "stub/packet.h"
#include "stub/session.h"
#include "tests/unit/stub/fake_kernel.h"

namespace fake {

inline const std::string gdb_hello = "qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+";

class Conversation {
 public:
  explicit Conversation(Options options = {}, rsp::Settings settings = {})
      : kernel_(make_kernel(options)), shared_(kernel_, settings), session_(shared_) {}

  // The packets that come back, acknowledgements left out.
  std::vector<std::string> ask_all(std::string_view body) {
    std::string bytes(session_.consume(rsp::encode(body)));
    while (session_.busy()) bytes += session_.consume({});
    rsp::Decoder decoder(std::size_t{1} << 30);
    decoder.feed(bytes);
    std::vector<std::string> packets;
    while (auto event = decoder.next())
      if (auto* packet = std::get_if<rsp::Packet>(&*event)) packets.push_back(std::move(packet->body));
    return packets;
  }
  // The last of them; "(none)" when nothing comes.
  std::string ask(std::string_view body) {
    const auto packets = ask_all(body);
    return packets.empty() ? "(none)" : packets.back();
  }
  Conversation& as_gdb() {
    ask(gdb_hello);
    ask("QStartNoAckMode");
    return *this;
  }
  Conversation& as_lldb() {
    ask("QStartNoAckMode");
    ask("qSupported:xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+;vfork-events+");
    ask("QThreadSuffixSupported");
    ask("QEnableErrorStrings");
    return *this;
  }
  // A whole document, read in pieces.
  std::string read(const std::string& object, std::size_t step = 0x1000) {
    std::string text;
    for (;;) {
      char range[64];
      std::snprintf(range, sizeof range, "%zx,%zx", text.size(), step);
      const std::string piece = ask("qXfer:" + object + ":" + range);
      if (piece.empty() || (piece[0] != 'm' && piece[0] != 'l')) return "(" + piece + ")";
      text += piece.substr(1);
      if (piece[0] == 'l') return text;
    }
  }
  rsp::Session& session() { return session_; }
  const Kernel& kernel() const { return kernel_; }

 private:
  Kernel kernel_;
  rsp::Shared shared_;
  rsp::Session session_;
};

}  // namespace fake
