// From the outside in: a file or device, its headers, encryption, compression (FreeBSD compresses before it encrypts).
#include "engine/dump/support/containers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/dump/support/decipher.h"
#include "engine/dump/support/kernel_dump_header.h"
#include "engine/dump/support/seekable_stream.h"

namespace kvm {
namespace {

// A compressed file so small, of a plain text so small, is decoded once to find out its true size.
constexpr std::uint64_t small_file = 16 << 20, small_text = 512 << 20;
constexpr std::string_view encrypted_name = "vmcore_encrypted";

File part_of(File file, std::uint64_t offset, std::uint64_t size) { return std::move(file).rearranged({{0, size, offset}}); }

File seekable(File file, std::unique_ptr<StreamDecoder> (*decoder)(File)) {
  const std::string path = file.path();
  const bool small = file.size() <= small_file;
  auto stream = std::make_unique<SeekableStream>(decoder(std::move(file)));
  if (small) stream->find_end(small_text);
  return File::from_source(std::move(stream), path);
}

// ddb's textdump(4): an archive of texts, of which one is always the same.
bool is_text_dump(const File& file) {
  char head[512];
  if (file.read(0, {reinterpret_cast<std::uint8_t*>(head), sizeof head}) != sizeof head || std::memcmp(head + 257, "ustar", 5) != 0) return false;
  const std::string_view name(head, strnlen(head, 100));
  return name == "ddb.txt" || name == "config.txt" || name == "msgbuf.txt" || name == "panic.txt" || name == "version.txt";
}

tl::unexpected<Error> text_dump(const File& file) {
  return fail(Errc::unsupported, file.path() + ": is a text dump (textdump(4), what ddb's scripts printed), without the machine's memory; look at it with tar");
}

struct Device {
  KernelDumpHeader header;
  std::uint64_t data_at, size;
};

// A header in front.  It takes a block of the device's, or 512 bytes: what follows tells.
std::optional<Device> leading(const File& file) {
  const auto header = kernel_dump_header_at(file, 0);
  if (!header) return std::nullopt;
  Device found{*header, kernel_dump_header_bytes, 0};
  std::uint8_t head[8];
  for (const std::uint64_t at : {std::uint64_t{kernel_dump_header_bytes}, std::uint64_t{header->block_size}, std::uint64_t{4096}}) {
    if (at < kernel_dump_header_bytes || file.read(at, head) != sizeof head || std::all_of(head, head + sizeof head, [](auto b) { return b == 0; })) continue;
    found.data_at = at + header->key_size;
    break;
  }
  if (found.data_at >= file.size()) return std::nullopt;
  found.size = std::min(header->length ? header->length : ~std::uint64_t{0}, file.size() - found.data_at);
  return found;
}

// The header in the last block, of a device whose blocks are of this size, if there is the same in front of the dump.
std::optional<Device> trailing(const File& file, std::uint64_t block) {
  if (file.size() < 2 * block) return std::nullopt;
  const std::uint64_t end = file.size() - block;
  const auto header = kernel_dump_header_at(file, end);
  if (!header || header->extent > end || header->extent == 0) return std::nullopt;
  const std::uint64_t before = header->extent + header->key_size + block;
  if (before < header->extent || before > end) return std::nullopt;
  const auto twin = kernel_dump_header_at(file, end - before);
  if (!twin || !(*twin == *header)) return std::nullopt;
  return Device{*header, end - header->extent, header->length ? std::min(header->length, header->extent) : header->extent};
}

// The name of a key's file beside an encrypted dump: vmcore_encrypted.3[.gz] goes with key.3.
std::string key_path(const std::string& dump) {
  const std::size_t slash = dump.rfind('/');
  std::string folder = slash == std::string::npos ? "" : dump.substr(0, slash + 1), name = dump.substr(folder.size());
  for (const std::string_view ending : {".gz", ".zst"})
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  const std::size_t dot = name.rfind('.');
  return folder + "key" + (dot == std::string::npos ? "" : name.substr(dot));
}

bool is_named_encrypted(const std::string& path) { return path.substr(path.rfind('/') + 1).starts_with(encrypted_name); }

Result<File> decrypt(File file, const DumpKey& key, const std::string& private_key, Wrapping& found) {
  if (private_key.empty())
    return fail(Errc::bad_request, file.path() + ": the dump is encrypted; give the private key of the key pair that dumpon(8) was told, with --key FILE");
  found.names.push_back(key.cipher == DumpKey::Cipher::aes_256_cbc ? "encrypted (AES-256-CBC)" : "encrypted (ChaCha20)");
  return deciphered(std::move(file), key, private_key);
}

Result<File> decrypt_by_file(File file, const std::string& private_key, Wrapping& found) {
  const std::string path = key_path(file.path());
  auto key_file = File::open(path);
  if (!key_file) return fail(Errc::bad_request, fmt::format("{}: an encrypted dump needs its key beside it: {}", file.path(), to_string(key_file.error())));
  return decrypt(std::move(file), TRY(read_dump_key(*key_file, 0)), private_key, found);
}

Result<File> take_from_device(File file, const Device& device, const std::string& private_key, Wrapping& found) {
  const KernelDumpHeader& h = device.header;
  found.names.push_back("with kernel dump header");
  found.release = h.release;
  if (h.kind == KernelDumpHeader::Kind::text) return text_dump(file);
  if (h.kind == KernelDumpHeader::Kind::cleared)
    found.remarks.push_back("the dump was saved already (its header is cleared): its device may have been written to since");
  if (!h.key_size) return part_of(std::move(file), device.data_at, device.size);
  const DumpKey key = TRY(read_dump_key(file, device.data_at - h.key_size));
  return decrypt(part_of(std::move(file), device.data_at, device.size), key, private_key, found);
}

}  // namespace

Result<File> unwrapped(File file, const std::string& private_key, const std::function<bool(const File&)>& known, Wrapping& found) {
  auto device = leading(file);
  for (const std::uint64_t block : {512, 4096})
    if (!device) device = trailing(file, block);
  if (device) file = TRY(take_from_device(std::move(file), *device, private_key, found));
  else if (is_named_encrypted(file.path()) || (!private_key.empty() && !known(file) && !is_gzip(file) && !is_zstd(file)))
    file = TRY(decrypt_by_file(std::move(file), private_key, found));
  if (is_gzip(file)) {
    file = seekable(std::move(file), gzip_decoder);
    found.names.push_back("gzip");
  } else if (is_zstd(file)) {
    file = seekable(std::move(file), zstd_decoder);
    found.names.push_back("zstd");
  }
  if (is_text_dump(file)) return text_dump(file);
  if (!found.names.empty() && !device)  // a file of netdump's, compressed later
    if (const auto inside = leading(file)) return take_from_device(std::move(file), *inside, private_key, found);
  return file;
}

}  // namespace kvm
