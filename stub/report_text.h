// Text for people, XML and JSON out of bytes that come from a crashed machine: task names and log lines are whatever an
// attacker wrote.  And tables with aligned columns.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace kvm::rsp {

// Control characters and bytes that are no UTF-8 become \x1b and the like; the rest stays.
// Those in `kept` stay as they are.
std::string printable(std::string_view bytes, std::string_view kept = {});
// Valid UTF-8: bytes that are none become U+FFFD.
std::string utf8(std::string_view bytes);
// For an XML 1.0 attribute or element: escaped; control characters, which XML forbids even when escaped, become '?'.
std::string xml_text(std::string_view bytes);
// A quoted JSON string.
std::string json_text(std::string_view bytes);
std::string address_text(std::uint64_t address);  // "0xffffffff81000000"

class Table {
 public:
  enum class Align : std::uint8_t { left, right };
  struct Column {
    std::string_view title;
    Align align = Align::left;
  };
  explicit Table(std::initializer_list<Column> columns) : columns_(columns) {}
  // One cell per column; an empty one is shown as "-".
  void row(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace kvm::rsp
