// Writes BTF by hand, as the kernel's Documentation/bpf/btf.rst describes it.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/integers.h"

namespace kvm::testing {

// Numbers of the kinds (btf.rst, section 2.2).
enum BtfNumber : std::uint32_t {
  INT = 1, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, PROTO, VAR, DATASEC, FLOAT, DECL_TAG,
  TYPE_TAG, ENUM64
};

class BtfWriter {
 public:
  explicit BtfWriter(std::endian order = std::endian::little) : order_(order) {}
  // Split BTF: types and strings that go on where those of `base` end.
  static BtfWriter split(const BtfWriter& base) {
    BtfWriter writer(base.order_);
    writer.last_ = base.last_;
    writer.strings_.clear();
    writer.base_strings_ = static_cast<std::uint32_t>(base.strings_.size());
    return writer;
  }

  // A type entry; the kind's own words follow.  Answers its number.
  std::uint32_t type(const std::string& name, std::uint32_t kind, std::uint32_t count, bool flag, std::uint32_t size_or_type,
                     const std::vector<std::uint32_t>& tail = {}) {
    for (const std::uint32_t word : {string(name), std::uint32_t{flag} << 31 | kind << 24 | count, size_or_type}) put(types_, word);
    for (const std::uint32_t word : tail) put(types_, word);
    return ++last_;
  }
  std::uint32_t next() const { return last_ + 1; }  // the number of the next type
  // A string's offset.
  std::uint32_t string(const std::string& name) {
    if (name.empty()) return 0;
    const auto offset = static_cast<std::uint32_t>(base_strings_ + strings_.size());
    strings_.insert(strings_.end(), name.c_str(), name.c_str() + name.size() + 1);
    return offset;
  }
  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> out(4);
    store<std::uint16_t>(out.data(), 0xeb9f, order_);
    out[2] = 1;
    const auto types = static_cast<std::uint32_t>(types_.size()), strings = static_cast<std::uint32_t>(strings_.size());
    for (const std::uint32_t word : {24u, 0u, types, types, strings}) put(out, word);
    out.insert(out.end(), types_.begin(), types_.end());
    out.insert(out.end(), strings_.begin(), strings_.end());
    return out;
  }

 private:
  void put(std::vector<std::uint8_t>& out, std::uint32_t word) const {
    out.resize(out.size() + 4);
    store(out.data() + out.size() - 4, word, order_);
  }
  std::endian order_;
  std::uint32_t last_ = 0, base_strings_ = 0;
  std::vector<std::uint8_t> types_, strings_{0};
};

}  // namespace kvm::testing
