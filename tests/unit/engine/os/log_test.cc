// The kernel log out of the printk ring buffer.
#include <catch2/catch.hpp>

#include "engine/os/linux/model.h"
#include "tests/support/printk_ring.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

using Ring = kvm::testing::PrintkRing;
using Texts = std::vector<std::string>;
constexpr auto reserved = kvm::testing::Desc::reserved, committed = kvm::testing::Desc::committed,
               finalized = kvm::testing::Desc::finalized, reusable = kvm::testing::Desc::reusable;

Texts texts(const FakeKernel& kernel) {
  auto lines = os_linux::read_log(kernel.view());
  if (!lines) return {"error"};
  Texts texts;
  for (const LogLine& line : *lines) texts.push_back(line.text);
  return texts;
}

}  // namespace

TEST_CASE("records in order, with time and level", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 2);
  ring.record(0, "Linux version 6.1.0");
  ring.record(1, "Command line: quiet", committed, 5);
  ring.record(2, "Kernel panic - not syncing: test", finalized, 0);
  auto lines = os_linux::read_log(kernel.view());
  REQUIRE(lines);
  REQUIRE(lines->size() == 3);
  CHECK((*lines)[0].text == "Linux version 6.1.0");
  CHECK((*lines)[0].nanoseconds == 1000);
  CHECK((*lines)[0].level == 6);
  CHECK((*lines)[1].level == 5);
  CHECK((*lines)[2].level == 0);
  CHECK((*lines)[2].nanoseconds == 1002);
}

TEST_CASE("a record that does not fit at the ring's end lies at its beginning", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 1);
  ring.move_to(256 - 24);
  ring.record(0, "sixteen letters!");  // would end exactly at the end: still moved
  ring.record(1, "after the wrap");
  CHECK(texts(kernel) == Texts{"sixteen letters!", "after the wrap"});

  ring.window(2, 3);
  ring.move_to(2 * 256 - 8);
  ring.record(2, "only the id would fit");
  ring.record(3, "next");
  CHECK(texts(kernel) == Texts{"only the id would fit", "next"});
}

TEST_CASE("a record that ends exactly at the ring's end without moving", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 0);
  ring.record(0, std::string(256 - 8, 'x'));  // wraps in the writer above ...
  ring.describe(0, finalized, 0, 256, 256 - 8);  // ... but as kernels since 6.19 may describe it
  CHECK(texts(kernel) == Texts{std::string(256 - 8, 'x')});
}

TEST_CASE("ids wrap around the descriptor ring and around 62 bits", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(13, 17);
  for (std::uint64_t id = 13; id <= 17; ++id) ring.record(id, "id " + std::to_string(id));
  CHECK(texts(kernel) == Texts{"id 13", "id 14", "id 15", "id 16", "id 17"});

  // head_id and tail_id hold 62-bit ids.
  constexpr std::uint64_t last = ~std::uint64_t{0} >> 2;
  ring.move_to(0);
  ring.window(last - 1, 0);
  ring.record(last - 1, "before");
  ring.record(last, "at the end");
  ring.record(0, "beyond");
  CHECK(texts(kernel) == Texts{"before", "at the end", "beyond"});
}

TEST_CASE("records without text keep their place", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 2);
  ring.record(0, "one");
  ring.describe(1, finalized, 3, 3, 0);  // NO_LPOS: an empty line
  ring.describe(2, finalized, 1, 1, 40);  // FAILED_LPOS: the text found no room
  CHECK(texts(kernel) == Texts{"one", "", ""});
}

TEST_CASE("reserved, reusable and foreign descriptors are not records", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 4);
  ring.record(0, "one");
  ring.record(1, "being written", reserved);
  ring.record(2, "thrown away", reusable);
  ring.record(3 + 8, "of another lap");
  ring.record(4, "five");
  CHECK(texts(kernel) == Texts{"one", "five"});
}

TEST_CASE("positions that make no sense yield no text", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 3);
  ring.describe(0, finalized, 64, 32, 20);             // ends before it begins
  ring.describe(1, finalized, 64, 68, 20);             // shorter than an id
  ring.describe(2, finalized, 0, 64, 0xffff);          // says more than it has
  ring.describe(3, finalized, 0, ~0ull << 1, 0xffff);  // laps ahead
  const Texts found = texts(kernel);
  REQUIRE(found.size() == 4);
  CHECK(found[0].empty());
  CHECK(found[1].empty());
  CHECK(found[2].size() <= 56);
  CHECK(found[3].size() <= 248);
}

TEST_CASE("a ring whose sizes make no sense is an error", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 0);
  ring.set("desc_ring.count_bits", 64);
  CHECK(texts(kernel) == Texts{"error"});
  ring.set("desc_ring.count_bits", 3);
  ring.set("desc_ring.tail_id.counter", 1);  // tail ahead of head: nearly as many records as there are ids
  CHECK(texts(kernel).size() <= 8);
}

TEST_CASE("without the ring there is no log", "[linux][log]") {
  FakeKernel kernel;
  CHECK(os_linux::read_log(kernel.view()).error().code == Errc::not_found);
  kernel.variable("prb", 8, 0x10);
  CHECK(!os_linux::read_log(kernel.view()));
}
