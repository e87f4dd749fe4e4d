// scripts/kallsyms.c writes, since v6.4: num_syms, names, markers, token_table, token_index, offsets (or addresses),
// relative_base; before: offsets, relative_base (or addresses), num_syms, names, markers, token_table, token_index; v6.2 puts
// seqs_of_names behind the markers, v6.4 at the end.  So names, markers, tokens and token index always follow each other.
// The token index is the rarest look of them: 256 small numbers that rise, right behind the 256 texts they count.
#include "engine/os/linux/kallsyms_search.h"

#include <algorithm>
#include <cstring>

#include "engine/integers.h"

namespace kvm::os_linux {
namespace {

constexpr std::size_t tokens = 256, index_bytes = tokens * 2, most_token_bytes = 1 << 16, per_marker = 256;
constexpr std::uint64_t most_scanned = std::uint64_t{64} << 30;
constexpr std::size_t most_runs = 8;
constexpr std::size_t shortest_name = 2, longest_name = 513;  // length and kind; KSYM_NAME_LEN of uncompressed bytes
constexpr std::size_t alignment = 8;                          // of every table, at most

std::uint64_t align_up(std::uint64_t at, std::uint64_t to) { return (at + to - 1) & ~(to - 1); }

bool rises(const std::uint8_t* index, std::endian order, std::size_t count) {
  for (std::size_t i = 1; i < count; ++i)
    if (load<std::uint16_t>(index + i * 2, order) <= load<std::uint16_t>(index + i * 2 - 2, order)) return false;
  return true;
}

// Characters that names have stay tokens of their own, at their own place (insert_real_symbols_in_table()).
constexpr std::string_view common = "_aeinrst";

// Where the token table begins whose index lies at `end` in `bytes`: each text ends where the index says the next one begins.
std::optional<std::size_t> table_before(Bytes bytes, std::size_t end, std::endian order) {
  const std::uint8_t* index = bytes.data() + end;
  const auto begin_of = [&](std::size_t token) { return std::size_t{load<std::uint16_t>(index + token * 2, order)}; };
  const std::size_t least = begin_of(tokens - 1) + 1;
  for (std::size_t size = least; size <= std::min(end, least + longest_name + alignment); ++size) {
    const std::uint8_t* table = bytes.data() + end - size;
    bool fits = size % 4 == 0;
    for (std::size_t i = 1; i < tokens && fits; ++i) {
      const auto* nul = static_cast<const std::uint8_t*>(std::memchr(table + begin_of(i - 1), 0, begin_of(i) - begin_of(i - 1)));
      fits = nul == table + begin_of(i) - 1;
    }
    for (const char letter : common) {
      const auto token = static_cast<std::uint8_t>(letter);
      fits = fits && table[begin_of(token)] == token && table[begin_of(token) + 1] == 0;
    }
    if (fits) return end - size;
  }
  return std::nullopt;
}

struct Run {
  std::size_t at, stride, count;
  std::vector<std::uint32_t> values(Bytes bytes, std::endian order) const {
    std::vector<std::uint32_t> numbers;
    for (std::size_t i = 0; i < count; ++i)
      numbers.push_back(static_cast<std::uint32_t>(load_unsigned(bytes.subspan(at + i * stride, stride), order)));
    return numbers;
  }
};

// Numbers that rise from 0 as fast as 256 names are long.  They are unsigned int, before v4.20 unsigned long.
void each_run(Bytes bytes, std::endian order, const std::function<bool(const Run&)>& visit) {
  for (const std::size_t stride : {4, 8})
    for (std::size_t at = 0; at + 2 * stride <= bytes.size(); at += 4) {
      const auto value = [&](std::size_t i) {
        const std::uint8_t* word = bytes.data() + at + i * stride;
        return stride == 4 ? load<std::uint32_t>(word, order) : load<std::uint64_t>(word, order);
      };
      if (value(0) != 0) continue;
      std::size_t count = 1;
      while (at + (count + 1) * stride <= bytes.size() && value(count) < bytes.size() &&
             value(count) - value(count - 1) >= per_marker * shortest_name && value(count) - value(count - 1) <= per_marker * longest_name)
        ++count;
      if (count > 1 && visit({at, stride, count})) return;
    }
}

// The first name and the number of symbols in front of it, when they agree with these markers.
std::optional<std::pair<std::size_t, std::uint32_t>> names_before(Bytes bytes, std::size_t end, std::span<const std::uint32_t> markers,
                                                                  std::endian order) {
  const std::size_t blocks = markers.size(), last = markers.back();
  for (std::size_t tail = shortest_name; tail <= per_marker * longest_name + alignment && last + tail + alignment <= end; ++tail) {
    const std::size_t names = end - last - tail;
    if (names % 4 != 0) continue;
    for (const std::size_t before : {8, 4}) {
      const std::uint32_t count = load<std::uint32_t>(bytes.data() + names - before, order);
      if (count <= (blocks - 1) * per_marker || count > blocks * per_marker) continue;
      for (const bool wide : {true, false}) {
        const auto first = skip_names(bytes.subspan(names), 0, per_marker, wide);
        if (first != std::size_t{markers[1]}) continue;
        const auto behind = skip_names(bytes.subspan(names), last, count - (blocks - 1) * per_marker, wide);
        if (behind && names + *behind <= end && end - names - *behind < alignment) return std::pair(names, count);
      }
    }
  }
  return std::nullopt;
}

class Search {
 public:
  Search(const ImageMemory& memory, const std::function<bool(const KallsymsPlaces&)>& found)
      : memory_(memory), order_(memory.arch.endian), word_(memory.arch.pointer_bytes), lowest_(lowest_address(memory.arch)), found_(found) {}

  // True when the search is over.
  bool index_at(VirtAddr at) {
    const std::uint64_t before = std::min<std::uint64_t>(most_token_bytes, at.raw);
    const PartialBytes around = read_table(memory_, at - before, before + index_bytes);
    const auto table = table_before(around.bytes, before, order_);
    if (!table) return false;
    KallsymsPlaces places;
    places.token_index = at;
    places.token_table = at - before + *table;
    return find_names(places) && find_addresses(places) && found_(places);
  }

 private:
  // Reads backwards from the tokens, further each time: only v6.2 and v6.3 have something in between.
  bool find_names(KallsymsPlaces& places) {
    const std::uint64_t most = std::min<std::uint64_t>(64 << 20, places.token_table.raw);
    for (std::uint64_t size = 4 << 20, last = 0; last < most; last = size, size *= 4) {
      const VirtAddr start{(places.token_table.raw - std::min(size, most)) & ~(alignment - 1)};
      const PartialBytes table = read_table(memory_, start, places.token_table - start);
      std::vector<Run> runs;
      each_run(table.bytes, order_, [&](const Run& run) { return runs.push_back(run), false; });
      // Numbers that happen to rise do not do so for long.
      std::ranges::sort(runs, std::ranges::greater{}, &Run::count);
      for (const Run& run : std::span(runs).first(std::min(runs.size(), most_runs)))
        if (const auto names = names_before(table.bytes, run.at, run.values(table.bytes, order_), order_)) {
          places.names = start + names->first, places.count = names->second;
          return true;
        }
    }
    return false;
  }

  bool find_addresses(KallsymsPlaces& places) const {
    const VirtAddr behind = places.token_index + index_bytes;
    const std::uint64_t words = std::uint64_t{places.count} * word_, halves = std::uint64_t{places.count} * 4;
    if (offsets_at(places, behind, {align_up(behind.raw + halves, word_)}) || addresses_at(places, behind)) return true;
    const VirtAddr count{places.names - (word_ == 4 ? 4 : 8)}, base = count - word_;
    return offsets_at(places, base - align_up(halves, word_), base) || addresses_at(places, count - words);
  }

  bool offsets_at(KallsymsPlaces& places, VirtAddr at, VirtAddr base) const {
    const PartialBytes table = read_table(memory_, at, std::uint64_t{places.count} * 4);
    if (table.bytes.size() < 8) return false;
    const KallsymsOffsets kind = kind_of_offsets(table.bytes, order_);
    std::size_t right = 0, wrong = 0;
    const auto value = [&](std::size_t where) { return std::int64_t{static_cast<std::int32_t>(load<std::uint32_t>(table.bytes.data() + where, order_))}; };
    for (std::size_t i = 4; i + 4 <= table.bytes.size(); i += 4) {
      const std::int64_t step = value(i) - value(i - 4);
      const bool falls = kind == KallsymsOffsets::absolute_or_before && value(i) < 0;
      if (falls ? step < 0 : step > 0) ++right;
      else if (step != 0 && !(falls && value(i - 4) >= 0) && !(kind == KallsymsOffsets::from_entry && step >= -4)) ++wrong;
    }
    if (right < places.count / 2 || wrong > places.count / 64) return false;
    places.offsets = at;
    // The image reaches from before the table to behind it.
    if (kind == KallsymsOffsets::from_entry) return value(0) < 0 && value(table.bytes.size() - 4) > 0;
    const auto word = number_at(base);
    if (!word || !is_kernel(*word)) return false;
    places.relative_base = *word;
    return true;
  }

  bool addresses_at(KallsymsPlaces& places, VirtAddr at) const {
    const PartialBytes table = read_table(memory_, at, std::uint64_t{places.count} * word_);
    std::size_t right = 0, wrong = 0;
    std::uint64_t before = 0;
    for (std::size_t i = 0; i + word_ <= table.bytes.size(); i += word_) {
      const std::uint64_t value = load_unsigned(Bytes(table.bytes).subspan(i, word_), order_);
      right += value > before && is_kernel(value);
      wrong += value < before;
      before = value;
    }
    if (right < places.count / 2 || wrong > places.count / 64) return false;
    places.addresses = at, places.offsets = {};
    return true;
  }

  std::optional<std::uint64_t> number_at(VirtAddr at) const {
    std::uint8_t bytes[8] = {};
    if (memory_.space.read(at, MutableBytes(bytes, word_)).value_or(0) != word_) return std::nullopt;
    return load_unsigned(Bytes(bytes, word_), order_);
  }
  bool is_kernel(std::uint64_t address) const { return address >= lowest_; }
  // Kernels live in the upper half, but for those whose image may lie anywhere (s390).
  static std::uint64_t lowest_address(const arch::Arch& arch) {
    std::uint64_t lowest = arch.pointer_bytes == 8 ? std::uint64_t{1} << 63 : 0x4000'0000;
    if (!arch.linux_layout || arch.pointer_bytes != 8) return lowest;
    for (std::uint64_t base : arch.linux_layout->image_bases) lowest = std::min(lowest, std::max<std::uint64_t>(base, 0x1'0000));
    return lowest;
  }

  const ImageMemory& memory_;
  std::endian order_;
  std::uint8_t word_;
  std::uint64_t lowest_;
  const std::function<bool(const KallsymsPlaces&)>& found_;
};

}  // namespace

void each_chunk(const ImageMemory& memory, const Window& window, std::size_t overlap, const std::function<bool(VirtAddr, Bytes)>& visit) {
  std::vector<std::uint8_t> chunk(1 << 20);
  const std::uint64_t page = memory.arch.page_size;
  for (std::uint64_t done = 0; done < std::min(window.size, most_scanned);) {
    const VirtAddr at = window.first + done;
    const auto want = std::min<std::uint64_t>(chunk.size(), window.size - done);
    auto got = memory.space.read(at, MutableBytes(chunk).first(want));
    if (got && visit(at, Bytes(chunk).first(*got))) return;
    if (got && *got == chunk.size()) {
      done += *got - overlap;
      continue;
    }
    auto hole = got ? fail(Errc::not_found) : memory.space.extent_at(at);
    if (hole && !hole->phys && hole->last >= at) done += std::min(hole->last - at, window.size) + 1;
    else done = align_up(at.raw + got.value_or(0) + 1, page) - window.first.raw;
  }
}

void search_kallsyms(const ImageMemory& memory, std::span<const Window> windows, const std::function<bool(const KallsymsPlaces&)>& found) {
  Search search(memory, found);
  bool over = false;
  for (const Window& window : windows) {
    each_chunk(memory, window, index_bytes, [&](VirtAddr at, Bytes chunk) {
      for (std::size_t i = -at.raw & 3; i + index_bytes <= chunk.size() && !over; i += 4) {
        const std::uint8_t* index = chunk.data() + i;
        // 0, then a short first token, then a few more: this is what nearly all memory fails.
        const bool starts = index[0] == 0 && index[1] == 0 && (index[2] == 0) != (index[3] == 0);
        if (starts && rises(index, memory.arch.endian, 4) && rises(index, memory.arch.endian, tokens)) over = search.index_at(at + i);
      }
      return over;
    });
    if (over) return;
  }
}

std::vector<std::uint32_t> find_markers(Bytes names, std::uint32_t count, std::endian order) {
  const std::size_t blocks = (std::size_t{count} + per_marker - 1) / per_marker;
  std::vector<std::uint32_t> markers;
  if (blocks < 2) return markers;
  each_run(names, order, [&](const Run& run) {
    if (run.count < blocks) return false;
    markers = Run{run.at, run.stride, blocks}.values(names, order);
    const bool behind = markers.back() < run.at && run.at - markers.back() <= per_marker * longest_name + alignment;
    if (!behind) markers.clear();
    return behind;
  });
  return markers;
}

}  // namespace kvm::os_linux
