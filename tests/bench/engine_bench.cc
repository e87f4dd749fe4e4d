// Times one layer at a time and prints `NAME VALUE` lines; tests/bench/run compares and explains.
//   engine_bench read DUMP [FORMAT]       every dumped page once, in order: pages, seconds; for ELF memcpy's own speed
//   engine_bench pages DUMP               the dumped pages, as `first count` in 4 KiB pages
//   engine_bench open DUMP                opening alone: seconds
//   engine_bench session DUMP VMLINUX     4 KiB memory packets, warm: microseconds each
//   engine_bench walk DUMP VMLINUX        translations, warm: nanoseconds each
#include <fmt/format.h>

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/kernel.h"
#include "stub/packet.h"
#include "stub/session.h"

using namespace kvm;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Of this thread: microseconds would drown in whatever else the machine does.
double cpu_now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

int complain(const Error& error) {
  fmt::print(stderr, "engine_bench: {}\n", to_string(error));
  return 1;
}

constexpr std::size_t chunk_bytes = 1 << 20;

// Every page that is there, in large reads where pages follow each other.
std::uint64_t read_all(const PhysicalMemory& memory, std::vector<std::uint8_t>& chunk) {
  std::uint64_t pages = 0;
  for (const PhysRange& range : memory.ranges()) {
    for (std::uint64_t at = 0; at < range.size;) {
      auto got = memory.read(range.first + at, MutableBytes(chunk).first(std::min<std::uint64_t>(chunk.size(), range.size - at)));
      pages += got.value_or(0) / 4096;
      at += got ? std::max<std::uint64_t>(*got, 4096) : 4096;
    }
  }
  return pages;
}

// The same bytes with nothing in between.
double copy_all(const PhysicalMemory& memory, std::vector<std::uint8_t>& chunk) {
  const double from = now();
  for (const PhysRange& range : memory.ranges())
    for (std::uint64_t at = 0; at < range.size; at += chunk.size()) {
      const Bytes bytes = memory.view(range.first + at);
      std::memcpy(chunk.data(), bytes.data(), std::min<std::uint64_t>({chunk.size(), range.size - at, bytes.size()}));
    }
  return now() - from;
}

int bench_read(const std::string& path, const std::string& format) {
  auto dump = open_dump(path, format, {});
  if (!dump) return complain(dump.error());
  std::vector<std::uint8_t> chunk(chunk_bytes);
  std::uint64_t pages = 0;
  double best = 1e9, copy = 1e9;
  const bool plain = !dump->memory->ranges().empty() && !dump->memory->view(dump->memory->ranges().front().first).empty();
  for (int round = 0; round < 5; ++round) {
    const double from = now();
    pages = read_all(*dump->memory, chunk);
    best = std::min(best, now() - from);
    if (plain) copy = std::min(copy, copy_all(*dump->memory, chunk));
    if (best > 2) break;
  }
  fmt::print("pages {}\nseconds {:.6f}\n", pages, best);
  if (plain) fmt::print("memcpy {:.6f}\n", copy);
  return 0;
}

int print_pages(const std::string& path) {
  auto dump = open_dump(path, "", {});
  if (!dump) return complain(dump.error());
  std::uint8_t byte = 0;
  for (const PhysRange& range : dump->memory->ranges()) {
    std::uint64_t first = 0, count = 0;
    for (std::uint64_t at = range.first.raw; at < range.first.raw + range.size; at += 4096) {
      const bool there = dump->memory->read(PhysAddr{at}, {&byte, 1}).has_value();
      if (there && count++ == 0) first = at / 4096;
      if (!there && count) fmt::print("{} {}\n", first, std::exchange(count, 0));
    }
    if (count) fmt::print("{} {}\n", first, count);
  }
  return 0;
}

int bench_open(const std::string& path) {
  const double from = now();
  auto dump = open_dump(path, "", {});
  if (!dump) return complain(dump.error());
  fmt::print("seconds {:.6f}\n", now() - from);
  return 0;
}

Result<Kernel> open(const std::string& dump, const std::string& vmlinux) {
  OpenOptions options;
  options.dump = dump;
  options.vmlinux = vmlinux;
  return Kernel::open(options);
}

double packet_cost(rsp::Session& session, std::string_view body, std::size_t& bytes) {
  const std::string packet = rsp::encode(body);
  for (int i = 0; i < 100; ++i) bytes = session.consume(packet).size();
  constexpr int rounds = 20000;
  const double from = cpu_now();
  for (int i = 0; i < rounds; ++i) bytes = session.consume(packet).size();
  return (cpu_now() - from) / rounds * 1e6;
}

int bench_session(const std::string& dump, const std::string& vmlinux) {
  auto kernel = open(dump, vmlinux);
  if (!kernel) return complain(kernel.error());
  const rsp::Shared shared(*kernel, {});
  rsp::Session session(shared);
  std::size_t bytes = 0;
  session.consume("+" + rsp::encode("qSupported:swbreak+;hwbreak+;vContSupported+"));
  session.consume("+" + rsp::encode("QStartNoAckMode"));
  session.consume("+");
  const std::uint64_t at = kernel->symbols().find("linux_banner")->address.raw & ~std::uint64_t{4095};
  fmt::print("m_microseconds {:.3f}\n", packet_cost(session, fmt::format("m{:x},1000", at), bytes));
  fmt::print("m_bytes {}\n", bytes);
  fmt::print("x_microseconds {:.3f}\n", packet_cost(session, fmt::format("x{:x},1000", at), bytes));
  fmt::print("x_bytes {}\n", bytes);
  return 0;
}

int bench_walk(const std::string& dump, const std::string& vmlinux) {
  auto kernel = open(dump, vmlinux);
  if (!kernel) return complain(kernel.error());
  std::vector<VirtAddr> addresses;
  if (!kernel->tasks()) return complain(kernel->tasks().error());
  for (const Task& task : *kernel->tasks()) addresses.push_back(task.handle);
  std::uint64_t sum = 0;
  constexpr int rounds = 2000;
  double from = 0;
  for (int i = -1; i < rounds; ++i) {
    if (i == 0) from = cpu_now();
    for (VirtAddr at : addresses) sum += kernel->space().translate(at).value_or(PhysAddr{}).raw;
  }
  fmt::print("nanoseconds {:.2f}\nsum {}\n", (cpu_now() - from) / rounds / double(addresses.size()) * 1e9, sum);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() >= 2 && words[0] == "read") return bench_read(words[1], words.size() > 2 ? words[2] : "");
  if (words.size() == 2 && words[0] == "pages") return print_pages(words[1]);
  if (words.size() == 2 && words[0] == "open") return bench_open(words[1]);
  if (words.size() == 3 && words[0] == "session") return bench_session(words[1], words[2]);
  if (words.size() == 3 && words[0] == "walk") return bench_walk(words[1], words[2]);
  fmt::print(stderr, "usage: engine_bench read|pages|open DUMP, or session|walk DUMP VMLINUX\n");
  return 2;
}
