// Kernel structures by member name.
#include "engine/record.h"

#include <catch2/catch.hpp>

#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

TEST_CASE("numbers have their member's width and sign", "[record]") {
  FakeKernel kernel;
  kernel.types.define("thing", 0x40, "byte 0 u1; half 2 s2; word 4 u4; minus 8 s4; wide 0x10 u8; big 0x20 u16; none 0x30 u0");
  const VirtAddr at = kernel.allocate(0x40);
  const KernelView view = kernel.view();
  kernel.put(at, 0xfe, 1);
  kernel.put(at + 2, 0x8000, 2);
  kernel.put(at + 4, 0xdeadbeef, 4);
  kernel.put(at + 8, 0xffffffff, 4);
  kernel.put(at + 0x10, 0x0123456789abcdef);
  const Record thing(view, "thing", at);
  CHECK(thing.number("byte") == 0xfeu);
  CHECK(thing.number("half") == 0xffffffffffff8000u);
  CHECK(thing.number("word") == 0xdeadbeefu);
  CHECK(thing.number("minus") == ~0ull);
  CHECK(thing.number("wide") == 0x0123456789abcdefu);
  CHECK(thing.number("big").error().code == Errc::bad_data);
  CHECK(thing.number("none").error().code == Errc::bad_data);
  CHECK(thing.number("absent").error().code == Errc::not_found);
  CHECK(!thing.has("absent"));
  CHECK(thing.address_of("word")->raw == at.raw + 4);
}

TEST_CASE("bit-fields are cut out of their storage", "[record]") {
  FakeKernel kernel;
  kernel.types.define("bits", 8, "flags 0 b1:0:5; level 0 b1:5:3; wide 0 b8:0:64; high 0 b4:31:1");
  const VirtAddr at = kernel.allocate(8);
  kernel.put(at, 0x80000000'000000e7 | 0x80000000);
  const KernelView view = kernel.view();
  const Record bits(view, "bits", at);
  CHECK(bits.number("flags") == 7u);
  CHECK(bits.number("level") == 7u);
  CHECK(bits.number("high") == 1u);
  CHECK(bits.number("wide") == 0x80000000'800000e7u);
}

TEST_CASE("a number that lies half outside the dump is an error that says where", "[record]") {
  FakeKernel kernel;
  kernel.types.define("thing", 16, "wide 0 u8");
  const VirtAddr page = kernel.direct_map() + 0x200000;
  kernel.memory.put_number({0x200ff8}, 1);
  kernel.memory.exclude({0x201000});
  const KernelView view = kernel.view();
  auto number = Record(view, "thing", page + 0xffc).number("wide");
  REQUIRE(!number);
  CHECK(number.error().code == Errc::not_in_dump);
  CHECK(number.error().addr == (page + 0x1000).raw);
  CHECK(Record(view, "thing", {0x10}).number("wide").error().code == Errc::not_mapped);
}

TEST_CASE("text ends at its NUL, its array or its memory", "[record]") {
  FakeKernel kernel;
  kernel.types.define("named", 32, "comm 0 a8; after 8 a8; flexible 16 a0");
  const VirtAddr at = kernel.allocate(32);
  kernel.memory.put(kernel.phys(at), std::string_view("eightchrmore\0rest", 17));
  const KernelView view = kernel.view();
  const Record named(view, "named", at);
  CHECK(named.text("comm") == "eightchr");
  CHECK(named.text("after") == "more");
  CHECK(named.text("flexible") == "");
  CHECK(view.text_at(at) == "eightchrmore");
  CHECK(view.text_at(at, 3) == "eig");
  CHECK(view.text_at(at, 0) == "");
  kernel.memory.put({0x200ffe}, "no");
  kernel.memory.exclude({0x201000});
  CHECK(view.text_at(kernel.direct_map() + 0x200ffe) == "no");
  CHECK(view.text_at({0x10}).error().code == Errc::not_mapped);
}

TEST_CASE("records are followed through pointers and into members", "[record]") {
  FakeKernel kernel;
  kernel.types.define("inner", 16, "value 8 u4");
  kernel.types.define("outer", 64, "next 0 *inner; opaque 8 *; part 16 r16:inner");
  const VirtAddr outer = kernel.allocate(64), inner = kernel.allocate(16);
  kernel.put(outer, inner.raw);
  kernel.put(outer + 8, inner.raw);
  kernel.put(outer + 24, 11, 4);
  kernel.put(inner + 8, 22, 4);
  const KernelView view = kernel.view();
  const Record record(view, "outer", outer);
  CHECK(record.follow("next")->number("value") == 22u);
  CHECK(record.follow("opaque", "inner")->number("value") == 22u);
  CHECK(record.follow("opaque")->number("value").error().code == Errc::not_found);
  CHECK(record.embedded("part")->number("value") == 11u);
  CHECK(record.follow("absent").error().code == Errc::not_found);
  CHECK(record.pointer("next")->raw == inner.raw);
}

TEST_CASE("the newest name that exists is asked", "[record]") {
  FakeKernel kernel;
  kernel.types.define("old", 8, "state 0 u4");
  kernel.types.define("both", 8, "__state 0 u4; state 4 u4");
  const VirtAddr at = kernel.allocate(8);
  kernel.put(at, 1, 4);
  kernel.put(at + 4, 2, 4);
  const KernelView view = kernel.view();
  CHECK(Record(view, "old", at).first_number({"__state", "state"}) == 1u);
  CHECK(Record(view, "both", at).first_number({"__state", "state"}) == 1u);
  CHECK(Record(view, "both", at).first_number({"no", "neither"}).error().code == Errc::not_found);
  // What exists but cannot be read is not passed over.
  CHECK(Record(view, "both", {0x1000}).first_number({"__state", "state"}).error().code == Errc::not_mapped);
}

TEST_CASE("symbols and pointers through the view", "[record]") {
  FakeKernel kernel;
  const VirtAddr variable = kernel.variable("some_pointer", 8, 0xffff888000001234);
  const KernelView view = kernel.view();
  CHECK(view.address_of("some_pointer")->raw == variable.raw);
  CHECK(view.pointer_at(variable)->raw == 0xffff888000001234);
  CHECK(view.address_of("nothing").error().code == Errc::not_found);
  CHECK(view.number_at(variable, 9).error().code == Errc::bad_data);
}
