// `inquest read`: memory as a hex dump, or raw into a file.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>

#include "stub/cli.h"
#include "stub/report.h"

namespace kvm::cli {
namespace {

struct Request {
  Opening opening;
  std::string address, length, output;
  bool physical = false;
  std::string pid;
};

Result<std::uint64_t> number(std::string_view text) {
  const int base = text.starts_with("0x") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return fail(Errc::bad_request, "'" + std::string(text) + "' is not a number");
  return value;
}

// Reads one chunk at a time from kernel, process or physical memory.
using Reader = std::function<Result<std::size_t>(std::uint64_t at, MutableBytes out)>;

Result<Reader> reader_of(const Kernel& kernel, const Request& request) {
  if (request.physical)
    return Reader([&kernel](std::uint64_t at, MutableBytes out) { return kernel.dump().memory->read(PhysAddr{at}, out); });
  if (request.pid.empty()) return Reader([&kernel](std::uint64_t at, MutableBytes out) { return kernel.read(VirtAddr{at}, out); });
  const std::uint64_t pid = TRY(number(request.pid));
  if (!kernel.os_missing().empty()) return fail(Errc::not_found, kernel.os_missing());
  if (!kernel.tasks()) return tl::unexpected(kernel.tasks().error());
  for (const Task& task : *kernel.tasks()) {
    if (task.tid != pid || task.idle) continue;
    auto space = std::make_shared<AddressSpace>(TRY(kernel.os().user_space(task)));
    return Reader([space](std::uint64_t at, MutableBytes out) { return space->read(VirtAddr{at}, out); });
  }
  return fail(Errc::not_found, "no task has the id " + request.pid);
}

struct Sink {
  std::FILE* file = nullptr;  // null: a hex dump on standard output
  bool failed = false;
  std::uint64_t gaps = 0;

  void bytes(std::uint64_t at, Bytes data) {
    if (file) failed |= std::fwrite(data.data(), 1, data.size(), file) != data.size();
    else failed |= !print(rsp::hex_dump(at, data));
  }
  // In a file a gap is zeros, so that offsets stay right.
  void gap(std::uint64_t at, std::uint64_t size, const Error& why) {
    ++gaps;
    complain(fmt::format("{} ({} bytes)", to_string(why), size));
    if (file)
      for (std::uint64_t i = 0; i < size; ++i) failed |= std::fputc(0, file) == EOF;
    else failed |= !print(fmt::format("{:#018x}: {} bytes missing\n", at, size));
  }
};

// Whatever can be read is read: a page that cannot is skipped and reported.
void copy(const Reader& read, std::uint64_t at, std::uint64_t length, Sink& sink) {
  std::vector<std::uint8_t> chunk(std::min<std::uint64_t>(length, 1 << 20));
  std::uint64_t gap_from = 0, gap_size = 0;
  Error why{Errc::not_mapped};
  auto flush = [&] { if (gap_size) sink.gap(gap_from, gap_size, why), gap_size = 0; };
  while (length && !sink.failed) {
    auto got = read(at, MutableBytes(chunk).first(std::min<std::uint64_t>(length, chunk.size())));
    std::uint64_t step = got ? *got : std::min(length, 4096 - at % 4096);
    if (got && *got) {
      flush();
      sink.bytes(at, Bytes(chunk).first(*got));
    } else {
      if (!got && gap_size && why.code != got.error().code) flush();
      if (!gap_size) gap_from = at, why = got ? Error{Errc::lost, at} : got.error();
      step = std::max<std::uint64_t>(step, 1);
      gap_size += step;
    }
    at += step;
    length -= step;
  }
  flush();
}

int run(const Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  auto length = number(request.length);
  if (!length) return complain(length.error());
  auto address = request.physical || !request.pid.empty() ? number(request.address).map([](auto n) { return VirtAddr{n}; })
                                                          : rsp::parse_address(*kernel, request.address);
  if (!address) return complain(address.error());
  auto read = reader_of(*kernel, request);
  if (!read) return complain(read.error());
  Sink sink;
  if (!request.output.empty()) {
    sink.file = request.output == "-" ? stdout : std::fopen(request.output.c_str(), "wb");
    if (!sink.file) return complain(request.output + ": cannot be written: " + std::strerror(errno));
  }
  copy(*read, address->raw, *length, sink);
  if (sink.file && (std::fflush(sink.file) != 0 || sink.failed)) return complain(request.output + ": writing failed: " + std::strerror(errno));
  if (sink.file && sink.file != stdout) std::fclose(sink.file);
  return sink.gaps || sink.failed ? failed : done;
}

}  // namespace

void add_read(CLI::App& app, int& status) {
  auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("read", "Print memory, or write it to a file");
  add_opening(*command, request->opening, false);
  command->add_option("ADDRESS", request->address, "Where: a number or a symbol, with +OFFSET")->type_name("")->required();
  command->add_option("LENGTH", request->length, "How many bytes")->type_name("")->required();
  auto* physical = command->add_flag("--physical", request->physical, "ADDRESS is a physical address");
  command->add_option("--pid", request->pid, "ADDRESS is in this process's memory")->type_name("PID")->excludes(physical);
  command->add_option("--output", request->output, "Write the bytes to this file, - for standard output")->type_name("FILE");
  command->callback([request, &status] { status = run(*request); });
}

}  // namespace kvm::cli
