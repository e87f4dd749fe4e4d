// The codec.  Both directions work in runs of plain bytes: a packet of 4 KiB of memory is 8 KiB of digits.
#include "stub/packet.h"

#include <algorithm>
#include <array>

namespace kvm::rsp {
namespace {

constexpr char escape_mark = '}', escape_bit = 0x20, run_mark = '*', interrupt_byte = 0x03;
constexpr std::string_view digits = "0123456789abcdef";

constexpr auto hex_table = [] {
  std::array<std::array<char, 2>, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = {digits[i >> 4], digits[i & 15]};
  return table;
}();

constexpr int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr bool needs_escape(char c) { return (c == '#') | (c == '$') | (c == '}') | (c == '*'); }

// Written without branches so that the compiler makes vectors of it: most bodies are hexadecimal.
bool is_plain(std::string_view body) {
  std::uint8_t special = 0;
  for (char c : body) special = static_cast<std::uint8_t>(special | std::uint8_t{needs_escape(c)});
  return special == 0;
}

std::uint8_t sum_of(std::string_view bytes) {
  std::uint8_t sum = 0;
  for (char c : bytes) sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(c));
  return sum;
}

constexpr std::size_t run = 16;

// Both forms of each byte are written and one is kept: memory is too random to guess branches by.
char* escape(std::string_view part, char* to) {
  for (char c : part) {
    const bool special = needs_escape(c);
    to[0] = special ? escape_mark : c;
    to[special] = static_cast<char>(special ? c ^ escape_bit : c);
    to += 1 + special;
  }
  return to;
}

}  // namespace

void Decoder::feed(std::string_view bytes) {
  pending_.erase(0, at_);
  at_ = 0;
  pending_ += bytes;
}

std::optional<Event> Decoder::next() {
  while (at_ < pending_.size()) {
    const char c = pending_[at_++];
    std::optional<Event> event;
    if (part_ == Part::outside) event = outside(c);
    else if (part_ == Part::checksum) event = checksum(c);
    else body(c);
    if (event) return event;
  }
  return std::nullopt;
}

std::optional<Event> Decoder::outside(char c) {
  if (c == '+') return Ack{};
  if (c == '-') return Nack{};
  if (c == interrupt_byte) return Interrupt{};
  if (c == '$') start();
  return std::nullopt;  // anything else is line noise, which the protocol says to ignore
}

void Decoder::start() {
  part_ = Part::body;
  body_.clear();
  trouble_ = {};
  sum_ = 0;
}

void Decoder::append(std::size_t count, char c) {
  if (body_.size() + count > max_body_) trouble_ = "packet too long";
  else body_.append(count, c);
}

void Decoder::body(char c) {
  // A `#` and a `$` are never part of a body, not even after an escape: they are how to find the next packet again.
  if (c == '#') {
    if (part_ != Part::body) trouble_ = "ends in the middle of an escape or a run";
    part_ = Part::checksum;
    high_digit_ = -1;
    return;
  }
  if (c == '$') return start();
  sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(c));
  if (!trouble_.empty()) {
    part_ = Part::body;
  } else if (part_ == Part::escape) {
    append(1, static_cast<char>(c ^ escape_bit));
    part_ = Part::body;
  } else if (part_ == Part::run) {
    // The count is coded as a printing character: ' ' repeats three times more.
    if (c < ' ' || c > '~' || body_.empty()) trouble_ = "bad run length";
    else append(static_cast<std::size_t>(c - ' ' + 3), body_.back());
    part_ = Part::body;
  } else if (c == escape_mark) {
    part_ = Part::escape;
  } else if (c == run_mark) {
    part_ = Part::run;
  } else {
    append(1, c);
  }
}

std::optional<Event> Decoder::checksum(char c) {
  const int digit = digit_value(c);
  if (digit < 0) {
    part_ = Part::outside;
    if (c == '$') start();
    return Corrupt{"bad checksum digit"};
  }
  if (high_digit_ < 0) {
    high_digit_ = digit;
    return std::nullopt;
  }
  part_ = Part::outside;
  if (!trouble_.empty()) return Corrupt{std::string(trouble_)};
  if ((high_digit_ << 4 | digit) != sum_) return Corrupt{"bad checksum"};
  return Packet{std::move(body_)};
}

void append_packet(std::string& out, std::string_view body) {
  out += '$';
  const std::size_t start = out.size();
  if (is_plain(body)) {
    out += body;
  } else {
    out.resize(start + 2 * body.size());
    char* to = out.data() + start;
    // Memory has a byte to escape here and there: most short runs have none and are copied whole.
    for (std::size_t at = 0; at < body.size(); at += run) {
      const std::string_view part = body.substr(at, run);
      if (part.size() == run && is_plain(part)) to = std::copy_n(part.data(), run, to);
      else to = escape(part, to);
    }
    out.resize(static_cast<std::size_t>(to - out.data()));
  }
  const auto& sum = hex_table[sum_of(std::string_view(out).substr(start))];
  out += '#';
  out.append(sum.data(), sum.size());
}

std::string encode(std::string_view body) {
  std::string out;
  out.reserve(body.size() + 4);
  append_packet(out, body);
  return out;
}

std::size_t fitting(std::string_view data, std::size_t limit) {
  if (data.size() <= limit / 2) return data.size();
  std::size_t used = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    used += needs_escape(data[i]) ? 2 : 1;
    if (used > limit) return i;
  }
  return data.size();
}

void append_hex(std::string& out, Bytes bytes) {
  const std::size_t start = out.size();
  out.resize(start + 2 * bytes.size());
  char* to = out.data() + start;
  // Nine and below become digits, the rest letters: arithmetic, which becomes vector code, where a table would not.
  auto digit = [](unsigned value) { return static_cast<char>(value + '0' + (value > 9) * ('a' - '0' - 10)); };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    to[2 * i] = digit(bytes[i] >> 4);
    to[2 * i + 1] = digit(bytes[i] & 15u);
  }
}

std::string hex(std::string_view bytes) {
  std::string out;
  append_hex(out, as_bytes(bytes));
  return out;
}

std::optional<std::string> unhex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit_value(text[i]), low = digit_value(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : text) {
    const int digit = digit_value(c);
    if (digit < 0 || value >> 60 != 0) return std::nullopt;
    value = value << 4 | static_cast<std::uint64_t>(digit);
  }
  return value;
}

std::optional<HexPair> parse_hex_pair(std::string_view text) {
  const std::size_t comma = text.find(',');
  if (comma == text.npos) return std::nullopt;
  const auto first = parse_hex(text.substr(0, comma)), second = parse_hex(text.substr(comma + 1));
  if (!first || !second) return std::nullopt;
  return HexPair{*first, *second};
}

std::string transcript_text(std::string_view body) {
  std::string out;
  out.reserve(body.size());
  for (char c : body) {
    if (c >= ' ' && c <= '~' && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      append_hex(out, {reinterpret_cast<const std::uint8_t*>(&c), 1});
    }
  }
  return out;
}

std::optional<std::string> from_transcript_text(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const auto byte = text.substr(i, 2) == "\\x" ? unhex(text.substr(i + 2, 2)) : std::nullopt;
    if (!byte || byte->empty()) return std::nullopt;
    out += *byte;
    i += 3;
  }
  return out;
}

}  // namespace kvm::rsp
