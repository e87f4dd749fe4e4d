// The message buffer (sys/sys/msgbuf.h, sys/kern/subr_msgbuf.c): a ring of characters.  Lines may begin with a priority, <N>, and
// with a time (kern.msgbuf_show_timestamp).
#include <algorithm>
#include <charconv>

#include "engine/integers.h"
#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

constexpr std::uint64_t magic = 0x063062, largest_ring = 64 << 20;

struct Ring {
  VirtAddr text;
  std::uint64_t size, written;
};

// Members by name, else where they have always been: the pointer, then 32-bit numbers.
Result<Ring> open_ring(const KernelView& view) {
  const VirtAddr pointer = TRY(view.address_of("msgbufp"));
  const VirtAddr at = TRY(view.pointer_at(pointer));
  const std::uint64_t word = view.arch.pointer_bytes;
  const auto member = [&](std::string_view name, std::uint64_t usual) -> Result<std::uint64_t> {
    const auto known = view.types.member("msgbuf", name);
    return view.number_at(at + (known ? known->offset : usual), 4);
  };
  const std::uint64_t number = TRY(member("msg_magic", word));
  if (number != magic) return fail(Errc::bad_data, at.raw, "the message buffer has no magic number");
  const Ring ring{TRY(view.pointer_at(at)), TRY(member("msg_size", word + 4)), TRY(member("msg_wseq", word + 8))};
  if (ring.size == 0 || ring.size > largest_ring) return fail(Errc::bad_data, at.raw, "the message buffer's size makes no sense");
  return ring;
}

// Oldest first.  A ring that has gone round begins within a line, which is left out.
std::string unroll(std::string_view ring, std::uint64_t written) {
  const std::size_t next = written % ring.size();
  std::string text(ring.substr(next));
  const bool round = !text.empty() && text.front() != '\0';
  text += ring.substr(0, next);
  std::erase(text, '\0');
  if (round) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

// dmesg(8) takes priorities off, too.  The time is seconds, with or without microseconds.
LogLine parse(std::string_view line) {
  LogLine parsed;
  parsed.level = 6;
  parsed.nanoseconds.reset();
  const char* const end = line.data() + line.size();
  unsigned priority = 0;
  if (line.starts_with('<'))
    if (const auto [stop, error] = std::from_chars(line.data() + 1, end, priority); error == std::errc() && stop != end && *stop == '>') {
      parsed.level = priority & 7;
      line.remove_prefix(static_cast<std::size_t>(stop + 1 - line.data()));
    }
  std::uint64_t seconds = 0, micros = 0;
  if (line.starts_with('[')) {
    auto [stop, error] = std::from_chars(line.data() + 1, end, seconds);
    if (error == std::errc() && stop != end && *stop == '.') stop = std::from_chars(stop + 1, end, micros).ptr;
    if (error == std::errc() && end - stop >= 2 && stop[0] == ']' && stop[1] == ' ' && seconds < 1'000'000'000'000 && micros < 1'000'000) {
      parsed.nanoseconds = seconds * 1'000'000'000 + micros * 1000;
      line.remove_prefix(static_cast<std::size_t>(stop + 2 - line.data()));
    }
  }
  parsed.text = line;
  return parsed;
}

std::vector<LogLine> lines_of(std::string_view text) {
  std::vector<LogLine> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(parse(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

// struct msgbuf lies behind its ring (msgbufinit()), and a minidump has the ring's last page whole.  Without it nobody tells where the
// newest line ends; a ring that never went round ends in zeros.
std::vector<LogLine> log_of_copy(const Dump& dump, const arch::Arch& arch) {
  if (dump.message_buffer.empty()) return {};
  std::string text(reinterpret_cast<const char*>(dump.message_buffer.data()), dump.message_buffer.size());
  const std::size_t word = arch.pointer_bytes;
  const auto number = [&](std::size_t i) { return load<std::uint32_t>(dump.message_state.data() + word + 4 * i, arch.endian); };
  if (dump.message_state.size() >= word + 12 && number(0) == magic && number(1) == text.size()) return lines_of(unroll(text, number(2)));
  std::erase(text, '\0');
  return lines_of(text);
}

Result<std::vector<LogLine>> read_log(const KernelView& view, const Dump& dump) {
  const auto ring = open_ring(view);
  if (ring) {
    std::string text(ring->size, '\0');
    const auto got = view.space.read(ring->text, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    if (got && *got == text.size()) return lines_of(unroll(text, ring->written));
  }
  if (auto lines = log_of_copy(dump, view.arch); !lines.empty()) return lines;
  return ring ? fail(Errc::not_in_dump, ring->text.raw, "the message buffer is not in the dump") : tl::unexpected(ring.error());
}

std::string panic_in(const std::vector<LogLine>& log) {
  constexpr std::string_view mark = "panic: ";
  for (auto line = log.rbegin(); line != log.rend(); ++line)
    if (line->text.starts_with(mark)) return line->text.substr(mark.size());
  return {};
}

}  // namespace kvm::os_freebsd
