#include "stub/packet.h"

#include <catch2/catch.hpp>

using namespace kvm::rsp;

namespace {

// Events as text: "packet BODY", "ack", "corrupt WHY".
std::vector<std::string> events(std::string_view bytes, std::size_t max_body = 1000) {
  Decoder decoder(max_body);
  decoder.feed(bytes);
  std::vector<std::string> all;
  while (auto event = decoder.next()) {
    if (auto* packet = std::get_if<Packet>(&*event)) all.push_back("packet " + packet->body);
    else if (auto* corrupt = std::get_if<Corrupt>(&*event)) all.push_back("corrupt " + corrupt->why);
    else if (std::holds_alternative<Ack>(*event)) all.push_back("ack");
    else if (std::holds_alternative<Nack>(*event)) all.push_back("nack");
    else all.push_back("interrupt");
  }
  return all;
}

using All = std::vector<std::string>;

}  // namespace

TEST_CASE("packets are framed as the manual's examples are") {
  CHECK(encode("OK") == "$OK#9a");
  CHECK(encode("") == "$#00");
  CHECK(encode("a#b$c}d*e") == "$a}\x03" "b}\x04" "c}]d}\x0a" "e#51");
  CHECK(events("+$OK#9a-\x03$#00") == All{"ack", "packet OK", "nack", "interrupt", "packet "});
  CHECK(events("$OK#9A") == All{"packet OK"});
}

TEST_CASE("escapes and run lengths are undone") {
  CHECK(events("$a}\x03" "b#" "43") == All{"packet a#b"});
  CHECK(events("$0* #7a") == All{"packet 0000"});  // gdb manual, "Overview"
  CHECK(events("$* #4a") == All{"corrupt bad run length"});
  CHECK(events("$a*\x1f#aa") == All{"corrupt bad run length"});
  CHECK(events("$a}#de") == All{"corrupt ends in the middle of an escape or a run"});
}

TEST_CASE("damage costs one packet") {
  CHECK(events("$OK#9b$OK#9a") == All{"corrupt bad checksum", "packet OK"});
  CHECK(events("$OK#zz$OK#9a") == All{"corrupt bad checksum digit", "packet OK"});
  CHECK(events("$OK#9$OK#9a") == All{"corrupt bad checksum digit", "packet OK"});
  CHECK(events("$never ended $OK#9a") == All{"packet OK"});
  CHECK(events("noise$OK#9a") == All{"packet OK"});
}

TEST_CASE("a packet that is too long is skipped, not stored") {
  CHECK(events("$" + std::string(5000, 'a') + "#28$OK#9a") == All{"corrupt packet too long", "packet OK"});
  CHECK(events("$a" + std::string("*~", 1) + std::string(2000, '~') + "#00$OK#9a", 100).back() == "packet OK");
  Decoder decoder(100);
  decoder.feed("$");
  for (int i = 0; i < 1000; ++i) {
    decoder.feed(std::string(1000, '}'));
    CHECK_FALSE(decoder.next());
    CHECK(decoder.empty());
  }
}

TEST_CASE("fitting counts escapes") {
  CHECK(fitting("abc", 3) == 3);
  CHECK(fitting("abc", 2) == 2);
  CHECK(fitting("#$}*", 8) == 4);
  CHECK(fitting("#$}*", 7) == 3);
  CHECK(fitting("", 0) == 0);
}

TEST_CASE("hexadecimal numbers are whole and do not overflow") {
  CHECK(parse_hex("0") == 0);
  CHECK(parse_hex("ffffFFFFffffFFFF") == ~std::uint64_t{0});
  CHECK(parse_hex("0000000000000000001f") == 0x1f);
  for (auto text : {"", "g", "0x1", "-1", "10000000000000000", " 1", "1 "}) CHECK_FALSE(parse_hex(text));
  CHECK(parse_hex_pair("10,20")->second == 0x20);
  for (auto text : {"", ",", "1", "1,", ",1", "1,2,3"}) CHECK_FALSE(parse_hex_pair(text));
  CHECK(unhex("4f4B") == "OK");
  CHECK_FALSE(unhex("4f4"));
  CHECK_FALSE(unhex("zz"));
}

TEST_CASE("transcript text is printable and can be read back") {
  CHECK(transcript_text(std::string("a\\b\x00\xff", 5)) == "a\\x5cb\\x00\\xff");
  CHECK(from_transcript_text("a\\x5cb\\x00\\xff") == std::string("a\\b\x00\xff", 5));
  CHECK_FALSE(from_transcript_text("\\y"));
  CHECK_FALSE(from_transcript_text("\\x1"));
}
