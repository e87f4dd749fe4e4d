// docs/support-matrix.md has a row for every processor and paging mode, a column for every dump format and client, and no others.
#include <catch2/catch.hpp>

#include <fstream>
#include <set>
#include <sstream>

#include "engine/dump.h"

using namespace kvm;

namespace {

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

}  // namespace

TEST_CASE("docs/support-matrix.md lists every combination", "[docs]") {
  std::set<std::string> expected_rows, expected_columns{"Processor", "Paging"};
  for (const arch::Arch* arch : arch::arches())
    for (const arch::PagingMode& mode : arch->paging) expected_rows.insert(std::string(arch->name) + " " + std::string(mode.name));
  for (const DumpFormat* format : dump_formats())
    for (const char* client : {"gdb", "lldb"}) expected_columns.insert(std::string(format->name) + ", " + client);

  // What a cell may say is what the document's first table explains.
  std::set<std::string> grades, rows, columns;
  std::ifstream file(TEST_DATA "/../docs/support-matrix.md");
  REQUIRE(file);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| ")) continue;
    const auto row = cells(line);
    INFO(line);
    if (row[0] == "Processor") columns.insert(row.begin(), row.end());
    else if (columns.empty()) grades.insert(row[0]);
    else {
      CHECK(row.size() == columns.size());
      CHECK(rows.insert(row[0] + " " + row[1]).second);
      for (std::size_t i = 2; i < row.size(); ++i) CHECK(grades.contains(row[i]));
    }
  }
  CHECK(columns == expected_columns);
  CHECK(rows == expected_rows);
}
