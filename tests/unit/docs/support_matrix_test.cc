// docs/support-matrix.md has a row for every processor, paging mode, dump format and client, and no other row.
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
  std::set<std::string> expected;
  for (const arch::Arch* arch : arch::arches())
    for (const arch::PagingMode& mode : arch->paging)
      for (const DumpFormat* format : dump_formats())
        for (const char* client : {"gdb", "lldb"})
          expected.insert(std::string(arch->name) + " " + std::string(mode.name) + " " + std::string(format->name) + " " + client);

  // What the Verified column may say is what the document's first table explains.
  std::set<std::string> grades, listed;
  std::ifstream file(TEST_DATA "/../docs/support-matrix.md");
  REQUIRE(file);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| ")) continue;
    const auto row = cells(line);
    if (row.size() == 2 && row[0] != "Verified") grades.insert(row[0]);
    if (row.size() != 5 || row[0] == "Processor") continue;
    INFO(line);
    CHECK(listed.insert(row[0] + " " + row[1] + " " + row[2] + " " + row[3]).second);
    CHECK((grades.contains(row[4]) || row[4] == "synthetic, transcript"));
  }
  CHECK(listed == expected);
}
