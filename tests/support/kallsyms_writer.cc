// See kallsyms_writer.h.
#include "tests/support/kallsyms_writer.h"

#include <array>

namespace kvm::testing {
namespace {

// What the script's optimiser would choose for text like ours; any choice is right.
constexpr std::array<const char*, 12> long_tokens = {"sys_", "_read", "init", "kernel_", "tT", "__", "alloc", "_probe_of_a_long_token_", "dev_", "ext4", "er", "in"};
constexpr unsigned first_long_token = 0x80;

class Writer {
 public:
  Writer(const KallsymsSpec& spec) : spec_(spec) {}

  void label(const std::string& name) {
    while (out.bytes.size() % spec_.alignment) out.bytes.push_back(0);
    out.labels[name] = out.bytes.size();
  }
  void number(std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
      out.bytes.push_back(static_cast<std::uint8_t>(value >> 8 * (spec_.endian == std::endian::little ? i : size - 1 - i)));
  }

  void count(std::size_t symbols) {
    label("kallsyms_num_syms");
    number(symbols, spec_.wide_markers ? spec_.word : 4);
  }

  void names(const std::vector<KallsymsSymbol>& symbols) {
    label("kallsyms_names");
    const std::size_t start = out.bytes.size();
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      if (i % 256 == 0) out.markers.push_back(out.bytes.size() - start);
      const std::string packed = pack(symbols[i].kind + symbols[i].name);
      if (spec_.wide_lengths && packed.size() > 0x7f) {
        number(packed.size() % 128 | 0x80, 1);
        number(packed.size() / 128, 1);
      } else {
        number(packed.size(), 1);
      }
      for (const char c : packed) out.bytes.push_back(static_cast<std::uint8_t>(c));
    }
    out.names_end = out.bytes.size();
    label("kallsyms_markers");
    for (const std::size_t marker : out.markers) number(marker, spec_.wide_markers ? spec_.word : 4);
  }

  void sequences(std::size_t symbols) {  // the order of the names, three bytes each
    label("kallsyms_seqs_of_names");
    for (std::size_t i = 0; i < symbols; ++i)
      for (unsigned shift : {16u, 8u, 0u}) number(i * 7 % symbols >> shift, 1);
  }

  void tokens() {
    label("kallsyms_token_table");
    std::array<std::size_t, 256> index{};
    const std::size_t start = out.bytes.size();
    for (unsigned code = 0; code < 256; ++code) {
      index[code] = out.bytes.size() - start;
      for (const char c : token(code)) out.bytes.push_back(static_cast<std::uint8_t>(c));
      out.bytes.push_back(0);
    }
    label("kallsyms_token_index");
    for (const std::size_t offset : index) number(offset, 2);
  }

  void addresses(const std::vector<KallsymsSymbol>& symbols) {
    using enum KallsymsSpec::Encoding;
    label(spec_.encoding == absolute ? "kallsyms_addresses" : "kallsyms_offsets");
    for (const KallsymsSymbol& symbol : symbols) {
      const std::uint64_t here = spec_.at + out.bytes.size();
      switch (spec_.encoding) {
        case absolute: number(symbol.address, spec_.word); break;
        case base_relative: number(symbol.address - spec_.base, 4); break;
        case absolute_percpu: number(symbol.kind == 'A' ? symbol.address : spec_.base - symbol.address - 1, 4); break;
        case place_relative: number(symbol.address - here, 4); break;
      }
    }
    if (spec_.encoding != base_relative && spec_.encoding != absolute_percpu) return;
    label("kallsyms_relative_base");
    number(spec_.base, spec_.word);
  }

  KallsymsBytes out;

 private:
  static std::string token(unsigned code) {
    if (code >= first_long_token && code - first_long_token < long_tokens.size()) return long_tokens[code - first_long_token];
    const bool used = (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || (code >= '0' && code <= '9') || code == '_' || code == '.';
    return used ? std::string(1, static_cast<char>(code)) : std::string();
  }
  static std::string pack(const std::string& text) {
    std::string packed;
    for (std::size_t at = 0; at < text.size();) {
      unsigned code = static_cast<unsigned char>(text[at]);
      for (unsigned i = 0; i < long_tokens.size(); ++i)
        if (text.compare(at, std::string(long_tokens[i]).size(), long_tokens[i]) == 0) code = first_long_token + i;
      at += token(code).size();
      packed += static_cast<char>(code);
    }
    return packed;
  }

  const KallsymsSpec& spec_;
};

}  // namespace

KallsymsBytes write_kallsyms(const std::vector<KallsymsSymbol>& symbols, const KallsymsSpec& spec) {
  using enum KallsymsSpec::Order;
  Writer writer(spec);
  if (spec.order != addresses_last) writer.addresses(symbols);
  writer.count(symbols.size());
  writer.names(symbols);
  if (spec.order == seqs_behind_markers) writer.sequences(symbols.size());
  writer.tokens();
  if (spec.order == addresses_last) {
    writer.addresses(symbols);
    writer.sequences(symbols.size());
  }
  return std::move(writer.out);
}

std::vector<KallsymsSymbol> many_symbols(std::size_t count, std::uint64_t base) {
  static constexpr std::array<const char*, 6> heads = {"sys_", "ext4_", "kernel_", "dev_init_", "tcp_v4_", "__alloc_"};
  static constexpr std::array<const char*, 5> tails = {"read", "probe_of_a_long_token_x", "work", "inner.isra.0", "table"};
  static constexpr std::string_view kinds = "TtTtDdrRbBW";
  std::vector<KallsymsSymbol> symbols{{base, 'T', "_text"}};
  std::uint64_t address = base;
  for (std::size_t i = 1; i < count; ++i) {
    address += 16 + i * 37 % 400;
    symbols.push_back({address, kinds[i % kinds.size()], heads[i % heads.size()] + std::to_string(i) + "_" + tails[i % tails.size()]});
  }
  return symbols;
}

}  // namespace kvm::testing
