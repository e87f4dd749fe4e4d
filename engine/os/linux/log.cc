// The kernel log: a ring of descriptors beside a ring of texts, made to be read after a crash
// (kernel/printk/printk_ringbuffer.c, since v5.10).
#include <algorithm>

#include "engine/os/linux/model.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_records = 1u << 20, longest_text = 1u << 16;

struct Ring {
  VirtAddr descs, infos, text;
  std::uint64_t count_bits, text_bits, head, tail, desc_size, info_size;
  unsigned word;  // bytes of an unsigned long
};

Result<Ring> open_ring(const KernelView& view) {
  const VirtAddr variable = TRY(view.address_of("prb"));
  const VirtAddr at = TRY(view.pointer_at(variable));
  const Record ring(view, "printk_ringbuffer", at);
  Ring r{};
  r.descs = TRY(ring.pointer("desc_ring.descs"));
  r.infos = TRY(ring.pointer("desc_ring.infos"));
  r.text = TRY(ring.pointer("text_data_ring.data"));
  r.count_bits = TRY(ring.number("desc_ring.count_bits"));
  r.text_bits = TRY(ring.number("text_data_ring.size_bits"));
  r.head = TRY(ring.number("desc_ring.head_id.counter"));
  r.tail = TRY(ring.number("desc_ring.tail_id.counter"));
  r.desc_size = TRY(view.types.size_of("prb_desc"));
  r.info_size = TRY(view.types.size_of("printk_info"));
  r.word = view.arch.pointer_bytes;
  if (r.count_bits > 31 || r.text_bits > 40) return fail(Errc::bad_data, at.raw, "the log's ring sizes make no sense");
  return r;
}

// The text of a record: its block starts with the record's id; one that would cross the ring's end starts at its beginning.
std::string read_text(const KernelView& view, const Ring& ring, std::uint64_t begin, std::uint64_t next, std::uint64_t length) {
  if (begin & 1 || next & 1 || begin >= next) return {};  // no data, or nonsense
  const std::uint64_t size = std::uint64_t{1} << ring.text_bits;
  const bool wraps = begin >> ring.text_bits != next >> ring.text_bits && (next & (size - 1)) != 0;
  const std::uint64_t offset = wraps ? 0 : begin & (size - 1);
  const std::uint64_t room = (next - (wraps ? next & ~(size - 1) : begin));
  if (room < ring.word || offset + ring.word > size) return {};
  std::string text(std::min({length, room - ring.word, size - offset - ring.word, longest_text}), '\0');
  auto got = view.space.read(ring.text + (offset + ring.word), {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  text.resize(got.value_or(0));
  return text;
}

std::optional<LogLine> read_record(const KernelView& view, const Ring& ring, std::uint64_t id) {
  const std::uint64_t index = id & ((std::uint64_t{1} << ring.count_bits) - 1);
  const Record desc(view, "prb_desc", ring.descs + index * ring.desc_size);
  auto state = desc.number("state_var.counter");
  const unsigned bits = ring.word * 8;
  const std::uint64_t id_mask = (std::uint64_t{1} << (bits - 2)) - 1;
  // desc_committed 1, desc_finalized 2; others are being written or free.
  if (!state || (*state & id_mask) != (id & id_mask)) return std::nullopt;
  if (const auto phase = *state >> (bits - 2) & 3; phase != 1 && phase != 2) return std::nullopt;
  const Record info(view, "printk_info", ring.infos + index * ring.info_size);
  auto begin = desc.number("text_blk_lpos.begin"), next = desc.number("text_blk_lpos.next");
  auto length = info.number("text_len");
  if (!begin || !next || !length) return std::nullopt;
  LogLine line;
  line.nanoseconds = info.number("ts_nsec").value_or(0);
  line.level = static_cast<unsigned>(info.number("level").value_or(6) & 7);
  line.text = read_text(view, ring, *begin, *next, *length);
  return line;
}

}  // namespace

Result<std::vector<LogLine>> read_log(const KernelView& view) {
  const Ring ring = TRY(open_ring(view));
  const std::uint64_t id_mask = (std::uint64_t{1} << (ring.word * 8 - 2)) - 1;
  const std::uint64_t count = std::min({((ring.head - ring.tail) & id_mask) + 1, std::uint64_t{1} << ring.count_bits, most_records});
  std::vector<LogLine> lines;
  for (std::uint64_t i = 0; i < count; ++i)
    if (auto line = read_record(view, ring, (ring.tail + i) & id_mask)) lines.push_back(std::move(*line));
  return lines;
}

}  // namespace kvm::os_linux
