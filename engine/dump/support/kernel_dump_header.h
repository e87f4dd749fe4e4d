// The sector that FreeBSD's kernels write before and behind a dump on its device (sys/sys/kerneldump.h).  savecore leaves it out
// of its files; netdump's files and device images still have it.
#pragma once

#include <optional>
#include <string>

#include "engine/file.h"

namespace kvm {

struct KernelDumpHeader {
  enum class Kind : std::uint8_t { memory, text, cleared } kind = Kind::memory;  // cleared: savecore has been here
  std::string architecture;
  std::uint32_t version = 0;
  std::uint64_t length = 0;       // bytes of the dump as it lies there: of the compressed one, if it is
  std::uint64_t extent = 0;       // bytes of the device that were kept for it: as many, but for a compressed one
  std::uint32_t key_size = 0;     // bytes of a key in front of the dump; 0: not encrypted
  std::uint32_t block_size = 0;   // the header itself takes one
  std::string release, panic;

  // The same dump's, be it cleared or not.
  bool operator==(const KernelDumpHeader& other) const;
};

constexpr std::size_t kernel_dump_header_bytes = 512;

// None when there is none, or when its parity is wrong.
std::optional<KernelDumpHeader> kernel_dump_header_at(const File& file, std::uint64_t offset);

// A kernel's own words for what was encrypted, and how (struct kerneldumpkey).
struct DumpKey {
  enum class Cipher : std::uint8_t { none, aes_256_cbc, chacha20 } cipher = Cipher::none;
  std::uint8_t iv[32] = {};
  std::vector<std::uint8_t> encrypted;  // the key of this dump, for the owner of the private key
};
Result<DumpKey> read_dump_key(const File& file, std::uint64_t offset);

}  // namespace kvm
