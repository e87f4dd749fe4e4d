// Names are compressed: each is a length and so many bytes, and each byte stands for one of 256 tokens.  The first character
// that comes out is the symbol's kind as in nm(1).  Lengths above 127 take two bytes since v6.1 (commit 73bbb94466fd,
// ULEB128); before, a length was one byte whatever its value.  The markers tell which of the two it is.
#include "engine/symbols/kallsyms.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/integers.h"
#include "engine/symbols/labels.h"

namespace kvm {
namespace {

constexpr std::uint32_t most_symbols = 1u << 22, per_marker = 256;
constexpr std::size_t longest_name = 1024;        // KSYM_NAME_LEN is 512
constexpr std::size_t most_text = 256u << 20;     // of all names: what nonsense may unfold to

// Names of places where a stretch of the image ends: there is nothing of theirs at their address.
constexpr std::string_view end_marks[] = {"_etext", "_einittext", "__end_rodata", "__end_ro_after_init", "_edata", "__init_end",
                                          "__bss_stop", "__brk_limit", "_end", "__per_cpu_end"};

bool is_end_mark(std::string_view name) { return name.starts_with('_') && std::ranges::find(end_marks, name) != std::end(end_marks); }
// Where something begins or ends, not what it is; and lockdep's keys, which are empty without lockdep.
bool is_bound(std::string_view name) {
  return name.starts_with("__start_") || name.starts_with("__stop_") || name.starts_with("__end_") || name.starts_with("__key.") ||
         name.ends_with("_start") || name.ends_with("_end");
}
bool is_absolute(char kind) { return kind == 'A' || kind == 'a'; }
bool is_global(char kind) { return kind >= 'A' && kind <= 'Z'; }

// A name's bytes, and moves `at` behind them; empty where there is no name.
Bytes next_name(Bytes names, std::size_t& at, bool wide) {
  if (at >= names.size()) return {};
  std::size_t length = names[at++];
  if (wide && length & 0x80) {
    if (at >= names.size()) return {};
    length = (length & 0x7f) | std::size_t{names[at++]} << 7;
  }
  if (length > names.size() - at) return {};
  at += length;
  return names.subspan(at - length, length);
}

}  // namespace

bool PartialBytes::has(std::size_t at, std::size_t size) const {
  if (at > bytes.size() || size > bytes.size() - at) return false;
  return std::ranges::none_of(gaps, [&](const Gap& gap) { return gap.first < at + size && at < gap.end; });
}

KallsymsOffsets kind_of_offsets(Bytes offsets, std::endian order) {
  std::size_t falling = 0, rising = 0;
  std::int32_t before = 0;
  for (; offsets.size() >= 4; offsets = offsets.subspan(4)) {
    const auto value = static_cast<std::int32_t>(load<std::uint32_t>(offsets.data(), order));
    if (value < 0 && before < 0) falling += value < before, rising += value > before;
    before = value;
  }
  return falling > rising ? KallsymsOffsets::absolute_or_before : rising ? KallsymsOffsets::from_entry : KallsymsOffsets::from_base;
}

std::optional<std::size_t> skip_names(Bytes names, std::size_t at, std::size_t count, bool wide) {
  for (std::size_t i = 0; i < count; ++i)
    if (next_name(names, at, wide).empty()) return std::nullopt;
  return at;
}

class KallsymsDecoder {
 public:
  explicit KallsymsDecoder(const KallsymsTables& tables) : t_(tables), names_(tables.names.bytes) {}

  Result<std::unique_ptr<Kallsyms>> decode() {
    if (t_.count == 0 || t_.count > most_symbols || t_.count > names_.size() / 2)
      return fail(Errc::bad_data, "kallsyms: " + std::to_string(t_.count) + " symbols make no sense");
    TRY(read_tokens());
    out_.reset(new Kallsyms);
    out_->entries_.reserve(t_.count);
    // Kernels since v6.1 first; a kernel before them has at most a few lengths that differ.
    const std::size_t wrong = mismatches(true);
    const bool wide = wrong == 0 || wrong <= mismatches(false);
    const std::size_t text = text_size(wide);
    if (text > most_text) return fail(Errc::bad_data, "kallsyms: names of a length that makes no sense");
    out_->names_ = std::make_unique_for_overwrite<char[]>(text + sizeof(Token::start));
    out_->names_size_ = text;
    decode_names(wide);
    if (out_->entries_.empty()) return fail(Errc::bad_data, "kallsyms: no name can be read");
    out_->missing_ = t_.count - out_->entries_.size();
    out_->finish();
    return std::move(out_);
  }

 private:
  struct Token {
    char start[16];  // most tokens whole: copied without asking how long they are
    std::uint32_t size = 0;
    const char* text = nullptr;
  };

  Result<void> read_tokens() {
    if (t_.token_index.size() != per_marker * 2) return fail(Errc::bad_data, "kallsyms: no token index");
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::size_t at = load<std::uint16_t>(t_.token_index.data() + i * 2, t_.order);
      if (at >= t_.tokens.bytes.size()) return fail(Errc::bad_data, "kallsyms: the token index leads nowhere");
      const char* text = reinterpret_cast<const char*>(t_.tokens.bytes.data()) + at;
      Token& token = tokens_[i];
      token = {{}, static_cast<std::uint32_t>(strnlen(text, std::min(t_.tokens.bytes.size() - at, longest_name))), text};
      std::memcpy(token.start, text, std::min<std::size_t>(token.size, sizeof token.start));
    }
    return {};
  }

  std::uint32_t block_size(std::size_t block) const { return std::min(per_marker, t_.count - static_cast<std::uint32_t>(block) * per_marker); }
  std::size_t blocks() const { return (t_.count + per_marker - 1) / per_marker; }

  // How many blocks do not end where the next one begins; without markers, names that are not there.
  std::size_t mismatches(bool wide) const {
    std::size_t wrong = 0, at = 0;
    for (std::size_t block = 0; block < blocks(); ++block) {
      if (block < t_.markers.size()) at = t_.markers[block];
      const auto end = skip_names(names_, at, block_size(block), wide);
      wrong += !end || (block + 1 < t_.markers.size() && *end != t_.markers[block + 1]);
      at = end.value_or(names_.size());
    }
    return wrong;
  }

  // Names that do not lead to the next marker are noise, unless some of them could not be read.
  bool whole(std::size_t block, std::size_t at, bool wide) const {
    if (block + 1 >= t_.markers.size()) return true;
    const std::size_t end = t_.markers[block + 1];
    return skip_names(names_, at, block_size(block), wide) == end || end < at || !t_.names.has(at, end - at);
  }

  template <class Visit>
  void each_name(bool wide, const Visit& visit) const {
    const bool damaged = !t_.names.gaps.empty();
    std::size_t at = 0;
    for (std::size_t block = 0; block < blocks(); ++block) {
      if (block < t_.markers.size()) at = t_.markers[block];
      if (!whole(block, at, wide)) continue;
      for (std::uint32_t i = 0; i < block_size(block); ++i) {
        const std::size_t from = at;
        const Bytes name = next_name(names_, at, wide);
        // What follows a name that is not there cannot be told from chance, up to the next marker.
        if (name.empty() || (damaged && !t_.names.has(from, at - from))) {
          at = names_.size();
          break;
        }
        visit(name, block * per_marker + i);
      }
    }
  }

  std::size_t text_size(bool wide) const {
    std::size_t size = 0;
    each_name(wide, [&](Bytes name, std::size_t) {
      for (const std::uint8_t byte : name) size += tokens_[byte].size;
    });
    return size;
  }

  void decode_names(bool wide) {
    const bool by_offset = t_.addresses.bytes.empty();
    offsets_ = kind_of_offsets(t_.offsets.bytes, t_.order);
    if (!t_.relative_base) offsets_ = KallsymsOffsets::from_entry;
    else if (offsets_ == KallsymsOffsets::from_entry) offsets_ = KallsymsOffsets::from_base;  // far from it
    char* end = out_->names_.get();
    each_name(wide, [&](Bytes name, std::size_t number) {
      const auto address = by_offset ? address_by_offset(number) : plain_address(number);
      const std::size_t begin = static_cast<std::size_t>(end - out_->names_.get());
      for (const std::uint8_t byte : name) {
        const Token& token = tokens_[byte];
        std::memcpy(end, token.start, sizeof token.start);
        if (token.size > sizeof token.start) std::memcpy(end, token.text, token.size);
        end += token.size;
      }
      const std::size_t length = static_cast<std::size_t>(end - out_->names_.get()) - begin;
      if (!address || length < 2 || length > longest_name) end -= length;  // a kind and a name
      else out_->add(*address, out_->names_[begin], begin + 1, length - 1, Kallsyms::not_told);
    });
  }

  std::optional<std::uint64_t> plain_address(std::size_t number) const {
    const std::size_t at = number * t_.word;
    if (!t_.addresses.has(at, t_.word)) return std::nullopt;
    return load_unsigned(Bytes(t_.addresses.bytes).subspan(at, t_.word), t_.order);
  }

  std::optional<std::uint64_t> address_by_offset(std::size_t number) const {
    if (!t_.offsets.has(number * 4, 4)) return std::nullopt;
    const std::uint32_t raw = load<std::uint32_t>(t_.offsets.bytes.data() + number * 4, t_.order);
    const auto offset = static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(raw)});  // sign-extended
    const std::uint64_t base = t_.relative_base.value_or(0);
    std::uint64_t address = 0;
    switch (offsets_) {
      case KallsymsOffsets::from_base: address = base + raw; break;
      case KallsymsOffsets::absolute_or_before: address = raw >> 31 ? base - 1 - offset : raw; break;
      case KallsymsOffsets::from_entry: address = t_.offsets_at.raw + number * 4 + offset; break;
    }
    return t_.word == 4 ? address & 0xffff'ffff : address;
  }

  const KallsymsTables& t_;
  Bytes names_;
  std::array<Token, per_marker> tokens_;
  KallsymsOffsets offsets_ = KallsymsOffsets::from_base;
  std::unique_ptr<Kallsyms> out_;
};

Result<std::unique_ptr<Kallsyms>> Kallsyms::open(const KallsymsTables& tables) { return KallsymsDecoder(tables).decode(); }

void Kallsyms::add(std::uint64_t address, char kind, std::size_t name, std::size_t length, std::uint64_t size) {
  entries_.push_back({address, static_cast<std::uint32_t>(name), static_cast<std::uint16_t>(length), kind, size});
}

void Kallsyms::add(const std::vector<std::pair<std::string, VirtAddr>>& names) {
  std::size_t size = names_size_;
  for (const auto& [name, address] : names) size += name.size();
  auto text = std::make_unique_for_overwrite<char[]>(size);
  std::memcpy(text.get(), names_.get(), names_size_);
  for (const auto& [name, address] : names) {
    if (name.empty() || look_through(name)) continue;
    name.copy(text.get() + names_size_, name.size());
    add(address.raw, 'd', names_size_, name.size(), not_told);
    names_size_ += name.size();
  }
  names_ = std::move(text);
  finish();
}

void Kallsyms::finish() {
  const auto place = [](const Entry& entry) { return std::pair(entry.address, entry.name); };  // aliases stay in order
  if (!std::ranges::is_sorted(entries_, {}, &Entry::address)) std::ranges::sort(entries_, {}, place);
  marks_.resize(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) marks_[i] = mark_of(name(i));
}

// Up to the next symbol elsewhere.  The end of a stretch is a symbol too (_etext, _edata), so that nothing reaches beyond it.
std::uint64_t Kallsyms::size_of(std::size_t number) const {
  const Entry& entry = entries_[number];
  if (entry.size != not_told) return entry.size;
  for (std::size_t next = number + 1; next < entries_.size(); ++next)
    if (entries_[next].address != entry.address)
      return is_absolute(entry.kind) && !is_absolute(entries_[next].kind) ? 0 : entries_[next].address - entry.address;
  return 0;
}

Symbol Kallsyms::symbol(std::size_t number) const {
  return {name(number), VirtAddr{entries_[number].address}, is_end_mark(name(number)) ? 0 : size_of(number), entries_[number].kind};
}

// Names end differently more often than they begin.
std::uint16_t Kallsyms::mark_of(std::string_view name) {
  const auto last = static_cast<std::uint8_t>(name.back()), middle = static_cast<std::uint8_t>(name[name.size() / 2]);
  return static_cast<std::uint16_t>((name.size() + middle * 8u) << 8 | last);
}

std::optional<std::uint32_t> Kallsyms::look_through(std::string_view wanted) const {
  std::optional<std::uint32_t> kept;
  const std::uint16_t mark = mark_of(wanted);
  for (auto at = std::ranges::find(marks_, mark); at != marks_.end(); at = std::find(at + 1, marks_.end(), mark)) {
    const auto number = static_cast<std::uint32_t>(at - marks_.begin());
    if (name(number) != wanted) continue;
    if (is_global(entries_[number].kind)) return number;
    if (!kept) kept = number;
  }
  return kept;
}

std::optional<std::uint32_t> Kallsyms::look_up(std::string_view wanted) const {
  const auto name_of = [this](std::uint32_t number) { return name(number); };
  std::call_once(index_once_, [&] {
    NameIndex index(entries_.size());
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      std::uint32_t& kept = index.add(name(i), i, name_of);
      if (kept != i && is_global(entries_[i].kind) && !is_global(entries_[kept].kind)) kept = i;
    }
    index_ = std::move(index);
  });
  const std::uint32_t* number = std::as_const(*index_).find(wanted, name_of);
  return number ? std::optional(*number) : std::nullopt;
}

std::optional<Symbol> Kallsyms::find(std::string_view name) const {
  if (name.empty()) return {};
  const auto number = questions_.fetch_add(1, std::memory_order_relaxed) < questions_without_index ? look_through(name) : look_up(name);
  if (!number) return {};
  return symbol(*number);
}

// As the ELF symbol table answers: of several names for one place a global one, and a tool's label last.
std::optional<Symbol> Kallsyms::at(VirtAddr address) const {
  auto entry = std::ranges::upper_bound(entries_, address.raw, {}, &Entry::address);
  int best_rank = -1;
  std::size_t best = 0;
  if (entry == entries_.begin()) return {};
  const std::uint64_t nearest = std::prev(entry)->address;
  // Nothing says how far the last one reaches.
  if (entry == entries_.end() && std::prev(entry)->size == not_told && address.raw != nearest) return {};
  while (entry != entries_.begin() && (--entry)->address == nearest) {
    const auto number = static_cast<std::size_t>(entry - entries_.begin());
    if (is_absolute(entry->kind) || is_end_mark(name(number))) continue;
    const int rank = (is_mere_label(name(number)) ? 0 : is_bound(name(number)) ? 2 : 4) + (is_global(entry->kind) ? 1 : 0);
    if (rank > best_rank) best = number, best_rank = rank;
  }
  if (best_rank < 0) return {};
  return symbol(best);
}

std::vector<Symbol> Kallsyms::all() const {
  std::vector<Symbol> symbols;
  symbols.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) symbols.push_back(symbol(i));
  return symbols;
}

}  // namespace kvm
