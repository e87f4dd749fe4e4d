// Bytes to packets and back.  Knows framing, escapes, checksums and run lengths; knows no command.
// gdb manual, "Overview" of the remote protocol.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "engine/types.h"

namespace kvm::rsp {

struct Packet { std::string body; };  // unescaped, run lengths expanded
struct Ack {};
struct Nack {};
struct Interrupt {};                  // byte 0x03 outside a packet
struct Corrupt { std::string why; };  // bad checksum, bad escape, longer than allowed
using Event = std::variant<Packet, Ack, Nack, Interrupt, Corrupt>;

class Decoder {
 public:
  // A body longer than `max_body` yields Corrupt and is skipped to its end; memory stays bounded.
  explicit Decoder(std::size_t max_body) : max_body_(max_body) {}
  void feed(std::string_view bytes);
  std::optional<Event> next();
  bool empty() const { return at_ == pending_.size(); }  // every byte fed has been looked at

 private:
  enum class Part : std::uint8_t { outside, body, escape, run, checksum };

  std::optional<Event> outside(char c);
  void body(char c);
  std::optional<Event> checksum(char c);
  void append(std::size_t count, char c);
  void start();

  std::size_t max_body_;
  std::string pending_;  // bytes not looked at yet: from `at_`
  std::size_t at_ = 0;
  Part part_ = Part::outside;
  std::string body_;          // of the packet being read
  std::string_view trouble_;  // why it is corrupt; empty: it is not, so far
  std::uint8_t sum_ = 0;
  int high_digit_ = -1;       // first digit of the checksum, once read
};

// `$body#cc` with `# $ } *` escaped.
std::string encode(std::string_view body);
void append_packet(std::string& out, std::string_view body);
// How many bytes from the start of `data` take at most `limit` bytes once escaped.
std::size_t fitting(std::string_view data, std::size_t limit);

std::string hex(std::string_view bytes);
void append_hex(std::string& out, Bytes bytes);
std::optional<std::string> unhex(std::string_view digits);
// Whole-string hexadecimal without sign or prefix; none on overflow or any other character.
std::optional<std::uint64_t> parse_hex(std::string_view digits);
// "ADDRESS,LENGTH" and the like: two hexadecimal numbers.
struct HexPair { std::uint64_t first, second; };
std::optional<HexPair> parse_hex_pair(std::string_view text);

// A packet's body as a line of a transcript: bytes that do not print, and the backslash, become \xNN.
std::string transcript_text(std::string_view body);
std::optional<std::string> from_transcript_text(std::string_view text);

inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes as_bytes(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

}  // namespace kvm::rsp
