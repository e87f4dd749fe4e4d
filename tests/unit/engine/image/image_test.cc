// Images of kernels whose BTF is typed by hand from the kernel's Documentation/bpf/btf.rst, read back by LLVM.
#include "engine/image/image.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/btf_writer.h"
#include "tests/support/image_text.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

// 64-bit little-endian, and 32-bit big-endian.
arch::Arch machine(bool big) {
  arch::Arch arch = *arch::find("x86_64");
  if (!big) return arch;
  arch.elf_machine = 20;  // EM_PPC
  arch.pointer_bytes = 4;
  arch.endian = std::endian::big;
  return arch;
}

Pieces kernel_of(const BtfWriter& btf) {
  Pieces pieces;
  Piece& kernel = pieces.pieces.emplace_back();
  kernel.btf = btf.bytes();
  kernel.sections = {{".text", {0x80001000}, 0x1000, true, false}, {".data", {0x80003000}, 0x800, false, true}};
  return pieces;
}

ImageText read(const Pieces& pieces, const arch::Arch& arch = machine(false), ImageOptions options = {"", "inquest 1", {}}) {
  const auto image = make_image(arch, pieces, options);
  REQUIRE(image);
  ImageText text = read_image(image->file);
  CHECK(text.problems == "");
  return text;
}

std::uint32_t bits(std::uint32_t offset, std::uint32_t size) { return size << 24 | offset; }

struct Basics {
  explicit Basics(BtfWriter& t)
      : integer(t.type("int", INT, 0, false, 4, {1u << 24 | 32})), word(t.type("unsigned int", INT, 0, false, 4, {32})),
        character(t.type("char", INT, 0, false, 1, {1u << 24 | 8})) {}
  std::uint32_t integer, word, character;
};

}  // namespace

TEST_CASE("Every kind of BTF becomes what C would declare") {
  const bool big = GENERATE(false, true);
  BtfWriter t(big ? std::endian::big : std::endian::little);
  const Basics basic(t);
  t.type("unsigned char", INT, 0, false, 1, {8});
  t.type("_Bool", INT, 0, false, 1, {4u << 24 | 8});
  t.type("long double", FLOAT, 0, false, 16);
  t.type("unsigned __int128", INT, 0, false, 16, {128});
  t.type("s64", TYPEDEF, 0, false, t.type("long long", INT, 0, false, 8, {1u << 24 | 64}));
  const auto list = t.next(), list_pointer = list + 1;
  t.type("list", STRUCT, 2, false, 16, {t.string("next"), list_pointer, 0, t.string("prev"), list_pointer, 64});
  t.type("", PTR, 0, false, list);
  const auto constant = t.type("", CONST, 0, false, basic.character);
  t.type("name_t", TYPEDEF, 0, false, t.type("", RESTRICT, 0, false, t.type("", PTR, 0, false, constant)));
  const auto row = t.type("", ARRAY, 0, false, 0, {basic.integer, basic.word, 3});
  const auto grid = t.type("", ARRAY, 0, false, 0, {row, basic.word, 2});
  const auto flexible = t.type("", ARRAY, 0, false, 0, {basic.character, basic.word, 0});
  const auto halves = t.type("", STRUCT, 2, false, 2, {t.string("low"), basic.character, 0, t.string("high"), basic.character, 8});
  const auto either = t.type("", UNION, 2, false, 4, {t.string("whole"), basic.integer, 0, 0, halves, 0});
  const auto anonymous = t.type("pair_t", TYPEDEF, 0, false, t.type("", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0}));
  const auto tagged = t.type("", PTR, 0, false, t.type("user", TYPE_TAG, 0, false, t.type("", VOLATILE, 0, false, anonymous)));
  const auto opaque = t.type("", PTR, 0, false, t.type("secret", FWD, 0, false, 0));
  const auto opaque_union = t.type("", PTR, 0, false, t.type("secrets", FWD, 0, true, 0));
  const auto callback = t.type("", PTR, 0, false, t.type("", PROTO, 3, false, basic.integer, {0, opaque, t.string("n"), basic.integer, 0, 0}));
  const auto nothing = t.type("", PTR, 0, false, 0);
  t.type("task", STRUCT, 14, true, 100,
         {t.string("pid"), basic.integer, 0, t.string("a"), basic.word, bits(32, 3), t.string("b"), basic.word, bits(35, 7), 0, either, 64,
          t.string("run"), list, 96, t.string("grid"), grid, 224, t.string("pair"), anonymous, 416, t.string("tagged"), tagged, 448,
          t.string("opaque"), opaque, 512, t.string("opaques"), opaque_union, 576, t.string("call"), callback, 640,
          t.string("any"), nothing, 704, t.string("c"), basic.word, bits(768, 32), t.string("tail"), flexible, 800});
  t.type("color", ENUM, 2, false, 4, {t.string("RED"), 0, t.string("TOP"), 0x80000000});
  t.type("sign", ENUM, 2, true, 4, {t.string("MINUS"), static_cast<std::uint32_t>(-2), t.string("PLUS"), 1});
  t.type("huge", ENUM64, 2, false, 8, {t.string("HUGE"), 0x89abcdef, 0x01234567, t.string("HIGH_BIT"), 0, 0x80000000});
  t.type("below", ENUM64, 1, true, 8, {t.string("LOWEST"), 0, 0x80000000});
  t.type("empty", STRUCT, 0, false, 0);
  t.type("later", ENUM, 0, false, 4);
  // The older way to say "unsigned old : 5" 6 bits into the second word: an int type of 5 bits, displaced by 2.
  const auto five = t.type("unsigned int", INT, 0, false, 4, {2u << 16 | 5});
  t.type("older", STRUCT, 1, false, 8, {t.string("old"), five, 36});
  t.type("tag", DECL_TAG, 0, false, list, {0});

  const ImageText text = read(kernel_of(t), machine(big));
  INFO(text.find(""));
  for (const char* line : {
           "int 4 signed", "unsigned int 4 unsigned", "char 1 signed_char", "unsigned char 1 unsigned_char", "_Bool 1 boolean",
           "long double 16 float", "unsigned __int128 16 unsigned", "typedef long long s64",
           "struct list 16 { struct list * next @0; struct list * prev @8; }",
           "typedef restrict const char * name_t",
           "typedef struct 4 { int x @0; } pair_t",
           "struct task 100 { int pid @0; unsigned int a @4.0:3; unsigned int b @4.3:7; "
           "union 4 { int whole @0; struct 2 { char low @0; char high @1; } @0; } @8; struct list run @12; int[3][2] grid @28; "
           "pair_t pair @52; volatile pair_t * tagged @56; struct secret? * opaque @64; union secrets? * opaques @72; "
           "int(struct secret? *, int n, ...) * call @80; void * any @88; unsigned int c @96.0:32; char[] tail @100; }",
           "enum color 4 : unsigned int { RED = 0; TOP = 2147483648; }",
           "enum sign 4 : int { MINUS = -2; PLUS = 1; }",
           "enum huge 8 { HUGE = 81985529216486895; HIGH_BIT = 9223372036854775808; }",
           "enum below 8 : long long { LOWEST = -9223372036854775808; }",
           "struct empty 0", "enum later 4 : unsigned int",
           "struct older 8 { unsigned int old @4.6:5; }"}) {
    INFO(line);
    CHECK(text.has(line));
  }

}

TEST_CASE("What a pointer leads to is declared, what lies inside is referred to") {
  BtfWriter t;
  const Basics basic(t);
  const auto shared = t.type("shared", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0});
  const auto first_twin = t.type("twin", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0});
  const auto second_twin = t.type("twin", STRUCT, 1, false, 4, {t.string("y"), basic.integer, 0});
  const auto to_first = t.type("", PTR, 0, false, first_twin), to_second = t.type("", PTR, 0, false, second_twin);
  const auto other_name = t.type("shared_t", TYPEDEF, 0, false, shared);
  const auto by_typedef = t.type("", PTR, 0, false, other_name);
  const auto by_const = t.type("", PTR, 0, false, t.type("", CONST, 0, false, shared));
  const auto own = t.type("owned", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0});
  // More than one unit's worth.
  std::uint32_t before = t.type("", PTR, 0, false, t.next() + 1);
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "s" + std::to_string(i);
    const auto record = t.type(name, STRUCT, 2, false, 16, {t.string("inner"), i == 7 ? own : shared, 0, t.string("before"), before, 64});
    before = t.type("", PTR, 0, false, record);
  }
  t.type("user", STRUCT, 4, false, 32, {t.string("a"), to_first, 0, t.string("b"), to_second, 64, t.string("c"), by_typedef, 128,
                                        t.string("d"), by_const, 192});
  const ImageText text = read(kernel_of(t));

  CHECK(text.units.size() > 5);
  for (const auto& unit : text.units) CHECK(unit.lines.size() < 1100);
  CHECK(text.has("struct s500 16 { struct shared inner @0; struct s499 * before @8; }"));  // in the same unit
  std::ptrdiff_t definitions = 0;
  for (const auto& unit : text.units) definitions += std::ranges::count(unit.lines, "struct shared 4 { int x @0; }");
  CHECK(definitions == 1);
  // Neither twin may be asked for by name.
  CHECK(text.has("struct user 32 { struct twin * a @0; struct twin * b @8; shared_t * c @16; const struct shared? * d @24; }"));
  CHECK(text.find("struct twin;") == "");
  // What only one record contains stands beside it.
  for (const auto& unit : text.units)
    CHECK(std::ranges::count(unit.lines, "struct owned 4 { int x @0; }") ==
          std::ranges::count(unit.lines, "struct s7 16 { struct owned inner @0; struct s6 * before @8; }"));
}

TEST_CASE("Functions have their prototypes and addresses") {
  BtfWriter t;
  const Basics basic(t);
  const auto task = t.type("", PTR, 0, false, t.type("task", STRUCT, 1, false, 4, {t.string("pid"), basic.integer, 0}));
  t.type("exit", FUNC, 1, false, t.type("", PROTO, 1, false, 0, {t.string("code"), basic.integer}));
  t.type("wake", FUNC, 0, false, t.type("", PROTO, 2, false, basic.integer, {t.string("p"), task, 0, 0}));
  t.type("idle", FUNC, 0, false, t.type("", PROTO, 0, false, 0));
  t.type("gone", FUNC, 0, false, t.type("", PROTO, 0, false, 0));
  t.type("data", FUNC, 0, false, t.type("", PROTO, 0, false, 0));
  t.type("strange", FUNC, 0, false, basic.integer);
  t.type("same", FUNC, 0, false, t.type("", PROTO, 1, false, 0, {t.string("a"), basic.integer}));
  t.type("same", FUNC, 0, false, t.type("", PROTO, 1, false, 0, {t.string("b"), basic.integer}));
  t.type("twin", FUNC, 0, false, t.type("", PROTO, 1, false, 0, {t.string("a"), basic.integer}));
  t.type("twin", FUNC, 0, false, t.type("", PROTO, 1, false, 0, {t.string("a"), basic.word}));
  Pieces pieces = kernel_of(t);
  pieces.pieces[0].symbols = {{"exit", {0x80001000}, 0x20, 'T'},  {"unknown", {0x80001020}, 8, 't'}, {"alias", {0x80001030}, 0, 't'},
                              {"wake", {0x80001030}, 0, 't'},     {"after", {0x80001038}, 0, 't'},   {"strange", {0x80001100}, 4, 't'},
                              {"same", {0x80001200}, 4, 't'},     {"twin", {0x80001300}, 4, 't'},
                              {"idle", {0x80001ff0}, 0, 't'},     {"data", {0x80003000}, 4, 'd'}};
  const ImageText text = read(pieces);
  CHECK(text.unit("<BTF of vmlinux, functions 1>").lines ==
        std::vector<std::string>{"[0x80001000, 0x80001020) void exit(int code)",
                                 "[0x80001030, 0x80001038) static int alias(struct task? * p, ...)",  // the first name is the kernel's own choice
                                 "struct task;",
                                 "[0x80001200, 0x80001204) static void same(int a)",
                                 "[0x80001ff0, 0x80002000) static void idle()"});
}

TEST_CASE("Variables have their types and addresses") {
  const bool big = GENERATE(false, true);
  BtfWriter t(big ? std::endian::big : std::endian::little);
  const Basics basic(t);
  const auto queue = t.type("rq", STRUCT, 1, false, 8, {t.string("nr"), basic.integer, 0});
  t.type("task_struct", STRUCT, 1, false, 4, {t.string("pid"), basic.integer, 0});
  t.type("long unsigned int", INT, 0, false, 8, {64});
  t.type("flag_t", TYPEDEF, 0, false, basic.character);
  const auto runqueues = t.type("runqueues", VAR, 0, false, queue, {1}), counter = t.type("counter", VAR, 0, false, basic.integer, {0}),
             counter2 = t.type("counter", VAR, 0, false, basic.word, {0}), gone = t.type("gone", VAR, 0, false, basic.word, {0});
  t.type(".data..percpu", DATASEC, 4, false, 64, {runqueues, 0x10, 8, counter, 0x20, 4, counter2, 0x28, 4, gone, 0x30, 4});
  Pieces pieces = kernel_of(t);
  pieces.pieces[0].symbols = {{"runqueues", {0x10}, 8, 'D'}, {"counter", {0x20}, 4, 'd'}, {"counter", {0x28}, 4, 'd'},
                              {"init_task", {0x80003000}, 0, 'D'}, {"banner", {0x80003010}, 21, 'r'}, {"flags", {0x80003020}, 0, 'b'},
                              {"jiffies", {0x80003028}, 8, 'D'}, {"tasks", {0x80003030}, 64, 'B'}, {"lost", {0x80003080}, 8, 'B'},
                              {"matrix", {0x80003090}, 8, 'B'}, {"far", {0x80003100}, 65537, 'B'}};
  pieces.variables = {{"init_task", "task_struct"}, {"banner", "char[]"}, {"flags", "flag_t"}, {"jiffies", "unsigned long"},
                      {"tasks", "struct task_struct *[]"}, {"lost", "struct lost *"}, {"absent", "int"}, {"matrix", "unsigned int[2][3]"}, {"far", "char[]"}};
  const ImageText text = read(pieces, machine(big));
  const std::string pointers = big ? "16" : "8";
  CHECK(text.unit("<BTF of vmlinux, variables 1>").lines ==
        std::vector<std::string>{"0x10 struct rq runqueues", "0x20 static int counter", "0x28 static unsigned int counter",
                                 "0x80003000 struct task_struct init_task", "0x80003010 static char[21] banner",
                                 "0x80003020 static flag_t flags", "0x80003028 long unsigned int jiffies",
                                 "0x80003030 struct task_struct? *[" + pointers + "] tasks", "struct task_struct;",
                                 "0x80003090 unsigned int[3][2] matrix", "0x80003100 char[] far"});
}

TEST_CASE("Modules' types build on the kernel's") {
  BtfWriter t;
  const Basics basic(t);
  const auto known = t.type("known", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0});
  const auto to_known = t.type("", PTR, 0, false, known);
  const auto to_foreign = t.type("", PTR, 0, false, t.type("foreign", FWD, 0, false, 0));
  t.type("holder", STRUCT, 1, false, 8, {t.string("p"), to_foreign, 0});
  Pieces pieces = kernel_of(t);
  const auto add_module = [&](const char* name, std::uint64_t at, const char* same_member) {
    BtfWriter m = BtfWriter::split(t);
    const auto foreign = m.type("foreign", STRUCT, 1, false, 4, {m.string("x"), basic.integer, 0});
    const auto local = m.type("local", STRUCT, 1, false, 4, {m.string(same_member), basic.integer, 0});
    m.type("private", STRUCT, 4, false, 32, {m.string("k"), known, 0, m.string("p"), to_known, 64, m.string("f"), m.next() + 1, 128,
                                             m.string("l"), m.next() + 2, 192});
    m.type("", PTR, 0, false, foreign);
    m.type("", PTR, 0, false, local);
    m.type("start", FUNC, 0, false, m.type("", PROTO, 1, false, 0, {m.string("p"), to_known}));
    Piece& piece = pieces.pieces.emplace_back();
    piece.name = name;
    piece.btf = m.bytes();
    piece.sections = {{".text", {at}, 0x100, true, false}, {"__bug_table", {at + 0x1000}, 0x10, false, true}};
    piece.symbols = {{"start", {at}, 8, 't'}, {"table", {at + 0x1000}, 8, 'd'}};
  };
  add_module("ext4", 0x90000000, "a");
  add_module("loop", 0x90010000, "b");
  const ImageText text = read(pieces);
  // `foreign` looks the same in both modules, `local` does not.
  CHECK(text.unit("<BTF of ext4, types 1>").lines ==
        std::vector<std::string>{"struct foreign 4 { int x @0; }",
                                 "struct private 32 { struct known k @0; struct known? * p @8; struct foreign * f @16; struct local * l @24; }",
                                 "struct known;", "struct local 4 { int a @0; }"});
  CHECK(text.unit("<BTF of loop, functions 1>").lines ==
        std::vector<std::string>{"[0x90010000, 0x90010008) static void start(struct known? * p)", "struct known;"});
  CHECK(text.find("struct holder") == "struct holder 8 { struct foreign? * p @0; }\n");
  CHECK(std::ranges::count(text.sections, "0x90001000 10 data ext4.__bug_table") == 1);
  CHECK(std::ranges::count(text.symbols, "0x90001000 8 d table ext4.__bug_table") == 1);
}

TEST_CASE("Symbols, sections and the build id") {
  const bool big = GENERATE(false, true);
  Pieces pieces;
  Piece& kernel = pieces.pieces.emplace_back();
  kernel.sections = {{".text", {0x80001000}, 0x1000, true, false}, {".rodata", {0x80002000}, 0x100, false, false}, {"nothing", {0x1}, 0, false, false}};
  kernel.symbols = {{"percpu", {0x40}, 0, 'D'},       {"absolute", {0x99}, 0, 'A'},         {"first", {0x80001000}, 0x10, 'T'},
                    {"second", {0x80001010}, 0, 't'}, {"weak", {0x80001020}, 0, 'W'},       {"last", {0x80001ff0}, 0, 't'},
                    {"_etext", {0x80002000}, 0, 'T'}, {"table", {0x80002010}, 8, 'r'},      {"bad\x1b[1m\xff", {0x80002020}, 8, 'r'},
                    {"", {0x80002030}, 8, 'r'},       {std::string_view("nul\0x", 5), {0x80002040}, 8, 'r'}, {"out", {0x80005000}, 8, 'b'}};
  const auto image = make_image(machine(big), pieces, {"0123456789abcdefABCDEF0123456789abcdef01", "inquest 1", {}});
  REQUIRE(image);
  const ImageText text = read_image(image->file);
  CHECK(text.problems == "");
  CHECK(text.sections == std::vector<std::string>{"", "0x80001000 1000 code .text", "0x80002000 100 data .rodata", ".note.gnu.build-id",
                                                  ".debug_info", ".debug_abbrev", ".debug_aranges", ".debug_line", ".debug_str", ".symtab", ".strtab",
                                                  ".shstrtab"});
  CHECK(text.symbols == std::vector<std::string>{
      "0x80001010 10 t second .text", "0x80001ff0 10 t last .text", "0x80002010 8 d table .rodata",
      "0x80002020 8 d bad?[1m? .rodata", "0x80002040 8 d nul?x .rodata", "0x80005000 8 d out *ABS*", "0x40 0 D percpu *ABS*",
      "0x99 0 N absolute *ABS*", "0x80001000 10 T first .text", "0x80001020 fd0 W weak .text", "0x80002000 0 D _etext .rodata"});
  const std::vector<std::uint8_t> id{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01};
  CHECK(std::search(image->file.begin(), image->file.end(), id.begin(), id.end()) != image->file.end());  // then the contents'
}

TEST_CASE("No piece at all, no types, no symbols") {
  CHECK(read({}).units.empty());
  CHECK(read({{Piece{}}, {}, {}, {}, {}}).units.empty());
}

TEST_CASE("Types that C cannot have are broken, and the rest is written") {
  BtfWriter t;
  const Basics basic(t);
  t.type("loop", TYPEDEF, 0, false, t.next());
  t.type("", PTR, 0, false, t.next());                                                       // a pointer to itself
  t.type("", CONST, 0, false, t.next() + 1);
  t.type("", VOLATILE, 0, false, t.next() - 1);
  t.type("", PROTO, 1, false, t.next() + 1, {0, t.next()});                                  // its own parameter
  t.type("", PTR, 0, false, t.next() - 1);
  t.type("self", STRUCT, 1, false, 8, {t.string("x"), t.next(), 0});
  t.type("a", STRUCT, 1, false, 8, {t.string("b"), t.next() + 1, 0});
  t.type("", ARRAY, 0, false, 0, {t.next() + 1, basic.word, 0xffffffff});
  t.type("b", STRUCT, 1, false, 8, {t.string("a"), t.next() - 2, 0});
  std::uint32_t chain = basic.integer;
  for (int i = 0; i < 10000; ++i) chain = t.type("", PTR, 0, false, chain);
  t.type("deep", TYPEDEF, 0, false, chain);
  std::uint32_t nest = basic.integer;
  for (int i = 0; i < 10000; ++i) nest = t.type("n" + std::to_string(i), STRUCT, 1, false, 4, {t.string("x"), nest, 0});
  for (int i = 0; i < 100; ++i) t.type("tags", TYPE_TAG, 0, false, t.next() + 1);
  t.type("end", TYPE_TAG, 0, false, t.next());
  std::uint32_t bush = basic.integer;  // two ways to each, at each level
  for (int i = 0; i < 60; ++i) bush = t.type("", PTR, 0, false, t.type("", PROTO, 2, false, 0, {0, bush, 0, bush}));
  t.type("bush", TYPEDEF, 0, false, bush);
  t.type("odd", STRUCT, 3, true, 8, {0xfffffff0, 0xffffffff, 0xff000007, t.string("f"), t.next() + 1, 0, t.string("v"), t.next() + 2, 0});
  t.type("function", FUNC, 0, false, basic.integer);
  t.type("variable", VAR, 0, false, basic.integer, {0});
  t.type(".data", DATASEC, 2, false, 8, {t.next() - 1, 0, 4, basic.integer, 4, 4});
  t.type("fine", STRUCT, 1, false, 8, {t.string("x"), basic.integer, 0});
  const ImageText text = read(kernel_of(t));
  INFO(text.find("fine"));
  INFO(text.units.size());
  CHECK(text.has("struct fine 8 { int x @0; }"));
  CHECK(text.has("typedef void loop"));
  CHECK(text.has("struct self 8"));
  CHECK(text.has("struct odd 8 { void @0.7:255; void f @0; void v @0; }"));
  CHECK(text.find("too deep") == "");
}

TEST_CASE("Damaged BTF costs types, not the image") {
  BtfWriter t;
  const Basics basic(t);
  t.type("whole", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0});
  BtfWriter m = BtfWriter::split(t);
  m.type("of_module", STRUCT, 1, false, 4, {m.string("x"), basic.integer, 0});
  t.type("newer", 25, 0, false, 0);
  t.type("after", STRUCT, 1, false, 4, {t.string("x"), basic.integer, 0});
  Pieces pieces = kernel_of(t);
  Piece& module = pieces.pieces.emplace_back();
  module.name = "loop";
  module.btf = m.bytes();

  const auto image = make_image(machine(false), pieces, {"", "inquest 1", {}});
  REQUIRE(image);
  const ImageText text = read_image(image->file);
  CHECK(text.problems == "");
  CHECK(text.has("struct whole 4 { int x @0; }"));
  CHECK(text.find("after") == "");
  CHECK(text.find("of_module") == "");  // its types' numbers go on where the kernel's end, which is not known
  REQUIRE(image->remarks.size() == 2);
  CHECK(image->remarks[0].starts_with("not all types of the kernel: "));
  CHECK(image->remarks[1].starts_with("no types of module loop: "));

  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{30}, pieces.pieces[0].btf.size() - 1}) {
    pieces.pieces[0].btf.resize(size);
    CHECK(read(pieces).find("whole") == "");
  }
}
