// See xml_check.h.
#include "tests/support/xml_check.h"

#include <cctype>
#include <set>
#include <vector>

namespace kvm::testing {
namespace {

bool is_name(std::string_view text) {
  if (text.empty() || !(std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_')) return false;
  for (char c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view("_-.:").find(c) == std::string_view::npos) return false;
  return true;
}

// `tag` is what stands between the element's name and `>`.
std::string attributes_problem(std::string_view tag) {
  std::set<std::string_view> seen;
  while (true) {
    const std::size_t start = tag.find_first_not_of(" \n\t");
    if (start == tag.npos) return {};
    const std::size_t equals = tag.find("=\"", start);
    if (equals == tag.npos) return "attribute without a quoted value";
    const std::string_view name = tag.substr(start, equals - start);
    const std::size_t end = tag.find('"', equals + 2);
    if (!is_name(name)) return "bad attribute name '" + std::string(name) + "'";
    if (end == tag.npos) return "value of '" + std::string(name) + "' does not end";
    if (tag.substr(equals + 2, end - equals - 2).find_first_of("<&") != tag.npos) return "unescaped character in '" + std::string(name) + "'";
    if (!seen.insert(name).second) return "attribute '" + std::string(name) + "' twice";
    tag.remove_prefix(end + 1);
    if (!tag.empty() && tag.find_first_of(" \n\t") != 0) return "no space after '" + std::string(name) + "'";
  }
}

}  // namespace

std::string xml_problem(std::string_view document) {
  std::vector<std::string_view> open;
  std::size_t roots = 0;
  if (!document.starts_with("<?xml version=\"1.0\"")) return "no XML declaration";
  for (std::size_t at = 0; (at = document.find('<', at)) != document.npos;) {
    const std::size_t end = document.find('>', at);
    if (end == document.npos) return "a tag does not end";
    std::string_view tag = document.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.starts_with('?') || tag.starts_with('!')) continue;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return "</" + std::string(tag.substr(1)) + "> closes nothing";
      open.pop_back();
      continue;
    }
    const bool empty = tag.ends_with('/');
    if (empty) tag.remove_suffix(1);
    const std::string_view name = tag.substr(0, tag.find_first_of(" \n\t"));
    if (!is_name(name)) return "bad element name '" + std::string(name) + "'";
    if (auto problem = attributes_problem(tag.substr(name.size())); !problem.empty()) return std::string(name) + ": " + problem;
    if (open.empty() && ++roots > 1) return "more than one root element";
    if (!empty) open.push_back(name);
  }
  if (!open.empty()) return "<" + std::string(open.back()) + "> is not closed";
  return roots == 1 ? "" : "no root element";
}

}  // namespace kvm::testing
