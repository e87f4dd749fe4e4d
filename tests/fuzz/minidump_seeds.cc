// Writes small FreeBSD dumps of every machine, and some in containers, into a folder: what minidump_fuzz starts from.
#include <zlib.h>
#include <zstd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/support/freebsd_writer.h"

using namespace kvm::testing;

namespace {

struct Machine {
  const char* name;
  int newest, entry_bytes;
  bool big_too;
  std::uint64_t base, direct;
};
constexpr Machine machines[] = {
    {"amd64", 3, 8, false, 0xfffffe0000000000, 0xfffff80000000000}, {"i386", 2, 4, false, 0xc0000000, 0},
    {"arm64", 3, 8, false, 0xffff000000000000, 0xffffa00000000000}, {"riscv", 2, 8, false, 0xffffffc000000000, 0xffffffd000000000},
    {"arm", 2, 4, true, 0xc0000000, 0},                             {"mips", 2, 8, true, 0xc000000000000000, 0},
    {"powerpc64", 2, 8, true, 0xe000000000000000, 0xc000000000000000}};

MinidumpSpec spec_of(const Machine& machine, int version, bool big) {
  MinidumpSpec spec;
  spec.machine = machine.name;
  spec.version = version;
  spec.big_endian = big;
  spec.kernbase = machine.base;
  spec.kernend = machine.base + 0x7ffffffff;
  spec.dmapbase = machine.direct;
  spec.dmapend = machine.direct ? machine.direct + 0x1000000 : 0;
  spec.mmu_name = big ? "mmu_radix" : "mmu_g5";
  spec.entries = number_row({0x5003, 0x400000e3, 0x2083, 0x6007, 1ull << 63 | 0x2009}, machine.entry_bytes, big);
  if (spec.machine == "powerpc64") spec.entries.resize(big ? 65536 : 4096);
  spec.available = {{0x1000, 0x9000}, {0x20000, 0x22000}};
  for (const std::uint64_t at : {0x2000, 0x5000, 0x20000}) spec.pages[at] = page_of(at);
  return spec;
}

void write(const std::filesystem::path& path, const Buffer& bytes) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

Buffer joined(Buffer a, const Buffer& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  const std::filesystem::path folder = words[1];
  for (const Machine& machine : machines)
    for (int version = 1; version <= machine.newest; ++version)
      for (const bool big : {false, true})
        if (!big || machine.big_too) write(folder / (std::string(machine.name) + std::to_string(version) + (big ? "b" : "l")), write_minidump(spec_of(machine, version, big)));
  const Buffer plain = write_minidump(spec_of(machines[0], 3, false));
  Buffer zstd(ZSTD_compressBound(plain.size()));
  zstd.resize(ZSTD_compress(zstd.data(), zstd.size(), plain.data(), plain.size(), 3));
  write(folder / "zstd", zstd);
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
  Buffer gzip(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<std::uint8_t*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = gzip.data();
  stream.avail_out = static_cast<uInt>(gzip.size());
  deflate(&stream, Z_FINISH);
  gzip.resize(stream.total_out);
  deflateEnd(&stream);
  write(folder / "gzip", gzip);
  KernelDumpHeaderSpec header;
  header.length = header.extent = plain.size();
  write(folder / "header", joined(kernel_dump_header(header), plain));
  write(folder / "device", joined(joined(Buffer(512, 's'), joined(kernel_dump_header(header), plain)), kernel_dump_header(header)));
  FullDumpSpec full;
  full.memory = {{0x1000, page_of(1)}};
  full.delta_virt = 0xffffffff80000000;
  write(folder / "full", write_full_dump(full));
  full.is_virtual = full.big_endian = true;
  full.machine = 21;
  write(folder / "virtual", write_full_dump(full));
}
