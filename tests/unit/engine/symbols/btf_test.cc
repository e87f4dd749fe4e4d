// BTF typed by hand from the kernel's Documentation/bpf/btf.rst, in both byte orders, and BTF that lies.
#include "engine/symbols/btf.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/support/btf_writer.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

// struct task {
//   int pid;                              bytes 0-3
//   unsigned a : 3, b : 7, : 6, c : 16;   bytes 4-7
//   union { long flags; struct { int low, high; }; };  8-15
//   char comm[16];                        16-31
//   struct task *parent;                  32-39
//   short grid[2][3];                     40-51
//   const volatile state_t state;         52-55   (typedef enum { RUNNING, DEAD = -2 } state_t)
//   struct list { ... } run;              56-71
//   anon_t *other;                        72-79   (typedef struct { int x; } anon_t)
//   int tail[];                           80
// };
std::vector<std::uint8_t> sample(std::endian order) {
  BtfWriter t(order);
  const auto integer = t.type("int", INT, 0, false, 4, {1u << 24 | 32});
  const auto uns = t.type("unsigned int", INT, 0, false, 4, {32});
  const auto lng = t.type("long", INT, 0, false, 8, {1u << 24 | 64});
  const auto chr = t.type("char", INT, 0, false, 1, {1u << 24 | 8});
  const auto shrt = t.type("short", INT, 0, false, 2, {1u << 24 | 16});
  const auto halves = t.type("", STRUCT, 2, false, 8, {t.string("low"), integer, 0, t.string("high"), integer, 32});
  const auto either = t.type("", UNION, 2, false, 8, {t.string("flags"), lng, 0, 0, halves, 0});
  const auto comm = t.type("", ARRAY, 0, false, 0, {chr, uns, 16});
  const auto row = t.type("", ARRAY, 0, false, 0, {shrt, uns, 3});
  const auto grid = t.type("", ARRAY, 0, false, 0, {row, uns, 2});
  const auto tail = t.type("", ARRAY, 0, false, 0, {integer, uns, 0});
  const auto states = t.type("", ENUM, 2, true, 4, {t.string("RUNNING"), 0, t.string("DEAD"), static_cast<std::uint32_t>(-2)});
  const auto state = t.type("state_t", TYPEDEF, 0, false, states);
  const auto vol = t.type("", VOLATILE, 0, false, state);
  const auto constant = t.type("", CONST, 0, false, vol);
  const std::uint32_t list = 17, list_pointer = list + 1;
  t.type("task", FWD, 0, false, 0);
  t.type("list", STRUCT, 2, false, 16, {t.string("next"), list_pointer, 0, t.string("prev"), list_pointer, 64});
  t.type("", PTR, 0, false, list);
  const auto anonymous = t.type("", STRUCT, 1, false, 4, {t.string("x"), integer, 0});
  const auto named = t.type("anon_t", TYPEDEF, 0, false, anonymous);
  const auto tag = t.type("user", TYPE_TAG, 0, false, named);
  const auto other = t.type("", PTR, 0, false, tag);
  const std::uint32_t parent = other + 1, task = parent + 1;
  t.type("", PTR, 0, false, task);
  const auto bits = [](std::uint32_t offset, std::uint32_t size) { return size << 24 | offset; };
  t.type("task", STRUCT, 12, true, 80,
         {t.string("pid"), integer, 0, t.string("a"), uns, bits(32, 3), t.string("b"), uns, bits(35, 7), t.string("c"), uns,
          bits(48, 16), 0, either, 64, t.string("comm"), comm, 128, t.string("parent"), parent, 256, t.string("grid"), grid,
          320, t.string("state"), constant, 416, t.string("run"), list, 448, t.string("other"), other, 576, t.string("tail"),
          tail, 640});
  // The older way to say "unsigned old : 5" 6 bits into the second word: an int type of 5 bits, displaced by 2.
  const auto five = t.type("unsigned int", INT, 0, false, 4, {2u << 16 | 5});
  t.type("older", STRUCT, 1, false, 8, {t.string("old"), five, 36});
  t.type("big_enum", ENUM64, 2, false, 8,
         {t.string("HUGE"), 0x89abcdef, 0x01234567, t.string("HIGH_BIT"), 0, 0x80000000});
  t.type("flags", ENUM, 1, false, 4, {t.string("TOP"), 0x80000000});
  const auto proto = t.type("", PROTO, 1, false, 0, {0, integer});
  t.type("main", FUNC, 1, false, proto);
  const auto variable = t.type("jiffies", VAR, 0, false, lng, {1});
  t.type(".data", DATASEC, 1, false, 8, {variable, 0, 8});
  t.type("double", FLOAT, 0, false, 8);
  t.type("tag", DECL_TAG, 0, false, task, {0});
  t.type("list", TYPEDEF, 0, false, integer);  // the record of that name goes before it
  t.type("words", TYPEDEF, 0, false, grid);
  return t.bytes();
}

}  // namespace

TEST_CASE("Members are found by path, in both byte orders") {
  const auto order = GENERATE(std::endian::little, std::endian::big);
  const auto bytes = sample(order);
  const bool owned = GENERATE(true, false);
  const auto opened = owned ? open_btf(std::vector(bytes), 8) : open_btf(Bytes(bytes), 8);
  REQUIRE(opened);
  const Types& types = **opened;
  const auto member = [&](std::string_view path) { return types.member("task", path).value(); };
  using Kind = Member::Kind;

  CHECK(types.size_of("task") == 80);
  CHECK(types.size_of("list") == 16);
  CHECK(types.size_of("state_t") == 4);
  CHECK(types.size_of("unsigned int") == 4);
  CHECK(types.size_of("words") == 12);
  CHECK(types.size_of("double") == 8);

  CHECK(member("pid").kind == Kind::integer);
  CHECK(member("pid").is_signed);
  CHECK(member("pid").size == 4);

  // Three bits from the first in memory: the low ones on little-endian machines, the high ones on big-endian ones.
  const bool little = order == std::endian::little;
  CHECK(member("a").offset == 4);
  CHECK(member("a").size == 1);
  CHECK(member("a").bit_size == 3);
  CHECK(member("a").bit_offset == (little ? 0 : 5));
  CHECK(member("b").offset == 4);
  CHECK(member("b").size == 2);  // bits 3 to 9 lie in two bytes
  CHECK(member("b").bit_size == 7);
  CHECK(member("b").bit_offset == (little ? 3 : 6));
  CHECK(member("c").offset == 6);
  CHECK(member("c").size == 2);
  CHECK(member("c").bit_offset == 0);

  CHECK(member("flags").offset == 8);
  CHECK(member("high").offset == 12);
  CHECK(member("comm").kind == Kind::array);
  CHECK(member("comm").size == 16);
  CHECK(member("comm").count == 16);
  CHECK(member("comm").element_size == 1);
  CHECK(member("comm[3]").offset == 19);
  CHECK(member("comm[3]").kind == Kind::integer);
  CHECK(member("parent").kind == Kind::pointer);
  CHECK(member("parent").size == 8);
  CHECK(member("parent").type_name == "task");
  CHECK(member("grid").count == 2);
  CHECK(member("grid").element_size == 6);
  CHECK(member("grid").size == 12);
  CHECK(member("grid[1]").count == 3);
  CHECK(member("grid[1][2]").offset == 40 + 6 + 4);
  CHECK(member("grid[1][2]").size == 2);
  CHECK(member("state").kind == Kind::integer);
  CHECK(member("state").is_signed);
  CHECK(member("run").kind == Kind::record);
  CHECK(member("run").type_name == "list");
  CHECK(member("run.prev").offset == 64);
  CHECK(member("run.prev").type_name == "list");
  CHECK(member("other").type_name == "anon_t");
  CHECK(types.member("anon_t", "x")->size == 4);
  CHECK(member("tail").count == 0);
  CHECK(member("tail").element_size == 4);
  CHECK(member("tail[5]").offset == 100);

  const Member old = types.member("older", "old").value();
  CHECK(old.bit_size == 5);
  CHECK(old.offset * 8 + (little ? old.bit_offset : old.size * 8 - old.bit_offset - 5) == 38);
}

TEST_CASE("What does not exist is not found, again and again") {
  const auto types = std::move(*open_btf(sample(std::endian::little), 8));
  for (int i = 0; i < 2; ++i) {
    for (const char* path : {"nope", "pid.x", "run.", ".run", "run..next", "comm[16]", "comm[", "comm[x]", "comm[1", "pid[0]",
                             "parent.pid", "comm[-1]", "comm[1]x", "run.[0]", "[0]", "comm[99999999999]"}) {
      INFO(path);
      CHECK(types->member("task", path).error().code == Errc::not_found);
    }
    CHECK(types->member("nope", "pid").error().code == Errc::not_found);
    CHECK(types->size_of("main").error().code == Errc::not_found);
    CHECK(types->size_of("jiffies").error().code == Errc::not_found);
    CHECK_FALSE(types->enumerator("nope"));
    CHECK_FALSE(types->enumerator(""));
  }
}

TEST_CASE("Enumerators of every width and sign") {
  const auto types = std::move(*open_btf(sample(GENERATE(std::endian::little, std::endian::big)), 8));
  CHECK(types->enumerator("RUNNING") == 0);
  CHECK(types->enumerator("DEAD") == -2);
  CHECK(types->enumerator("TOP") == 0x80000000);
  CHECK(types->enumerator("HUGE") == 0x0123456789abcdef);
  CHECK(types->enumerator("HIGH_BIT") == std::numeric_limits<std::int64_t>::min());
}

TEST_CASE("Cycles and wild numbers end") {
  BtfWriter t;
  t.type("loop", 8, 0, false, 1);                                                        // typedef of itself
  t.type("self", 4, 2, false, 8, {0, 2, 0, t.string("x"), 99, 8});                        // contains itself; type 99 of none
  t.type("wide", 4, 2, false, 8, {0, 3, 0, 0, 3, 0});                                    // ... twice: 2^32 ways through it
  t.type("", 3, 0, false, 0, {4, 4, 0xffffffff});                                        // array of itself
  t.type("arrays", 8, 0, false, 4);
  t.type("odd", 4, 1, true, 8, {0xfffffff0, 0xffffffff, 0xff000007});                    // no such string; 255 bits
  const auto types = std::move(*open_btf(t.bytes(), 8));
  CHECK_FALSE(types->member("loop", "x"));
  CHECK(types->member("self", "x")->offset == 1);
  CHECK_FALSE(types->member("self", "y"));
  CHECK_FALSE(types->member("wide", "y"));
  CHECK(types->size_of("arrays") == 0);
  CHECK_FALSE(types->member("odd", "y"));
}

TEST_CASE("BTF that is cut or unknown is refused") {
  const auto whole = sample(std::endian::little);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK_FALSE(open_btf(std::vector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)), 8));
  }
  BtfWriter newer;
  newer.type("x", 25, 0, false, 0);
  CHECK(open_btf(newer.bytes(), 8).error().code == Errc::unsupported);
  auto version = whole;
  version[2] = 2;
  CHECK(open_btf(version, 8).error().code == Errc::unsupported);
}

TEST_CASE("a module's types go on where the kernel's end", "[btf]") {
  for (const std::endian order : {std::endian::little, std::endian::big}) {
    BtfWriter kernel(order);
    const auto integer = kernel.type("int", INT, 0, false, 4, {1u << 24 | 32});
    const auto list = kernel.type("list_head", STRUCT, 1, false, 16, {kernel.string("next"), integer, 0});
    kernel.type("both", STRUCT, 1, false, 4, {kernel.string("of_kernel"), integer, 0});
    kernel.type("", ENUM, 1, false, 4, {kernel.string("KERNEL_ONE"), 7});
    // The module's first type is the kernel's last + 1, its first string lies behind the kernel's.
    BtfWriter module = BtfWriter::split(kernel);
    const auto own = module.type("loop_device", STRUCT, 2, false, 24, {module.string("list"), list, 0, module.string("number"), integer, 128});
    module.type("both", STRUCT, 1, false, 8, {module.string("of_module"), own, 0});
    module.type("", ENUM, 1, false, 4, {module.string("MODULE_ONE"), 9});
    CHECK(own == 5);
    const auto types = open_split_btf(module.bytes(), kernel.bytes(), 8);
    REQUIRE(types);
    CHECK((*types)->size_of("loop_device") == 24u);
    CHECK((*types)->member("loop_device", "number")->offset == 16);
    CHECK((*types)->member("loop_device", "number")->is_signed);
    CHECK((*types)->member("loop_device", "list.next")->size == 4);
    CHECK((*types)->member("loop_device", "list")->type_name == "list_head");
    CHECK((*types)->size_of("list_head") == 16u);  // of the kernel alone
    CHECK((*types)->size_of("both") == 8u);        // the module's own goes first
    CHECK((*types)->member("both", "of_module.number"));
    CHECK((*types)->enumerator("KERNEL_ONE") == 7);
    CHECK((*types)->enumerator("MODULE_ONE") == 9);
    CHECK(!(*types)->size_of("nosuch"));
  }
  BtfWriter little(std::endian::little), big(std::endian::big);
  little.type("int", INT, 0, false, 4, {32});
  big.type("int", INT, 0, false, 4, {32});
  CHECK(!open_split_btf(little.bytes(), big.bytes(), 8));
  CHECK(!open_split_btf(little.bytes(), {1, 2, 3}, 8));
  CHECK(!open_split_btf({1, 2, 3}, little.bytes(), 8));
}
