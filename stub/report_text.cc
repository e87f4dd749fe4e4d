// See report_text.h.  UTF-8 as in Unicode's table 3-7 "Well-Formed UTF-8 Byte Sequences": no overlong forms, no surrogates.
#include "stub/report_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "stub/json.h"

namespace kvm::rsp {
namespace {

bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

// Bytes of the well-formed sequence at the start of `text`; 0: there is none.
std::size_t sequence_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto tail = [&](std::size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xbf; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned low = first == 0xe0 ? 0xa0 : 0x80, high = first == 0xed ? 0x9f : 0xbf;
    return second >= low && second <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned low = first == 0xf0 ? 0x90 : 0x80, high = first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// Control characters that hide beyond ASCII: the terminal takes U+0080 to U+009F for commands, too.
bool is_c1(std::string_view sequence) {
  return sequence.size() == 2 && sequence[0] == '\xc2' && static_cast<unsigned char>(sequence[1]) < 0xa0;
}

// Calls plain(sequence) for well-formed characters and bad(byte) for other bytes.
template <class Plain, class Bad>
void each_character(std::string_view bytes, Plain plain, Bad bad) {
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    if (length) plain(bytes.substr(0, length));
    else bad(static_cast<unsigned char>(bytes[0]));
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

// The width on a terminal, near enough: one column per character.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string printable(std::string_view bytes, std::string_view kept) {
  std::string out;
  auto code = [&](unsigned char c) { out += fmt::format("\\x{:02x}", c); };
  each_character(bytes, [&](std::string_view c) {
    const bool control = is_control(static_cast<unsigned char>(c[0])) && kept.find(c[0]) == kept.npos;
    if (control || is_c1(c)) for (char byte : c) code(static_cast<unsigned char>(byte));
    else out += c;
  }, code);
  return out;
}

std::string utf8(std::string_view bytes) {
  std::string out;
  each_character(bytes, [&](std::string_view c) { out += c; }, [&](unsigned char) { out += "\xef\xbf\xbd"; });
  return out;
}

std::string xml_text(std::string_view bytes) {
  std::string out;
  each_character(bytes, [&](std::string_view c) {
    switch (c[0]) {
      case '&': out += "&amp;"; return;
      case '<': out += "&lt;"; return;
      case '>': out += "&gt;"; return;
      case '"': out += "&quot;"; return;
      case '\'': out += "&apos;"; return;
      default: break;
    }
    // U+FFFE and U+FFFF are no characters for XML either.
    const bool none = c == "\xef\xbf\xbe" || c == "\xef\xbf\xbf";
    if (is_control(static_cast<unsigned char>(c[0])) || is_c1(c) || none) out += '?';
    else out += c;
  }, [&](unsigned char) { out += '?'; });
  return out;
}

std::string json_text(std::string_view bytes) { return json::serialize(json::value(utf8(bytes))); }

std::string address_text(std::uint64_t address) { return fmt::format("{:#x}", address); }

void Table::row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells)
    if (cell.empty()) cell.assign(1, '-');
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    widths.push_back(columns_[i].title.size());
    for (const auto& cells : rows_) widths[i] = std::max(widths[i], width(cells[i]));
  }
  std::string out;
  auto line = [&](const auto& cell_of) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string_view cell = cell_of(i);
      const std::string space(widths[i] - width(cell), ' ');
      if (i) out += "  ";
      if (columns_[i].align == Align::right) out += space;
      out += cell;
      if (columns_[i].align == Align::left && i + 1 < columns_.size()) out += space;
    }
    out += '\n';
  };
  line([&](std::size_t i) { return columns_[i].title; });
  for (const auto& cells : rows_) line([&](std::size_t i) { return std::string_view(cells[i]); });
  return out;
}

}  // namespace kvm::rsp
