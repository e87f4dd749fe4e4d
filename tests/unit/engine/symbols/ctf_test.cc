// CTF typed by hand from FreeBSD's sys/sys/ctf.h, both versions in both byte orders, compressed and not, and CTF that lies.
#include "engine/symbols/ctf.h"

#include <catch2/catch.hpp>

#include "tests/support/ctf_writer.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

// struct task {
//   int pid;                              bytes 0-3
//   u_int a : 3, b : 7, : 6, c : 16;      bytes 4-7
//   union { long flags; struct { int low, high; }; };  8-15
//   char comm[20];                        16-35
//   short grid[2][3];                     36-47
//   struct task *parent;                  48-55
//   const volatile state_t state;         56-59   (typedef enum { RUNNING, DEAD = -2 } state_t)
//   struct list { ... } run;              64-79
//   struct nowhere *hidden;               80-87   (a forward type)
//   int (*call)(int, long, char *);       88-95
//   int tail[];                           96
// };
CtfWriter sample(unsigned version, std::endian order) {
  CtfWriter t(version, order);
  const auto integer = t.integer("int", 4, true), uns = t.integer("unsigned int", 4, false), lng = t.integer("long", 8, true);
  const auto chr = t.integer("char", 1, true), shrt = t.integer("short", 2, true);
  t.nothing();
  const auto three = t.integer("unsigned int bitfield", 4, false, 3), seven = t.integer("unsigned int bitfield", 4, false, 7);
  const auto sixteen = t.integer("unsigned int bitfield", 4, false, 16);
  const auto halves = t.record("", 8, {{"low", integer, 0}, {"high", integer, 32}});
  const auto either = t.record("", 8, {{"flags", lng, 0}, {"", halves, 0}}, CTF_UNION);
  const auto comm = t.array(chr, lng, 20, 20), row = t.array(shrt, lng, 3), grid = t.array(row, lng, 2), tail = t.array(integer, lng, 0);
  const auto states = t.enumeration("", 4, {{"RUNNING", 0}, {"DEAD", -2}});
  const auto constant = t.to(CTF_CONST, t.to(CTF_VOLATILE, t.to(CTF_TYPEDEF, states, "state_t")));
  const auto list_pointer = t.to(CTF_POINTER, t.next() + 1);
  const auto list = t.record("list", 16, {{"next", list_pointer, 0}, {"prev", list_pointer, 64}});
  const auto hidden = t.to(CTF_POINTER, t.to(CTF_FORWARD, 0, "nowhere"));
  const auto call = t.to(CTF_POINTER, t.function(integer, {integer, lng, t.to(CTF_POINTER, chr)}));
  const auto parent = t.to(CTF_POINTER, t.next() + 1);
  t.record("task", 96, {{"pid", integer, 0}, {"a", three, 32}, {"b", seven, 35}, {"c", sixteen, 48}, {"", either, 64}, {"comm", comm, 128},
                        {"grid", grid, 288}, {"parent", parent, 384}, {"state", constant, 448}, {"run", list, 512}, {"hidden", hidden, 640},
                        {"call", call, 704}, {"tail", tail, 768}});
  t.to(CTF_TYPEDEF, integer, "list");  // the record of that name goes before it
  t.to(CTF_TYPEDEF, t.to(CTF_RESTRICT, grid), "words");
  t.floating("double", 8);
  // Sizes at which members need more room: 8 KiB and 512 MiB, and those that do not fit into the usual place: 64 KiB and 4 GiB.
  const auto bytes = t.array(chr, lng, 0xffffffff);
  t.record("short_one", 8191, {{"last", chr, 8190 * 8}});
  t.record("long_one", 8192, {{"last", chr, 8191 * 8}, {"first", chr, 0}});
  t.record("marked", 0xffff, {{"last", chr, 0xfffe * 8}});
  t.record("huge", 0x20000000, {{"last", chr, 0x1fffffff8ull * 8}});
  t.record("giant", 0x180000000, {{"whole", bytes, 0}, {"last", chr, 0x17fffffffull * 8}});
  // An enumeration's bit-field keeps its type.
  t.record("packed", 4, {{"whole", states, 0}, {"part", states, 5}});
  t.record("displaced", 8, {{"field", t.next() + 1, 32}});
  t.integer("unsigned int", 4, false, 5, 2);
  t.rooted(false);
  t.record("twice", 1, {{"hidden", chr, 0}});
  t.rooted(true);
  t.record("twice", 2, {{"root", chr, 8}});
  t.enumeration("more", 0, {{"TOP", -2147483647 - 1}, {"RUNNING", 9}});
  (void)uns;
  return t;
}

struct Opened {
  explicit Opened(std::vector<std::uint8_t> data, std::uint8_t pointer_bytes = 8) : bytes(std::move(data)), types(open_ctf(bytes, pointer_bytes)) {}
  std::vector<std::uint8_t> bytes;
  Result<std::unique_ptr<Types>> types;
};

}  // namespace

TEST_CASE("CTF: members are found by path", "[ctf]") {
  const unsigned version = GENERATE(2, 3);
  const auto order = GENERATE(std::endian::little, std::endian::big);
  const Opened opened(sample(version, order).bytes(GENERATE(false, true)));
  REQUIRE(opened.types);
  const Types& types = **opened.types;
  const auto member = [&](std::string_view path) { return types.member("task", path).value(); };
  using Kind = Member::Kind;

  CHECK(types.size_of("task") == 96);
  CHECK(types.size_of("list") == 16);
  CHECK(types.size_of("state_t") == 4);
  CHECK(types.size_of("words") == 12);
  CHECK(types.size_of("double") == 8);
  CHECK_FALSE(types.size_of("nowhere"));
  CHECK(member("pid").kind == Kind::integer);
  CHECK(member("pid").is_signed);
  CHECK(member("pid").size == 4);

  // Three bits from the first in memory: the low ones on little-endian machines, the high ones on big-endian ones.
  const bool little = order == std::endian::little;
  CHECK(member("a").offset == 4);
  CHECK(member("a").bit_size == 3);
  CHECK(member("a").bit_offset == (little ? 0 : 5));
  CHECK_FALSE(member("a").is_signed);
  CHECK(member("b").size == 2);
  CHECK(member("b").bit_size == 7);
  CHECK(member("b").bit_offset == (little ? 3 : 6));
  CHECK(member("c").offset == 6);
  CHECK(member("c").bit_size == 16);

  CHECK(member("flags").offset == 8);
  CHECK(member("flags").size == 8);
  CHECK(member("high").offset == 12);
  CHECK(member("comm").kind == Kind::array);
  CHECK(member("comm").count == 20);
  CHECK(member("comm").size == 20);
  CHECK(member("grid[1][2]").offset == 36 + 6 + 4);
  CHECK(member("grid[1][2]").size == 2);
  CHECK(member("parent").kind == Kind::pointer);
  CHECK(member("parent").size == 8);
  CHECK(member("parent").type_name == "task");
  CHECK(member("state").kind == Kind::integer);
  CHECK(member("state").is_signed);
  CHECK(member("state").size == 4);
  CHECK(member("run.prev").offset == 72);
  CHECK(member("run").type_name == "list");
  CHECK(member("hidden").type_name == "nowhere");
  CHECK(member("call").kind == Kind::pointer);
  CHECK(member("tail[5]").offset == 116);
  CHECK(Opened(opened.bytes, 4).types->get()->member("task", "parent")->size == 4);

  const Member field = types.member("displaced", "field").value();
  CHECK(field.bit_size == 5);
  CHECK(field.offset * 8 + (little ? field.bit_offset : field.size * 8 - field.bit_offset - 5) == 34);
  CHECK(types.member("packed", "whole")->size == 4);
  CHECK(types.member("packed", "part")->kind == Kind::other);
  CHECK(types.size_of("twice") == 2);
  CHECK(types.member("twice", "root")->offset == 1);
}

TEST_CASE("CTF: records of every size", "[ctf]") {
  const unsigned version = GENERATE(2, 3);
  const Opened opened(sample(version, GENERATE(std::endian::little, std::endian::big)).bytes());
  REQUIRE(opened.types);
  const Types& types = **opened.types;
  CHECK(types.member("short_one", "last")->offset == 8190);
  CHECK(types.member("long_one", "last")->offset == 8191);
  CHECK(types.member("long_one", "first")->offset == 0);
  CHECK(types.size_of("marked") == 0xffff);
  CHECK(types.member("marked", "last")->offset == 0xfffe);
  CHECK(types.size_of("huge") == 0x20000000);
  CHECK(types.member("huge", "last")->offset == 0x1fffffff8);
  CHECK(types.size_of("giant") == 0x180000000);
  CHECK(types.member("giant", "last")->offset == 0x17fffffff);
}

TEST_CASE("CTF: enumerators are int", "[ctf]") {
  const Opened opened(sample(GENERATE(2, 3), GENERATE(std::endian::little, std::endian::big)).bytes());
  const Types& types = **opened.types;
  CHECK(types.enumerator("RUNNING") == 0);  // the first of that name
  CHECK(types.enumerator("DEAD") == -2);
  CHECK(types.enumerator("TOP") == -2147483648);
  CHECK(types.size_of("more") == 4);  // no size is said
  CHECK_FALSE(types.enumerator("nope"));
  CHECK_FALSE(types.enumerator(""));
}

TEST_CASE("CTF of a module refers to its kernel's", "[ctf]") {
  const unsigned version = GENERATE(2, 3);
  const auto order = GENERATE(std::endian::little, std::endian::big);
  CtfWriter kernel(version, order);
  const auto integer = kernel.integer("int", 4, true);
  const auto list = kernel.record("list", 16, {{"count", integer, 32}});
  kernel.record("both", 4, {{"of_kernel", integer, 0}});
  kernel.enumeration("", 4, {{"KERNEL_ONE", 7}});
  kernel.label("FreeBSD 14.1-RELEASE GENERIC");
  CtfWriter module(version, order, true);
  module.parent("kernel", "FreeBSD 14.1-RELEASE GENERIC");
  const auto own = module.record("softc", 24, {{"list", list, 0}, {"number", integer, 128}});
  module.record("both", 24, {{"of_module", own, 0}});
  module.enumeration("", 4, {{"MODULE_ONE", 9}});
  const bool compressed = GENERATE(false, true);
  const auto below = module.bytes(compressed), above = kernel.bytes(compressed);
  const auto types = open_child_ctf(below, above, 8);
  REQUIRE(types);
  CHECK((*types)->size_of("softc") == 24u);
  CHECK((*types)->member("softc", "number")->is_signed);
  CHECK((*types)->member("softc", "list.count")->offset == 4);
  CHECK((*types)->member("softc", "list")->type_name == "list");
  CHECK((*types)->size_of("list") == 16u);
  CHECK((*types)->member("both", "of_module.list.count"));
  CHECK((*types)->enumerator("KERNEL_ONE") == 7);
  CHECK((*types)->enumerator("MODULE_ONE") == 9);

  const auto alone = open_ctf(below, 8);
  REQUIRE(alone);
  CHECK((*alone)->member("both", "of_module.number")->offset == 16);
  CHECK((*alone)->member("softc", "number")->kind == Member::Kind::other);
  CHECK_FALSE((*alone)->member("softc", "list.count"));

  CtfWriter other(version, order), swapped(version, order == std::endian::big ? std::endian::little : std::endian::big);
  other.label("FreeBSD 13.2-RELEASE GENERIC");
  const auto of_other = other.bytes(), of_swapped = swapped.bytes();
  CHECK_FALSE(open_child_ctf(below, of_other, 8));
  CHECK_FALSE(open_child_ctf(below, of_swapped, 8));
}

TEST_CASE("CTF: cycles and wild numbers end", "[ctf]") {
  const unsigned version = GENERATE(2, 3);
  CtfWriter t(version);
  t.to(CTF_TYPEDEF, 1, "loop");
  const auto self = t.next();
  t.record("self", 8, {{"", self, 0}, {"x", 999, 8}});
  t.record("wide", 8, {{"", t.next(), 0}, {"", t.next(), 0}});
  const auto inside = t.array(t.next(), 1, 0xffffffff);
  t.to(CTF_TYPEDEF, inside, "arrays");
  t.record("odd", 8, {{"field", t.next() + 1, 0xfff0}});
  t.integer("int", 4, true, 0xffff, 0xff);
  const Opened opened(t.bytes());
  REQUIRE(opened.types);
  const Types& types = **opened.types;
  CHECK_FALSE(types.member("loop", "x"));
  CHECK(types.member("self", "x")->offset == 1);
  CHECK_FALSE(types.member("self", "y"));
  CHECK_FALSE(types.member("wide", "y"));
  CHECK(types.size_of("arrays") == 0);
  CHECK_FALSE(types.member("odd", "field"));
}

TEST_CASE("CTF that is cut, of another version or another format is refused", "[ctf]") {
  const unsigned version = GENERATE(2, 3);
  const bool compressed = GENERATE(false, true);
  const auto whole = sample(version, std::endian::little).bytes(compressed);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK_FALSE(Opened({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}).types);
  }
  auto other = whole;
  other[2] = 4;
  CHECK(Opened(other).types.error().code == Errc::unsupported);
  other = whole;
  other[0] = 0xf2, other[1] = 0xdf;  // GNU's
  CHECK(Opened(other).types.error().note.find("GNU") != std::string::npos);
  other = whole;
  other[28 + 3] = 0x7f;  // the strings are two gigabytes away
  CHECK(Opened(other).types.error().code == Errc::bad_data);
  other = whole;
  other[16] = 0xff, other[17] = 1;  // variables behind functions
  CHECK_FALSE(Opened(other).types);
  CtfWriter newer(version);
  newer.nothing(14);
  CHECK(Opened(newer.bytes()).types.error().code == Errc::unsupported);
}
