// However the bytes of a stream are cut into reads, the packets are the same; and decoding undoes encoding.
#include <catch2/catch.hpp>
#include <random>

#include "stub/packet.h"

using namespace kvm::rsp;

namespace {

std::string random_bytes(std::mt19937& random, std::size_t most) {
  // Mostly the bytes that mean something to the protocol.
  static constexpr std::string_view special = "#$}*+-\x03 0a~";
  std::string bytes(random() % (most + 1), '\0');
  for (char& c : bytes) c = random() % 2 ? special[random() % special.size()] : static_cast<char>(random());
  return bytes;
}

void take(Decoder& decoder, std::string& log) {
  while (auto event = decoder.next()) {
    log += std::to_string(event->index());
    if (auto* packet = std::get_if<Packet>(&*event)) log += encode(packet->body);
  }
}

}  // namespace

TEST_CASE("decoding undoes encoding") {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const std::string body = random_bytes(random, 200);
    const std::string bytes = encode(body);
    CHECK(bytes.size() == 4 + body.size() + static_cast<std::size_t>(std::count_if(body.begin(), body.end(), [](char c) {
                            return c == '#' || c == '$' || c == '}' || c == '*';
                          })));
    Decoder decoder(200);
    decoder.feed(bytes);
    const auto event = decoder.next();
    REQUIRE(event);
    REQUIRE(std::holds_alternative<Packet>(*event));
    CHECK(std::get<Packet>(*event).body == body);
    CHECK_FALSE(decoder.next());
  }
}

TEST_CASE("cutting the stream anywhere gives the same events") {
  std::mt19937 random(2);
  for (int i = 0; i < 500; ++i) {
    std::string stream;
    for (int part = 0; part < 6; ++part) stream += random() % 3 ? encode(random_bytes(random, 60)) : random_bytes(random, 20);
    std::string whole_log, cut_log;
    Decoder whole(50), cut(50);
    whole.feed(stream);
    take(whole, whole_log);
    for (std::string_view rest = stream; !rest.empty();) {
      const std::size_t size = std::min<std::size_t>(rest.size(), 1 + random() % 7);
      cut.feed(rest.substr(0, size));
      if (random() % 2) take(cut, cut_log);
      rest.remove_prefix(size);
    }
    take(cut, cut_log);
    CHECK(whole_log == cut_log);
  }
}

TEST_CASE("transcript text round trip") {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    const std::string body = random_bytes(random, 100);
    CHECK(from_transcript_text(transcript_text(body)) == body);
  }
}
