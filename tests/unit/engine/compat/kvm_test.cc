// libkvm's promises (FreeBSD, lib/libkvm and its tests), one by one, on a kernel of a few pages.
#include "engine/compat/kvm.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <map>

#include "tests/support/freebsd_writer.h"
#include "tests/unit/engine/compat/fake_core.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::TempDir;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;

namespace {

constexpr std::uint64_t slide = 0x1e00000;

struct Files {
  FakeKernel kernel{{.slide = slide}};
  TempDir folder;
  VirtAddr counter = kernel.variable("counter", 8, 0x1122334455667788);
  VirtAddr gone = kernel.variable("gone", 8, 1);
  std::string core = folder.write("vmcore", test::core_of(kernel));
  std::string exec = folder.write("vmlinux", test::vmlinux_of(kernel, slide, {"counter", "gone", "init_task"}));

  kvm_t* open(int (*resolver)(const char*, kvaddr_t*) = nullptr) {
    char why[2048] = "";
    kvm_t* kd = kvm_open2(exec.c_str(), core.c_str(), O_RDONLY, why, resolver);
    INFO(why);
    REQUIRE(kd);
    return kd;
  }
};

// Why it does not open; "opened" when it does.
std::string refusal(const char* exec, const char* core, int flags = O_RDONLY, int (*resolver)(const char*, kvaddr_t*) = nullptr) {
  char why[2048] = "";
  kvm_t* kd = kvm_open2(exec, core, flags, why, resolver);
  if (!kd) return why;
  kvm_close(kd);
  return "opened";
}

// What a function prints on standard error.
template <class Body>
std::string printed(Body body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::fflush(stderr);
  const int kept = dup(2);
  dup2(ends[1], 2);
  close(ends[1]);
  body();
  std::fflush(stderr);
  dup2(kept, 2);
  close(kept);
  std::string text(4096, '\0');
  const ssize_t got = ::read(ends[0], text.data(), text.size());
  close(ends[0]);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

std::vector<std::string> asked;
std::map<std::string, kvaddr_t, std::less<>> answers;
int resolve(const char* name, kvaddr_t* address) {
  asked.emplace_back(name);
  const auto found = answers.find(name);
  if (found == answers.end()) return 1;
  *address = found->second;
  return 0;
}
int says_yes_to_all(const char*, kvaddr_t* address) {
  *address = 0xdeadbeef;
  return 0;
}
int forgets_to_answer(const char*, kvaddr_t*) { return 0; }

}  // namespace

TEST_CASE("kvm_open2 says why it does not open", "[libkvm]") {
  Files files;
  const char *exec = files.exec.c_str(), *core = files.core.c_str();
  CHECK_THAT(refusal(exec, core), Equals("opened"));
  CHECK_THAT(refusal(exec, "/nonexistent"), Equals("/nonexistent: No such file or directory"));
  CHECK_THAT(refusal("/nonexistent", core), Equals("/nonexistent: No such file or directory"));
  CHECK_THAT(refusal("/nonexistent", "/dev/zero"), Equals("/nonexistent: No such file or directory"));
  CHECK_THAT(refusal(exec, core, O_RDONLY | O_CREAT), Equals("bad flags arg"));
  CHECK_THAT(refusal(exec, core, O_RDONLY | O_NONBLOCK), Equals("bad flags arg"));
  CHECK_THAT(refusal(std::string(4096, 'x').c_str(), core), Equals("exec file name too long"));
  const std::string empty = files.folder.write("empty", {}), text = files.folder.write("text", testing::Buffer(5000, 'a'));
  CHECK_THAT(refusal(exec, empty.c_str()), Equals("empty file: Invalid argument"));
  CHECK_THAT(refusal(text.c_str(), core), Equals("kernel is not an ELF file"));
  CHECK_THAT(refusal(exec, text.c_str()), Contains(text) && Contains("not a crash dump"));
  CHECK_THAT(refusal("/bin/sh", text.c_str()), Contains("not a crash dump"));
  auto odd = test::vmlinux_of(files.kernel, slide, {"counter"});
  odd[5] = 3;  // EI_DATA
  CHECK_THAT(refusal(files.folder.write("odd", odd).c_str(), core), Equals("unsupported ELF data encoding for kernel"));
  odd[5] = 1;
  odd[18] = 0xee, odd[19] = 0xee;  // e_machine
  CHECK_THAT(refusal(files.folder.write("strange", odd).c_str(), core), Equals("unsupported architecture"));
  odd[18] = 3, odd[19] = 0, odd[4] = 1;  // i386
  CHECK_THAT(refusal(files.folder.write("other", odd).c_str(), core), !Equals("opened"));
}

TEST_CASE("the file of another build is not the dump's kernel", "[libkvm]") {
  Files files;
  auto other = test::vmlinux_of(files.kernel, slide, {"counter"});
  const auto id = std::search(other.begin(), other.end(), std::begin("\x01\x02\x03\x04\x05"), std::begin("\x01\x02\x03\x04\x05") + 5);
  REQUIRE(id != other.end());
  *id ^= 0xff;
  CHECK_THAT(refusal(files.folder.write("other", other).c_str(), files.core.c_str()), Contains("another build"));
}

TEST_CASE("without a buffer for errors there is none", "[libkvm]") {
  CHECK(!kvm_open2("/nonexistent", "/nonexistent", O_RDONLY, nullptr, nullptr));
  CHECK(!kvm_openfiles("/nonexistent", "/nonexistent", nullptr, O_RDONLY, nullptr));
  CHECK(printed([] { CHECK(!kvm_open("/nonexistent", "/nonexistent", nullptr, O_RDONLY, nullptr)); }).empty());
}

TEST_CASE("an error buffer has 2,048 characters and an end", "[libkvm]") {
  char why[2048 + 1];
  std::memset(why, '#', sizeof why);
  const std::string core(5000, 'c');
  CHECK(!kvm_openfiles("/nonexistent", core.c_str(), nullptr, O_RDONLY, why));
  CHECK(std::strlen(why) == 2047);
  CHECK(why[2048] == '#');
}

TEST_CASE("kvm_open prints hard errors and keeps soft ones, as SunOS did", "[libkvm]") {
  Files files;
  CHECK_THAT(printed([] { kvm_open("/x", "/nonexistent", nullptr, O_RDONLY, "prog"); }), Equals("prog: /nonexistent: No such file or directory\n"));
  kvm_t* kd = kvm_open(files.exec.c_str(), files.core.c_str(), nullptr, O_RDONLY, "prog");
  REQUIRE(kd);
  CHECK_THAT(printed([&] { CHECK(kvm_write(kd, 0, "", 1) == -1); }), Equals("prog: kvm_write not implemented for dead kernels\n"));
  CHECK_THAT(kvm_geterr(kd), Equals(""));
  char byte;
  CHECK(printed([&] { CHECK(kvm_read(kd, 0x10, &byte, 1) == -1); }).empty());
  CHECK_THAT(kvm_geterr(kd), Equals("invalid address (0x10)"));
  kvm_close(kd);
}

TEST_CASE("no handle: an error, an empty message, nothing to forget", "[libkvm]") {
  errno = 0;
  CHECK(kvm_close(nullptr) == -1);
  CHECK(errno == EINVAL);
  CHECK_THAT(kvm_geterr(nullptr), Equals(""));
  CHECK(kvm_getswapinfo(nullptr, nullptr, 0, 0) == 0);
  CHECK(kvm_getcptime(nullptr, nullptr) == 0);
  CHECK(kvm_getmaxcpu(nullptr) == 0);
  CHECK(kvm_getncpus(nullptr) == 0);
  CHECK(kvm_getpcpu(nullptr, 0) == nullptr);
}

TEST_CASE("kvm_read2 fails as a whole where nothing translates, and is short where the file ends", "[libkvm]") {
  Files files;
  kvm_t* kd = files.open();
  std::uint64_t value = 0;
  CHECK(kvm_read2(kd, files.counter.raw, &value, sizeof value) == 8);
  CHECK(value == 0x1122334455667788);
  CHECK(kvm_read(kd, files.counter.raw, &value, 0) == 0);

  // The image is one page of 2 MiB; the direct map's end is the end of what translates.
  std::vector<char> two(8192);
  const VirtAddr last = files.kernel.direct_map() + ((64u << 20) - 4096);
  files.kernel.memory.put(files.kernel.phys(last), "the last page");
  kvm_close(kd);
  files.core = files.folder.write("vmcore2", test::core_of(files.kernel));
  kd = files.open();
  CHECK(kvm_read2(kd, last.raw, two.data(), 4096) == 4096);
  std::fill(two.begin(), two.end(), '#');
  CHECK(kvm_read2(kd, last.raw, two.data(), two.size()) == -1);
  CHECK(std::string(two.data()) == "the last page");  // what was read stays
  CHECK_THAT(kvm_geterr(kd), Contains("invalid address"));

  // A page that was left out of the dump has no place in it: libkvm fails, too.
  CHECK(kvm_read2(kd, (files.kernel.direct_map() + 0x2000000).raw, two.data(), 16) == -1);
  CHECK_THAT(kvm_geterr(kd), Catch::Matchers::StartsWith("invalid address (0x") && Contains("not in the dump"));

  // A success leaves the message.
  const std::string before = kvm_geterr(kd);
  CHECK(kvm_read2(kd, files.counter.raw, &value, 8) == 8);
  CHECK(before == kvm_geterr(kd));
  kvm_close(kd);
}

TEST_CASE("a dump that is cut gives what it has", "[libkvm]") {
  Files files;
  auto bytes = test::core_of(files.kernel);
  const VirtAddr last = files.kernel.direct_map() + 0x3000000;
  files.kernel.memory.put(files.kernel.phys(last), std::string(4096, 'x'));
  files.kernel.memory.put(files.kernel.phys(last + 4096), std::string(4096, 'y'));
  bytes = test::core_of(files.kernel);
  // The segments lie in the order of their addresses, so the file ends with these two pages, the page tables' apart.
  const auto y = std::search_n(bytes.begin(), bytes.end(), 4096, 'y');
  REQUIRE(y != bytes.end());
  bytes.resize(static_cast<std::size_t>(y - bytes.begin()) + 100);
  files.core = files.folder.write("cut", bytes);
  kvm_t* kd = files.open();
  std::vector<char> out(8192);
  CHECK(kvm_read2(kd, last.raw, out.data(), out.size()) == 4096 + 100);
  CHECK(out[4195] == 'y');
  CHECK(kvm_read2(kd, last.raw + 4096 + 100, out.data(), 10) == 0);
  kvm_close(kd);
}

TEST_CASE("kvm_nlist counts what it does not find", "[libkvm]") {
  Files files;
  kvm_t* kd = files.open();
  struct kvm_nlist wide[] = {{"counter", 99, 99}, {"_counter", 0, 0}, {"nowhere", 99, 99}, {"__counter", 0, 0}, {nullptr, 0, 0}};
  CHECK(kvm_nlist2(kd, wide) == 2);
  CHECK(wide[0].n_value == files.counter.raw);
  CHECK(wide[1].n_value == files.counter.raw);
  CHECK(wide[0].n_type == (N_BSS | N_EXT));
  CHECK(wide[2].n_value == 0);
  CHECK(wide[2].n_type == N_UNDF);
  struct nlist old[] = {{"counter", 9, 9, 9, 9}, {"nowhere", 9, 9, 9, 9}, {"", 0, 0, 0, 0}};
  CHECK(kvm_nlist(kd, old) == 1);
  CHECK(old[0].n_value == files.counter.raw);
  CHECK(old[0].n_other == 0);
  CHECK(old[0].n_desc == 0);
  CHECK(old[1].n_type == N_UNDF);
  struct kvm_nlist none[] = {{"", 0, 0}};
  CHECK(kvm_nlist2(kd, none) == 0);
  CHECK(kvm_kerndisp(kd) == static_cast<kssize_t>(slide));
  kvm_close(kd);
}

TEST_CASE("a resolver is asked for names as they are, and believed", "[libkvm]") {
  Files files;
  asked.clear();
  answers = {{"_mine", files.counter.raw}, {"vnet_entry_tcp", 0x1234}, {"pcpu_entry_thing", 0x5678}};
  kvm_t* kd = files.open(resolve);
  struct kvm_nlist list[] = {{"_mine", 0, 0}, {"mine", 0, 0}, {"counter", 0, 0}, {nullptr, 0, 0}};
  CHECK(kvm_nlist2(kd, list) == 2);
  CHECK(list[0].n_value == files.counter.raw);
  CHECK(list[0].n_type == (N_DATA | N_EXT));
  CHECK(list[2].n_type == N_UNDF);  // although the kernel's file has it
  REQUIRE(asked.size() >= 3);
  CHECK(asked[0] == "_mine");
  CHECK(asked[1] == "mine");
  std::uint64_t value = 0;
  CHECK(kvm_read2(kd, list[0].n_value, &value, 8) == 8);
  CHECK(value == 0x1122334455667788);
  kvm_close(kd);
}

TEST_CASE("a resolver that lies does no harm", "[libkvm]") {
  Files files;
  for (auto* liar : {says_yes_to_all, forgets_to_answer}) {
    kvm_t* kd = files.open(liar);
    struct kvm_nlist list[] = {{"allproc", 0, 0}, {nullptr, 0, 0}};
    CHECK(kvm_nlist2(kd, list) == 0);
    char byte;
    CHECK(kvm_read2(kd, list[0].n_value, &byte, 1) == -1);
    int count = 5;
    CHECK(!kvm_getprocs(kd, KERN_PROC_PROC, 0, &count));
    double load[3];
    CHECK(kvm_getloadavg(kd, load, 3) == -1);
    CHECK(kvm_geterr(kd)[0]);
    kvm_close(kd);
  }
}

TEST_CASE("a dump of another processor needs a resolver", "[libkvm]") {
  Files files;
  const std::string core = files.folder.write("arm64", test::core_of(files.kernel, 183));
  CHECK_THAT(refusal(nullptr, core.c_str()), Equals("non-native kernel requires a symbol resolver"));
  CHECK_THAT(refusal(nullptr, core.c_str(), O_RDONLY, resolve), !Contains("resolver"));
  CHECK_THAT(refusal(files.exec.c_str(), core.c_str(), O_RDONLY, resolve), !Equals("opened"));
  kvaddr_t address = 7;
  CHECK(kvm_own_symbols("x", &address) != 0);
  CHECK(address == 7);
}

TEST_CASE("Power's kernels are read by link-time addresses, too", "[libkvm]") {
  kvm::testing::MinidumpSpec spec;
  spec.machine = "powerpc64";
  spec.version = 2;
  spec.big_endian = true;
  spec.mmu_name = "mmu_radix";
  spec.kernbase = 0xe000000000000000;
  spec.kernend = 0xe0000000c7ffffff;
  spec.dmapbase = 0xc000000000000000;
  spec.dmapend = 0xcfffffffffffffff;
  spec.startkernel = 0xc000000000300100;  // linked at 0x100100
  spec.available = {{0x100000, 0x400000}};
  spec.entries.resize(65536);
  spec.pages[0x300000].assign(4096, 'k');
  TempDir folder;
  const std::string core = folder.write("vmcore", kvm::testing::write_minidump(spec));
  char why[2048] = "", text[4];
  kvm_t* kd = kvm_open2(nullptr, core.c_str(), O_RDONLY, why, kvm_own_symbols);
  INFO(why);
  REQUIRE(kd);
  CHECK(kvm_kerndisp(kd) == static_cast<kssize_t>(0xc000000000200000));
  CHECK(kvm_read2(kd, 0xc000000000300200, text, sizeof text) == 4);
  CHECK(kvm_read2(kd, 0x100200, text, sizeof text) == 4);
  CHECK(std::string(text, 4) == "kkkk");
  CHECK(kvm_read2(kd, 0x200200, text, sizeof text) == -1);
  kvm_close(kd);
}

TEST_CASE("/dev/null is a kernel without memory", "[libkvm]") {
  char why[2048] = "";
  kvm_t* kd = kvm_open2(nullptr, "/dev/null", O_RDONLY, why, nullptr);
  REQUIRE(kd);
  CHECK(kvm_native(kd) == 1);
  char byte;
  CHECK(kvm_read(kd, 0, &byte, 1) == 0);
  CHECK_THAT(kvm_geterr(kd), Equals("short read"));
  CHECK(kvm_write(kd, 0, &byte, 1) == -1);  // opened for reading
  CHECK_THAT(kvm_geterr(kd), Contains("kvm_write"));
  int count = 0;
  CHECK(!kvm_getprocs(kd, KERN_PROC_ALL, 0, &count));
  CHECK(kvm_getncpus(kd) == -1);
  CHECK(kvm_getpcpu(kd, 0) == reinterpret_cast<void*>(-1));
  CHECK(kvm_kerndisp(kd) == 0);
  CHECK(kvm_walk_pages(kd, [](struct kvm_page*, void*) { return 1; }, nullptr) == 0);
  CHECK(kvm_close(kd) == 0);
}

TEST_CASE("without types there are memory and symbols, and a reason for the rest", "[libkvm]") {
  Files files;
  kvm_t* kd = files.open();
  double load[3];
  CHECK(kvm_getloadavg(kd, load, 3) == -1);
  CHECK_THAT(kvm_geterr(kd), Contains("BTF"));
  CHECK(kvm_getmaxcpu(kd) == -1);
  CHECK(kvm_read_zpcpu(kd, 0, load, 8, 0) == -1);
  CHECK(kvm_counter_u64_fetch(kd, 0) == 0);
  CHECK(kvm_dpcpu_setcpu(kd, 0) == -1);
  kvm_close(kd);
}

TEST_CASE("two handles know nothing of each other", "[libkvm]") {
  Files one, other;
  kvm_t *a = one.open(), *b = other.open(resolve);
  char byte;
  CHECK(kvm_read(a, 0x10, &byte, 1) == -1);
  CHECK_THAT(kvm_geterr(b), Equals(""));
  CHECK(kvm_close(a) == 0);
  CHECK(kvm_read2(b, other.counter.raw, &byte, 1) == 1);
  CHECK(kvm_close(b) == 0);
}

namespace {
struct Seen {
  std::vector<kvm_page> pages;
  std::size_t limit = ~std::size_t{0};
};
int see(struct kvm_page* page, void* closure) {
  auto& seen = *static_cast<Seen*>(closure);
  seen.pages.push_back(*page);
  return seen.pages.size() < seen.limit;
}
}  // namespace

TEST_CASE("kvm_walk_pages visits each page of the dump once, and knows where it is mapped", "[libkvm]") {
  Files files;
  kvm_t* kd = files.open();
  Seen seen;
  CHECK(kvm_walk_pages(kd, see, &seen) == 1);
  const auto expected = files.kernel.memory.pages();
  REQUIRE(seen.pages.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const kvm_page& page = seen.pages[i];
    CHECK(page.kp_version == 2);
    CHECK(page.kp_paddr == expected[i].raw);
    CHECK(page.kp_len == 4096);
    CHECK(page.kp_dmap_vaddr == (files.kernel.direct_map() + page.kp_paddr).raw);
    const bool in_image = page.kp_paddr >= files.kernel.image_phys().raw && page.kp_paddr - files.kernel.image_phys().raw < 0x200000;
    CHECK(page.kp_kmap_vaddr == (in_image ? files.kernel.image().raw + (page.kp_paddr - files.kernel.image_phys().raw) : 0));
    CHECK((page.kp_prot & VM_PROT_READ) != 0);
    std::vector<std::uint8_t> there(4096), want(4096);
    const int file = ::open(files.core.c_str(), O_RDONLY);
    CHECK(::pread(file, there.data(), 4096, page.kp_offset) == 4096);
    ::close(file);
    CHECK(files.kernel.memory.read(expected[i], want));
    CHECK(there == want);
  }
  Seen few{{}, 3};
  CHECK(kvm_walk_pages(kd, see, &few) == 0);
  CHECK(few.pages.size() == 3);
  kvm_close(kd);
}
