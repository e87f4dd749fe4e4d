// All numbers are big-endian, whatever the machine.
#include "engine/dump/support/kernel_dump_header.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

struct Magic {
  std::string_view text;
  KernelDumpHeader::Kind kind;
};
constexpr Magic magics[] = {{"FreeBSD Kernel Dump", KernelDumpHeader::Kind::memory},
                            {"FreeBSD Text Dump", KernelDumpHeader::Kind::text},
                            {"Cleared Kernel Dump", KernelDumpHeader::Kind::cleared}};

std::string text_at(Bytes raw, std::size_t at, std::size_t size) {
  const auto* const begin = raw.data() + at;
  return {begin, std::find(begin, begin + size, 0)};
}

bool is_even(Bytes raw) {
  std::uint32_t parity = 0;
  for (std::size_t i = 0; i < raw.size(); i += 4) parity ^= load<std::uint32_t>(raw.data() + i, std::endian::big);
  return parity == 0;
}

}  // namespace

bool KernelDumpHeader::operator==(const KernelDumpHeader& other) const {
  return architecture == other.architecture && version == other.version && length == other.length && extent == other.extent && key_size == other.key_size &&
         block_size == other.block_size && release == other.release && panic == other.panic;
}

std::optional<KernelDumpHeader> kernel_dump_header_at(const File& file, std::uint64_t offset) {
  std::uint8_t raw[kernel_dump_header_bytes];
  if (file.read(offset, raw) != sizeof raw) return std::nullopt;
  const auto magic = std::ranges::find(magics, text_at(raw, 0, 20), &Magic::text);
  if (magic == std::end(magics) || !is_even(raw)) return std::nullopt;
  const auto number = [&](std::size_t at) { return load<std::uint32_t>(raw + at, std::endian::big); };
  KernelDumpHeader h;
  h.kind = magic->kind;
  h.architecture = text_at(raw, 0x14, 12);
  h.version = number(0x20);
  // Version 1 had no key.  None but 4 tells the extent: dump_start() keeps room for the dump as it would be without compression, and
  // dump_finish() says how much of that it took (sys/kern/kern_shutdown.c).
  const std::size_t back = h.version == 1 ? 4 : 0;
  h.length = h.extent = load<std::uint64_t>(raw + 0x28, std::endian::big);
  if (h.version >= 4 && load<std::uint64_t>(raw + 0x1f0, std::endian::big)) h.extent = load<std::uint64_t>(raw + 0x1f0, std::endian::big);
  h.key_size = back ? 0 : number(0x38);
  h.block_size = number(0x3c - back);
  h.release = text_at(raw, 0x80 - back, 192);
  h.panic = text_at(raw, 0x140 - back, h.version >= 4 ? 175 : 188);
  return h;
}

Result<DumpKey> read_dump_key(const File& file, std::uint64_t offset) {
  constexpr std::uint32_t longest = 2048;  // KERNELDUMP_ENCKEY_MAX_SIZE
  std::uint8_t raw[37];
  if (file.read(offset, raw) != sizeof raw) return fail(Errc::bad_data, fmt::format("{}: the file ends inside the dump's key at {:#x}", file.path(), offset));
  DumpKey key;
  if (raw[0] < 1 || raw[0] > 2)
    return fail(Errc::unsupported, fmt::format("{}: encryption {} at {:#x}, expected 1 (AES-256-CBC) or 2 (ChaCha20)", file.path(), raw[0], offset));
  key.cipher = static_cast<DumpKey::Cipher>(raw[0]);
  std::copy(raw + 1, raw + 33, key.iv);
  const auto size = load<std::uint32_t>(raw + 33, std::endian::big);
  if (size == 0 || size > longest)
    return fail(Errc::bad_data, fmt::format("{}: an encrypted key of {} bytes at {:#x}, expected 1 to {}", file.path(), size, offset + 33, longest));
  key.encrypted = TRY(file.bytes(offset + sizeof raw, size));
  return key;
}

}  // namespace kvm
