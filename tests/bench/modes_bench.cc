// What a translation costs, from an ELF dump; tests/bench/run judges.
//   modes_bench warm FOLDER      `ARCH MODE NANOSECONDS` for every paging mode: the tables of its golden walks, again and again
//   modes_bench cold FOLDER      `cold NANOSECONDS`: four levels, 64 MiB of tables, each address once and in no order
// FOLDER is for the dumps that are made.
#include <fmt/format.h>

#include <time.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "engine/dump.h"
#include "engine/space.h"
#include "tests/support/dump_writer.h"
#include "tests/support/walk_file.h"

using namespace kvm;
using kvm::testing::WalkCase;

namespace {

double cpu_now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) * 1e9 + double(time.tv_nsec);
}

Result<Dump> elf_dump(const std::string& path, std::vector<kvm::testing::LoadSpec> loads) {
  const kvm::testing::Buffer bytes = kvm::testing::write_elf({.loads = std::move(loads)});
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return open_dump(path, "elf", {});
}

// The best of several rounds: what disturbs only makes slower.
double warm_cost(const AddressSpace& space, const std::vector<VirtAddr>& addresses, std::uint64_t& sum) {
  double best = 1e9;
  for (int round = 0; round < 7; ++round) {
    constexpr int times = 4000;
    const double from = cpu_now();
    for (int i = 0; i < times; ++i)
      for (VirtAddr at : addresses) sum += space.translate(at).value_or(PhysAddr{}).raw;
    best = std::min(best, (cpu_now() - from) / times / double(addresses.size()));
  }
  return best;
}

bool warm(const arch::Arch& arch, const arch::PagingMode& mode, const WalkCase& golden, const std::string& folder) {
  std::vector<kvm::testing::LoadSpec> loads;
  for (PhysAddr page : golden.memory.pages()) {
    loads.push_back({.paddr = page.raw, .data = kvm::testing::Buffer(4096)});
    if (golden.memory.read(page, loads.back().data).value_or(0) != 4096) loads.pop_back();
  }
  auto dump = elf_dump(folder + "/tables", loads);
  if (!dump) return fmt::print(stderr, "modes_bench: {}\n", to_string(dump.error())), false;
  const PageTable table{&mode, golden.low, golden.high, golden.clear, golden.order, golden.empty};
  std::vector<Mapping> mappings;
  for (const arch::Window& window : mode.windows) mappings.push_back({{window.first}, {window.last}, Linear{{window.phys}}, ""});
  mappings.push_back({{0}, {~std::uint64_t{0}}, table, ""});
  const AddressSpace space(*dump->memory, mappings);
  std::vector<VirtAddr> addresses;
  for (const auto& check : golden.checks)
    if (check.phys && space.translate(check.virt) == *check.phys) addresses.push_back(check.virt);
  if (addresses.empty()) return fmt::print(stderr, "modes_bench: {} {} translates nothing\n", arch.name, mode.name), false;
  std::uint64_t sum = 0;
  const double cost = warm_cost(space, addresses, sum);
  fmt::print("{} {} {:.1f}\n", arch.name, mode.name, cost + (sum == 1 ? 1e-9 : 0));  // the sum is needed
  return true;
}

int warm_all(const std::string& folder) {
  bool good = true;
  for (const arch::Arch* arch : arch::arches())
    for (const auto& golden : kvm::testing::read_walk_file(fmt::format("{}/golden/walks/{}.txt", TEST_DATA, arch->name)))
      for (const arch::PagingMode& mode : arch->paging)
        if (mode.name == golden.mode && !golden.entries.empty()) good &= warm(*arch, mode, golden, folder);
  return good ? 0 : 1;
}

// x86-64 (Intel SDM, volume 3, tables 4-15 to 4-20): one PML4, one PDPT, 32 page directories, 16,384 page tables.
constexpr std::uint64_t page = 4096, table_entries = 512, directories = 32, tables = directories * table_entries;

kvm::testing::Buffer x86_tables() {
  kvm::testing::Image image;
  image.pad_to((2 + directories + tables) * page);
  image.put(0, page | 0x63, 8);
  for (std::uint64_t i = 0; i < directories; ++i) image.put(page + i * 8, (2 + i) * page | 0x63, 8);
  for (std::uint64_t i = 0; i < tables; ++i) image.put(2 * page + i * 8, (2 + directories + i) * page | 0x63, 8);
  for (std::uint64_t i = 0; i < tables * table_entries; ++i) image.put((2 + directories) * page + i * 8, i * page | 0x8000000000000063, 8);
  return image.take();
}

int cold(const std::string& folder) {
  kvm::testing::Buffer bytes = x86_tables();
  auto dump = elf_dump(folder + "/cold", {{.paddr = 0, .data = std::move(bytes)}});
  if (!dump) return fmt::print(stderr, "modes_bench: {}\n", to_string(dump.error())), 1;
  const PageTable table{&arch::find("x86_64")->paging[0], {0}, {0}, 0, std::endian::little};
  const AddressSpace space(*dump->memory, {{{0}, {~std::uint64_t{0}}, table, ""}});
  std::vector<VirtAddr> addresses;
  for (std::uint64_t i = 0; i < tables; ++i) addresses.push_back({i << 21 | (i * 7 & 0x1ff) << 12});
  std::shuffle(addresses.begin(), addresses.end(), std::mt19937_64(1));
  std::uint64_t wrong = 0;
  const double from = cpu_now();
  for (VirtAddr at : addresses) wrong += space.translate(at) != PhysAddr{at.raw};
  const double cost = (cpu_now() - from) / double(addresses.size());
  if (wrong) return fmt::print(stderr, "modes_bench: {} wrong translations\n", wrong), 1;
  fmt::print("cold {:.1f}\n", cost);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "warm") return warm_all(words[1]);
  if (words.size() == 2 && words[0] == "cold") return cold(words[1]);
  fmt::print(stderr, "usage: modes_bench warm|cold FOLDER\n");
  return 2;
}
