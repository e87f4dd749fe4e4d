// DWARF as compilers really write it: the test compiles a small C program, as several versions of DWARF, and asks for
// what the C text says.  Does nothing where there is no compiler.
#include "engine/symbols/dwarf.h"

#include <catch2/catch.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engine/symbols/elf_symtab.h"

using namespace kvm;
namespace fs = std::filesystem;

namespace {

constexpr const char* first_text = R"(
struct list { struct list *next, *prev; };
enum state { RUNNING, DEAD = -2, HUGE = 0x7fffffff };
typedef const enum state state_t;
typedef struct { int x; } anon_t;
struct later;
typedef struct later later_t;
struct task {
  int pid;
  unsigned a : 3, b : 7, : 6, c : 16;
  union { long flags; struct { int low, high; }; };
  char comm[16];
  struct task *parent;
  short grid[2][3];
  volatile state_t state;
  struct list run;
  anon_t *other;
  later_t *later;
  double ratio;
  int (*call)(int);
  int tail[];
} a_task;
later_t *a_later;
static inline __attribute__((always_inline)) int inner(int x) {
  return x / a_task.pid;  /* inner */
}
__attribute__((noinline)) int outer(int x) {
  return inner(x) + 1;  /* outer */
}
__attribute__((noinline)) int second(int x) {
  return x * a_task.low;  /* second */
}
)";
constexpr const char* second_text = R"(
struct later { long here; };
struct later the_later;
enum where { ONLY_HERE = 7 } a_where;
union only_second { char c; int i; } the_second;
)";

std::uint32_t line_of(const std::string& mark) {
  const std::string text = first_text;
  return static_cast<std::uint32_t>(1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.find(mark)), '\n'));
}

class Program {
 public:
  Program() {
    std::string name = (fs::temp_directory_path() / "dwarf-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path_ = name;
    std::ofstream(path_ / "first.c") << first_text;
    std::ofstream(path_ / "second.c") << second_text;
  }
  ~Program() { fs::remove_all(path_); }
  // Path of the result, empty when the compiler cannot do it.
  std::string compile(const std::string& command, const std::string& files) const {
    const std::string line = "cd " + path_.string() + " && " + command + " -O1 -o out " + files + " 2>/dev/null";
    return std::system(line.c_str()) == 0 ? (path_ / "out").string() : "";
  }

 private:
  fs::path path_;
};

constexpr const char* compilers[] = {"cc -g", "cc -gdwarf-4", "cc -gdwarf-2", "cc -gdwarf-5 -gdwarf64", "clang-19 -gdwarf-5",
                                     "clang-19 -gdwarf-4", "cc -gdwarf-2 -gstrict-dwarf"};
// DWARF 2 proper, the last, knows neither units in several pieces nor where a function was inlined.
constexpr std::size_t modern = std::size(compilers) - 1;

}  // namespace

TEST_CASE("DWARF types agree with the C text") {
  const std::string compiler = GENERATE(from_range(std::begin(compilers), std::end(compilers)));
  INFO(compiler);
  const Program program;
  const std::string path = program.compile(compiler + " -shared -fPIC", "first.c second.c");
  if (path.empty()) return;
  const auto opened = open_dwarf_types(path);
  REQUIRE(opened);
  const Types& types = **opened;
  const auto member = [&](std::string_view name) { return types.member("task", name).value(); };
  using Kind = Member::Kind;

  CHECK(types.size_of("task") == 104);
  CHECK(types.size_of("state_t") == 4);
  CHECK(types.size_of("int") == 4);
  CHECK(types.size_of("only_second") == 4);
  CHECK(member("pid").is_signed);
  CHECK(member("pid").kind == Kind::integer);
  const auto bits = [&](const char* name) {
    const Member m = member(name);
    return std::vector<std::uint64_t>{m.offset, m.size, m.bit_offset, m.bit_size};
  };
  CHECK(bits("a") == std::vector<std::uint64_t>{4, 1, 0, 3});
  CHECK(bits("b") == std::vector<std::uint64_t>{4, 2, 3, 7});
  CHECK(bits("c") == std::vector<std::uint64_t>{6, 2, 0, 16});
  CHECK(member("flags").offset == 8);
  CHECK(member("high").offset == 12);
  CHECK(member("comm").count == 16);
  CHECK(member("comm[3]").offset == 19);
  CHECK(member("parent").type_name == "task");
  CHECK(member("parent").kind == Kind::pointer);
  CHECK(member("grid").count == 2);
  CHECK(member("grid").element_size == 6);
  CHECK(member("grid").size == 12);
  CHECK(member("grid[1][2]").offset == 50);
  CHECK(member("state").kind == Kind::integer);
  CHECK(member("run.prev").offset == 64);
  CHECK(member("run").type_name == "list");
  CHECK(member("other").type_name == "anon_t");
  CHECK(types.member("anon_t", "x")->size == 4);
  CHECK(member("ratio").kind == Kind::other);
  CHECK(member("ratio").size == 8);
  CHECK(member("call").kind == Kind::pointer);
  CHECK(member("call").type_name.empty());
  CHECK(member("tail").count == 0);
  CHECK(member("tail[2]").offset == 112);

  // Declared in the first unit, defined in the second.
  CHECK(member("later").type_name == "later");
  CHECK(types.size_of("later") == 8);
  CHECK(types.member("later", "here")->kind == Kind::integer);

  CHECK(types.enumerator("RUNNING") == 0);
  CHECK(types.enumerator("DEAD") == -2);
  CHECK(types.enumerator("HUGE") == 0x7fffffff);
  CHECK(types.enumerator("ONLY_HERE") == 7);
  for (int i = 0; i < 2; ++i) {
    CHECK_FALSE(types.enumerator("NOWHERE"));
    CHECK(types.size_of("nowhere").error().code == Errc::not_found);
    CHECK(types.size_of("inner").error().code == Errc::not_found);
    CHECK(types.member("task", "nothing").error().code == Errc::not_found);
  }
}

TEST_CASE("Addresses lead to source lines, through inlined functions") {
  const std::string compiler = GENERATE(from_range(compilers, compilers + modern));
  INFO(compiler);
  const Program program;
  const std::string path = program.compile(compiler + " -shared -fPIC", "first.c second.c");
  if (path.empty()) return;
  const auto file = ElfFile::open(path);
  constexpr std::uint64_t slide = 0xffffffff12340000;
  const auto symbols = open_elf_symbols(*file, slide);
  const auto outer = (*symbols)->find("outer");
  REQUIRE(outer);
  const auto lines = open_dwarf_lines(path, slide);
  REQUIRE(lines);

  bool saw_inner = false, saw_outer = false;
  for (std::uint64_t i = 0; i < outer->size; ++i) {
    const auto chain = (*lines)->at(outer->address + i);
    REQUIRE_FALSE(chain.empty());
    CHECK(chain.back().function == "outer");
    CHECK(chain.back().file.ends_with("first.c"));
    if (chain.size() == 1) saw_outer |= chain[0].line == line_of("/* outer */");
    else if (chain[0].function == "inner" && chain[0].line == line_of("/* inner */"))
      saw_inner |= chain[1].line == line_of("/* outer */");
  }
  CHECK(saw_inner);
  CHECK(saw_outer);
  CHECK((*lines)->at({0x10}).empty());
}

TEST_CASE("A module's sections overlap in the file and do not in memory") {
  const std::string compiler = GENERATE(from_range(compilers, compilers + modern));
  INFO(compiler);
  const Program program;
  const std::string path = program.compile(compiler + " -ffunction-sections -c", "first.c");
  if (path.empty()) return;
  const std::vector<std::pair<std::string, VirtAddr>> sections{{".text.outer", {0xffffffffc0000000}},
                                                               {".text.second", {0xffffffffc0010000}}};
  const auto lines = open_module_lines(path, sections);
  REQUIRE(lines);
  const auto outer = (*lines)->at({0xffffffffc0000000}), second = (*lines)->at({0xffffffffc0010000});
  REQUIRE_FALSE(outer.empty());
  REQUIRE_FALSE(second.empty());
  CHECK(outer.back().function == "outer");
  CHECK(second.back().function == "second");
  CHECK(second.back().line + 1 >= line_of("/* second */"));
  CHECK((*lines)->at({0xffffffffc0020000}).empty());
  CHECK(open_dwarf_types(path).value()->size_of("task") == 104);  // relocatable files tell types too
}

TEST_CASE("A file without DWARF says so") {
  const Program program;
  const std::string path = program.compile("cc -g0 -shared -fPIC", "second.c");
  if (path.empty()) return;
  CHECK(open_dwarf_types(path).error().code == Errc::not_found);
  CHECK(open_dwarf_lines(path, 0).error().code == Errc::not_found);
  CHECK(open_dwarf_types("/nonexistent").error().code == Errc::io);
  CHECK(open_dwarf_types(fs::path(path).replace_filename("first.c")).error().code == Errc::bad_data);
}
