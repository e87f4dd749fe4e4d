// The decoder on any bytes, in any pieces: memory stays bounded, and what it accepts can be sent again.
#include <cstdlib>

#include "stub/packet.h"

using namespace kvm::rsp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t most = 256;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Decoder decoder(most);
  for (std::size_t step = 1; !rest.empty(); step = step * 3 % 17 + 1) {
    const std::size_t count = std::min(step, rest.size());
    decoder.feed(rest.substr(0, count));
    rest.remove_prefix(count);
    while (auto event = decoder.next()) {
      const auto* packet = std::get_if<Packet>(&*event);
      if (!packet) continue;
      if (packet->body.size() > most) std::abort();
      Decoder again(most);
      again.feed(encode(packet->body));
      const auto same = again.next();
      if (!same || std::get<Packet>(*same).body != packet->body) std::abort();
      if (from_transcript_text(transcript_text(packet->body)) != packet->body) std::abort();
    }
  }
  return 0;
}
