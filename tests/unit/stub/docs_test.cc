// docs/packets.md lists every row of the packet table, and nothing that is no row.
#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <sstream>

#include "stub/commands.h"

TEST_CASE("docs/packets.md lists every packet") {
  std::ifstream file(TEST_DATA "/../docs/packets.md");
  REQUIRE(file);
  std::set<std::string> listed, rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    const std::size_t end = line.find('`', 3);
    listed.insert(line.substr(3, end - 3));
  }
  for (const auto& row : kvm::rsp::commands()) rows.insert(std::string(row.prefix));
  for (const std::string& row : rows) CHECK((row + (listed.contains(row) ? "" : " is missing")) == row);
  for (const std::string& row : listed) CHECK((row + (rows.contains(row) ? "" : " is no packet")) == row);
}
