// Writes FreeBSD's CTF by hand, versions 2 and 3, as its sys/sys/ctf.h describes them.
#pragma once

#include <zlib.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/integers.h"

namespace kvm::testing {

// CTF_K_*
enum CtfNumber : std::uint32_t {
  CTF_INTEGER = 1, CTF_FLOAT, CTF_POINTER, CTF_ARRAY, CTF_FUNCTION, CTF_STRUCT, CTF_UNION, CTF_ENUM, CTF_FORWARD, CTF_TYPEDEF, CTF_VOLATILE, CTF_CONST,
  CTF_RESTRICT
};

class CtfWriter {
 public:
  struct Member {
    std::string name;
    std::uint32_t type;
    std::uint64_t bit_offset;
  };
  using Buffer = std::vector<std::uint8_t>;

  // A child's own types have the highest bit of a number set.
  explicit CtfWriter(unsigned version, std::endian order = std::endian::little, bool child = false)
      : version_(version), order_(order), base_(!child ? 0 : version == 2 ? 0x8000 : 0x80000000) {}

  std::uint32_t integer(const std::string& name, std::uint64_t size, bool is_signed, std::uint32_t bits = 0, std::uint32_t offset = 0) {
    sized(name, CTF_INTEGER, 1, size);
    number(types_, std::uint32_t{is_signed} << 24 | offset << 16 | (bits ? bits : static_cast<std::uint32_t>(size) * 8), 4);
    return ++last_ | base_;
  }
  std::uint32_t floating(const std::string& name, std::uint64_t size) {
    sized(name, CTF_FLOAT, 1, size);
    number(types_, 2u << 24 | static_cast<std::uint32_t>(size * 8), 4);  // CTF_FP_DOUBLE
    return ++last_ | base_;
  }
  // CTF_POINTER, CTF_TYPEDEF, CTF_VOLATILE, CTF_CONST, CTF_RESTRICT; CTF_FORWARD with 0.
  std::uint32_t to(std::uint32_t kind, std::uint32_t type, const std::string& name = "") {
    start(name, kind, 0);
    number(types_, type, id_bytes());
    return ++last_ | base_;
  }
  std::uint32_t array(std::uint32_t element, std::uint32_t index, std::uint32_t count, std::uint64_t size = 0) {
    sized("", CTF_ARRAY, 1, size);
    number(types_, element, id_bytes());
    number(types_, index, id_bytes());
    number(types_, count, 4);
    return ++last_ | base_;
  }
  std::uint32_t function(std::uint32_t result, const std::vector<std::uint32_t>& arguments) {
    start("", CTF_FUNCTION, static_cast<std::uint32_t>(arguments.size()));
    number(types_, result, id_bytes());
    for (const std::uint32_t argument : arguments) number(types_, argument, id_bytes());
    if (types_.size() % 4) number(types_, 0, 2);
    return ++last_ | base_;
  }
  std::uint32_t record(const std::string& name, std::uint64_t size, const std::vector<Member>& members, std::uint32_t kind = CTF_STRUCT) {
    sized(name, kind, static_cast<std::uint32_t>(members.size()), size);
    const bool is_long = size >= (version_ == 2 ? 8192u : 536870912u);
    for (const Member& member : members) {
      number(types_, string(member.name), 4);
      number(types_, member.type, id_bytes());
      if (!is_long) {
        number(types_, member.bit_offset, id_bytes());
        continue;
      }
      if (version_ == 2) number(types_, 0xdead, 2);  // a pad that nobody may read
      number(types_, member.bit_offset >> 32, 4);
      number(types_, member.bit_offset & 0xffffffff, 4);
    }
    return ++last_ | base_;
  }
  std::uint32_t enumeration(const std::string& name, std::uint64_t size, const std::vector<std::pair<std::string, std::int32_t>>& items) {
    sized(name, CTF_ENUM, static_cast<std::uint32_t>(items.size()), size);
    for (const auto& [item, value] : items) {
      number(types_, string(item), 4);
      number(types_, static_cast<std::uint32_t>(value), 4);
    }
    return ++last_ | base_;
  }
  // A hole in the numbers, as the tools leave them; also any kind that there is not.
  std::uint32_t nothing(std::uint32_t kind = 0) {
    sized("", kind, 0, 0);
    return ++last_ | base_;
  }
  void rooted(bool rooted) { rooted_ = rooted; }
  void label(const std::string& name) {
    number(labels_, string(name), 4);
    number(labels_, last_, 4);
  }
  void parent(const std::string& name, const std::string& label) {
    parent_name_ = string(name);
    parent_label_ = string(label);
  }
  std::uint32_t next() const { return (last_ + 1) | base_; }
  std::uint32_t string(const std::string& text) {
    if (text.empty()) return 0;
    const auto offset = static_cast<std::uint32_t>(strings_.size());
    strings_.insert(strings_.end(), text.c_str(), text.c_str() + text.size() + 1);
    return offset;
  }

  Buffer bytes(bool compressed = false) const {
    Buffer body = labels_;
    const std::uint64_t objects = body.size();
    body.insert(body.end(), {1, 2, 3, 4});  // types of variables
    const std::uint64_t functions = body.size();
    body.insert(body.end(), {5, 6, 7, 8});  // and of functions
    const std::uint64_t types = body.size();
    body.insert(body.end(), types_.begin(), types_.end());
    const std::uint64_t strings = body.size();
    body.insert(body.end(), strings_.begin(), strings_.end());
    if (compressed) {
      Buffer packed(compressBound(body.size()));
      uLongf size = packed.size();
      compress2(packed.data(), &size, body.data(), body.size(), 9);
      packed.resize(size);
      body = std::move(packed);
    }
    Buffer out;
    number(out, 0xcff1, 2);
    number(out, version_, 1);
    number(out, compressed, 1);
    for (const std::uint64_t field : {std::uint64_t{parent_label_}, std::uint64_t{parent_name_}, std::uint64_t{0}, objects, functions, types, strings,
                                      std::uint64_t{strings_.size()}})
      number(out, field, 4);
    out.insert(out.end(), body.begin(), body.end());
    return out;
  }

 private:
  int id_bytes() const { return version_ == 2 ? 2 : 4; }
  void number(Buffer& out, std::uint64_t value, int bytes) const {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::uint8_t>(value >> (order_ == std::endian::little ? i : bytes - 1 - i) * 8));
  }
  void start(const std::string& name, std::uint32_t kind, std::uint32_t count) {
    number(types_, string(name), 4);
    if (version_ == 2) number(types_, kind << 11 | std::uint32_t{rooted_} << 10 | count, 2);
    else number(types_, kind << 26 | std::uint32_t{rooted_} << 25 | count, 4);
  }
  void sized(const std::string& name, std::uint32_t kind, std::uint32_t count, std::uint64_t size) {
    start(name, kind, count);
    const std::uint64_t sentinel = version_ == 2 ? 0xffff : 0xffffffff;
    number(types_, size < sentinel ? size : sentinel, id_bytes());
    if (size < sentinel) return;
    number(types_, size >> 32, 4);
    number(types_, size & 0xffffffff, 4);
  }

  unsigned version_;
  std::endian order_;
  std::uint32_t base_, last_ = 0, parent_name_ = 0, parent_label_ = 0;
  bool rooted_ = true;
  Buffer types_, strings_{0}, labels_;
};

}  // namespace kvm::testing
