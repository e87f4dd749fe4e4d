// Bytes to packets and back.  Knows framing, escapes, checksums and run lengths; knows no command.
// gdb manual, "Overview" of the remote protocol.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace kvm::rsp {

struct Packet { std::string body; };  // unescaped
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

 private:
  std::size_t max_body_;
  std::string pending_;
  std::size_t at_ = 0;
  bool skipping_ = false;
};

// `$body#cc` with `# $ } *` escaped.
std::string encode(std::string_view body);
std::string hex(std::string_view bytes);
std::optional<std::string> unhex(std::string_view digits);
// Whole-string hexadecimal without sign or prefix; none on overflow or any other character.
std::optional<std::uint64_t> parse_hex(std::string_view digits);

}  // namespace kvm::rsp
