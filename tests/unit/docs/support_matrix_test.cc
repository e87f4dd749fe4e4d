// docs/support-matrix.md has a row for every processor and paging mode, a column for every dump format and client, and no others;
// and its words about how that was verified name tests that exist, and dumps where there are such.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "engine/dump.h"

using namespace kvm;

namespace {

const std::string root = std::string(TEST_DATA) + "/..";

// Cells of a table's line, without the spaces around them.
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream text(line.substr(1));
  for (std::string cell; std::getline(text, cell, '|');) {
    const auto first = cell.find_first_not_of(' '), last = cell.find_last_not_of(' ');
    cells.push_back(first == cell.npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

using Table = std::vector<std::vector<std::string>>;

// The document's tables, headings first.
std::vector<Table> tables() {
  std::vector<Table> tables;
  std::ifstream file(root + "/docs/support-matrix.md");
  REQUIRE(file);
  bool inside = false;
  for (std::string line; std::getline(file, line); inside = line.starts_with("|")) {
    if (!line.starts_with("|") || line.starts_with("|-")) continue;
    if (!inside) tables.emplace_back();
    tables.back().push_back(cells(line));
  }
  return tables;
}

std::set<std::string> quoted(const std::string& text) {
  static const std::regex word("`([^`]+)`");
  std::set<std::string> words;
  for (std::sregex_iterator at(text.begin(), text.end(), word), end; at != end; ++at) words.insert((*at)[1]);
  return words;
}

// KERNEL/CRASH, of every row of the corpus.
std::set<std::string> guests() {
  std::ifstream file(root + "/tests/corpus/crashes.py");
  REQUIRE(file);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  static const std::regex crash("\\bCrash\\(\"([^\"]+)\"(?:, kernels=\\(([^)]*)\\))?"), name("\"([^\"]+)\"");
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), crash), end; at != end; ++at) {
    const std::string kernels = (*at)[2].matched ? (*at)[2].str() : "\"6.1\", \"6.12\"";
    for (std::sregex_iterator kernel(kernels.begin(), kernels.end(), name); kernel != end; ++kernel)
      found.insert((*kernel)[1].str() + "/" + (*at)[1].str());
  }
  return found;
}

bool is_real(const std::string& word) { return word == "gdb" || word == "lldb" || word == "program"; }

// A debugger's word stands in its own column.
bool may_stand(const std::string& word, const std::string& column) {
  const bool lldb = column.ends_with(", lldb");
  return word == "gdb" ? !lldb : word == "lldb" || word == "transcript" ? lldb : true;
}

}  // namespace

TEST_CASE("docs/support-matrix.md lists every combination", "[docs]") {
  std::set<std::string> expected_rows, expected_columns{"Processor", "Paging"};
  for (const arch::Arch* arch : arch::arches()) {
    if (arch->paging.empty()) expected_rows.insert(std::string(arch->name) + " none");
    for (const arch::PagingMode& mode : arch->paging) expected_rows.insert(std::string(arch->name) + " " + std::string(mode.name));
  }
  for (const DumpFormat* format : dump_formats())
    for (const char* client : {"gdb", "lldb"}) expected_columns.insert(std::string(format->name) + ", " + client);

  const auto all = tables();
  REQUIRE(all.size() == 3);
  const Table& matrix = all[1];
  std::set<std::string> rows;
  for (std::size_t i = 1; i < matrix.size(); ++i) CHECK(rows.insert(matrix[i][0] + " " + matrix[i][1]).second);
  CHECK(std::set(matrix[0].begin(), matrix[0].end()) == expected_columns);
  CHECK(rows == expected_rows);
}

TEST_CASE("docs/support-matrix.md says how each was verified, in words that it explains", "[docs]") {
  const auto all = tables();
  REQUIRE(all.size() == 3);
  std::map<std::string, bool> words;  // whether it is used
  for (std::size_t i = 1; i < all[0].size(); ++i) {
    const auto& row = all[0][i];
    INFO(row[0]);
    CHECK(words.emplace(row[0], false).second);
    CHECK(!quoted(row[1]).empty());
    // What the explanation names is there: files with or without their folder, programs of ours aside.
    for (std::string path : quoted(row[1]))
      if (path != "inquest") {
        INFO(path);
        CHECK((std::filesystem::exists(root + "/" + path) || std::filesystem::exists(root + "/tests/e2e/" + path)));
      }
  }
  const Table& matrix = all[1];
  for (std::size_t i = 1; i < matrix.size(); ++i) {
    INFO(matrix[i][0] << " " << matrix[i][1]);
    REQUIRE(matrix[i].size() == matrix[0].size());
    for (std::size_t column = 2; column < matrix[i].size(); ++column) {
      const std::string& word = matrix[i][column];
      INFO(matrix[0][column] << ": " << word);
      const auto known = words.find(word);
      REQUIRE(known != words.end());
      known->second = true;
      CHECK(may_stand(word, matrix[0][column]));
    }
  }
  for (const auto& [word, used] : words) {
    INFO(word);
    CHECK(used);
  }
}

TEST_CASE("docs/support-matrix.md names a guest where it speaks of real dumps, and only there", "[docs]") {
  const auto all = tables();
  REQUIRE(all.size() == 3);
  const auto known = guests();
  CHECK(known.contains("6.12/qemu5"));
  CHECK(known.contains("arm64-6.12-16k/qemu"));
  std::set<std::string> real, named;
  for (std::size_t i = 1; i < all[1].size(); ++i)
    for (std::size_t column = 2; column < all[1][i].size(); ++column)
      if (is_real(all[1][i][column])) real.insert(all[1][i][0] + " " + all[1][i][1]);
  for (std::size_t i = 1; i < all[2].size(); ++i) {
    const auto& row = all[2][i];
    INFO(row[0] << " " << row[1]);
    REQUIRE(row.size() == 3);
    CHECK(named.insert(row[0] + " " + row[1]).second);
    CHECK(!quoted(row[2]).empty());
    // A crash of the corpus, or a file of the tests that says where else the dump comes from.
    for (const std::string& guest : quoted(row[2])) {
      INFO(guest);
      CHECK((known.contains(guest) || std::filesystem::exists(root + "/" + guest)));
    }
  }
  CHECK(named == real);
}
