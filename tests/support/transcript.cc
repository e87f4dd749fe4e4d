// See transcript.h.
#include "tests/support/transcript.h"

#include <deque>

#include "stub/packet.h"

namespace kvm::test {
namespace {

std::deque<std::string> answers(rsp::Session& session, std::string_view body) {
  std::string bytes(session.consume(rsp::encode(body)));
  while (session.busy()) bytes += session.consume({});
  rsp::Decoder decoder(std::size_t{1} << 30);
  decoder.feed(bytes);
  std::deque<std::string> bodies;
  while (auto event = decoder.next())
    if (auto* packet = std::get_if<rsp::Packet>(&*event)) bodies.push_back(std::move(packet->body));
  return bodies;
}

std::string complaint(unsigned line, std::string_view expected, std::string_view got) {
  return "line " + std::to_string(line) + ": expected: " + std::string(expected) + "\n          got: " + rsp::transcript_text(got);
}

}  // namespace

std::string replay(rsp::Session& session, std::string_view transcript) {
  std::deque<std::string> waiting;
  for (unsigned line = 1; !transcript.empty(); ++line) {
    const std::size_t end = std::min(transcript.find('\n'), transcript.size());
    const std::string_view text = transcript.substr(0, end);
    transcript.remove_prefix(std::min(end + 1, transcript.size()));
    const bool prefix = text.starts_with("<~ ");
    if (text.starts_with("> ") || text == ">") {
      if (!waiting.empty()) return complaint(line, "no more replies", waiting.front());
      const auto body = rsp::from_transcript_text(text.substr(std::min<std::size_t>(2, text.size())));
      if (!body) return complaint(line, "a line of a transcript", text);
      waiting = answers(session, *body);
    } else if (text.starts_with("< ") || text == "<" || prefix) {
      const std::string_view expected = text.substr(std::min<std::size_t>(prefix ? 3 : 2, text.size()));
      if (waiting.empty()) return complaint(line, expected, "(nothing)");
      const std::string got = rsp::transcript_text(waiting.front());
      if (prefix ? !got.starts_with(expected) : got != expected) return complaint(line, expected, waiting.front());
      waiting.pop_front();
    }
  }
  return waiting.empty() ? "" : complaint(0, "no more replies", waiting.front());
}

}  // namespace kvm::test
