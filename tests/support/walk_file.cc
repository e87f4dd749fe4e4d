// See walk_file.h for the format.
#include "tests/support/walk_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace kvm::testing {
namespace {

std::uint64_t number(const std::string& text) {
  std::size_t used = 0;
  const std::uint64_t value = std::stoull(text, &used, 0);
  if (used != text.size()) throw std::runtime_error("'" + text + "' is not a number");
  return value;
}

std::uint64_t page_size(const std::string& text) {
  const std::string units = "KMGT";
  const std::size_t unit = text.empty() ? units.npos : units.find(text.back());
  if (unit == units.npos) throw std::runtime_error("'" + text + "' is not a page size");
  return number(text.substr(0, text.size() - 1)) << (10 * (unit + 1));
}

Access access_of(const std::string& letters) {
  if (letters.size() != 4 || letters[0] != 'r') throw std::runtime_error("'" + letters + "' is not like rwxu");
  return {letters[1] == 'w', letters[2] == 'x', letters[3] == 'u'};
}

WalkCheck read_check(const std::vector<std::string>& words) {
  WalkCheck check;
  check.virt = {number(words.at(0))};
  if (words.at(1) == "->") {
    const std::uint64_t size = page_size(words.at(3));
    check.phys = PhysAddr{number(words.at(2))};
    check.extent = {{check.virt.raw & ~(size - 1)}, {check.virt.raw | (size - 1)}, PhysAddr{check.phys->raw & ~(size - 1)}, access_of(words.at(4))};
  } else if (words.at(1) == "hole") {
    check.extent = {{number(words.at(2))}, {number(words.at(3))}, std::nullopt, {}};
  } else if (words.at(1) == "not_in_dump") {
    check.error = Errc::not_in_dump;
  } else if (words.at(1) == "lost") {
    check.error = Errc::lost;
  } else {
    throw std::runtime_error("'" + words[1] + "' is no expectation");
  }
  return check;
}

void read_line(const std::vector<std::string>& words, const std::string& where, std::vector<WalkCase>& cases) {
  const std::string& key = words[0];
  if (key == "mode") {
    cases.emplace_back().mode = words.at(1);
    return;
  }
  if (cases.empty()) throw std::runtime_error("the first line must be `mode`");
  WalkCase& now = cases.back();
  if (key == "root") {
    now.low = now.high = {number(words.at(1))};
    if (words.size() > 2) now.high = {number(words[2])};
  } else if (key == "empty") {
    for (std::size_t i = 1; i < words.size(); ++i) now.empty.at(i - 1) = {number(words[i])};
  } else if (key == "clear") now.clear = number(words.at(1));
  else if (key == "order") now.order = words.at(1) == "big" ? std::endian::big : std::endian::little;
  else if (key == "bytes") now.entry_bytes = number(words.at(1));
  else if (key == "absent") now.memory.exclude({number(words.at(1))});
  else if (key == "lost") now.memory.lose({number(words.at(1))});
  else if (key.ends_with(":")) {
    now.entries.push_back({{number(key.substr(0, key.size() - 1))}, number(words.at(1))});
    now.memory.put_number(now.entries.back().first, now.entries.back().second, now.entry_bytes, now.order);
  } else {
    now.checks.push_back(read_check(words));
    now.checks.back().where = where;
  }
}

}  // namespace

std::vector<WalkCase> read_walk_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  const std::string name = std::filesystem::path(path).filename().string();
  std::vector<WalkCase> cases;
  std::size_t line_number = 0;
  for (std::string line; std::getline(file, line);) {
    const std::string where = name + ":" + std::to_string(++line_number);
    std::istringstream text(line.substr(0, line.find('#')));
    std::vector<std::string> words;
    for (std::string word; text >> word;) words.push_back(word);
    if (words.empty()) continue;
    try {
      read_line(words, where, cases);
    } catch (const std::exception& problem) {
      throw std::runtime_error(where + ": " + problem.what());
    }
  }
  return cases;
}

}  // namespace kvm::testing
