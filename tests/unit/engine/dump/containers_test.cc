// What lies around FreeBSD's dumps: gzip and zstd streams, kernel dump headers in files and on devices, encryption.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

#include "engine/dump/support/seekable_stream.h"
#include "tests/support/freebsd_writer.h"
#include "tests/unit/engine/dump/reading.h"

using namespace kvm;
using namespace kvm::testing;

namespace {

// A minidump with its pages at 0x100000 and on.
Buffer small_dump(std::size_t pages = 40) {
  MinidumpSpec spec;
  spec.dmapbase = 0xfffff80000000000;
  spec.dmapend = 0xfffff80001000000;
  spec.available = {{0x100000, 0x100000 + pages * 4096}};
  for (std::size_t i = 0; i < pages; ++i) spec.pages[0x100000 + i * 4096] = page_of(i);
  return write_minidump(spec);
}

void check_small_dump(const Dump& dump, const std::string& format) {
  CHECK(dump.format == "FreeBSD minidump v3, amd64" + format);
  for (const std::size_t i : {39u, 0u, 17u, 38u}) CHECK(bytes_at(dump, 0x100000 + i * 4096) == page_of(i));
}

Buffer gzipped(const Buffer& plain, int level = 6) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Buffer out(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<std::uint8_t*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// A stream, as a kernel writes it: the frame does not tell its size.
Buffer zstd_stream(const Buffer& plain, int level = 3) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  Buffer out(ZSTD_compressBound(plain.size()) + 1024);
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  for (std::size_t at = 0; at < plain.size(); at += 100000) {
    ZSTD_inBuffer from{plain.data() + at, std::min<std::size_t>(100000, plain.size() - at), 0};
    while (from.pos < from.size) REQUIRE_FALSE(ZSTD_isError(ZSTD_compressStream2(context, &to, &from, ZSTD_e_continue)));
  }
  ZSTD_inBuffer none{nullptr, 0, 0};
  REQUIRE(ZSTD_compressStream2(context, &to, &none, ZSTD_e_end) == 0);
  ZSTD_freeCCtx(context);
  out.resize(to.pos);
  return out;
}

// Compressible, and no part like another.
Buffer long_text(std::size_t size) {
  Buffer text(size);
  std::mt19937_64 random(7);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = i % 64 < 24 ? random() : i / 4096;
    for (std::size_t j = 0; j < 8 && i + j < size; ++j) text[i + j] = static_cast<std::uint8_t>(word >> 8 * j);
  }
  return text;
}

void check_stream(std::unique_ptr<StreamDecoder> decoder, const Buffer& plain, SeekableStream::Limits limits) {
  const File file = File::from_source(std::make_unique<SeekableStream>(std::move(decoder), limits), "stream");
  std::mt19937_64 random(3);
  for (int i = 0; i < 60; ++i) {
    const std::size_t at = i == 0 ? plain.size() - 10 : random() % plain.size(), size = std::min<std::size_t>(random() % 9000 + 1, plain.size() - at);
    Buffer out(size);
    INFO(at << " " << size);
    REQUIRE(file.read(at, out) == size);
    REQUIRE(std::equal(out.begin(), out.end(), plain.begin() + static_cast<std::ptrdiff_t>(at)));
  }
  Buffer out(100);
  CHECK(file.read(plain.size() - 40, out) == 40);
  CHECK(file.read(plain.size(), out) == 0);
  CHECK(file.read(plain.size() + (1 << 30), out) == 0);
  CHECK(file.view(0).empty());
}

File file_of(Buffer bytes, const std::string& name = "made") { return File::from_bytes(std::move(bytes), name); }

}  // namespace

TEST_CASE("compressed streams are read anywhere, with much memory for states and with little", "[containers]") {
  const Buffer plain = long_text(12 << 20);
  for (const SeekableStream::Limits limits : {SeekableStream::Limits{}, SeekableStream::Limits{200 << 10, 512 << 10}, SeekableStream::Limits{1, 1}}) {
    check_stream(gzip_decoder(file_of(gzipped(plain, 1))), plain, limits);
    check_stream(zstd_decoder(file_of(zstd_stream(plain, 1))), plain, limits);
  }
  check_stream(zstd_decoder(file_of(zstd_stream(plain, 9))), plain, {});
}

TEST_CASE("members and frames may follow each other, and padding the last", "[containers]") {
  const Buffer plain = long_text(3 << 20), first(plain.begin(), plain.begin() + 1234567), rest(plain.begin() + 1234567, plain.end());
  const Buffer padding(512);
  check_stream(gzip_decoder(file_of(join(join(gzipped(first), gzipped(rest)), padding))), plain, {300 << 10, 1 << 20});
  Buffer frame(ZSTD_compressBound(rest.size()));  // one that tells its size, in one segment
  frame.resize(ZSTD_compress(frame.data(), frame.size(), rest.data(), rest.size(), 3));
  const Buffer skipped{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
  check_stream(zstd_decoder(file_of(join(join(join(zstd_stream(first), skipped), frame), padding))), plain, {300 << 10, 1 << 20});
}

TEST_CASE("a stream that is cut or damaged gives what comes before", "[containers]") {
  const Buffer plain = long_text(3 << 20);
  const std::pair<Buffer, std::unique_ptr<StreamDecoder> (*)(File)> streams[] = {{gzipped(plain), gzip_decoder}, {zstd_stream(plain), zstd_decoder}};
  for (const auto& [stream, decoder] : streams) {
    const File file = File::from_source(std::make_unique<SeekableStream>(decoder(file_of(cut(stream, stream.size() / 2)))), "stream");
    Buffer out(plain.size());
    const std::size_t got = file.read(0, out);
    CHECK(got > plain.size() / 4);
    CHECK(got < plain.size());
    CHECK(std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(got), plain.begin()));
    CHECK(file.read(plain.size() - 10, out) == 0);
    Buffer damaged = stream;
    for (std::size_t i = 0; i < 64; ++i) damaged[stream.size() / 2 + i] ^= 0x5a;
    const File broken = File::from_source(std::make_unique<SeekableStream>(decoder(file_of(damaged))), "stream");
    CHECK(broken.read(0, out) > plain.size() / 4);  // wrong bytes need not be noticed
    CHECK(std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(plain.size() / 4), plain.begin()));
  }
}

TEST_CASE("compressed dumps are opened as they are", "[containers]") {
  const Buffer plain = small_dump();
  check_small_dump(opened(gzipped(plain)), ", gzip");
  check_small_dump(opened(zstd_stream(plain)), ", zstd");
  const Dump short_one = opened(gzipped(cut(plain, plain.size() - 5000)));
  CHECK(has_remark(short_one, "the file is cut"));
  CHECK(error_at(short_one, 0x100000 + 39 * 4096) == Errc::lost);
}

TEST_CASE("a kernel dump header in front is taken off", "[containers]") {
  const Buffer plain = small_dump();
  for (const int version : {1, 2, 4}) {
    KernelDumpHeaderSpec spec;
    spec.version = version;
    spec.length = plain.size();
    const Dump dump = opened(join(kernel_dump_header(spec), plain));
    check_small_dump(dump, ", with kernel dump header");
    CHECK(dump.release == "FreeBSD 15.1-RELEASE #0: made");
  }
  KernelDumpHeaderSpec spec;  // blocks of 4 KiB
  spec.block_size = 4096;
  spec.length = spec.extent = plain.size();
  Buffer header = kernel_dump_header(spec);
  header.resize(4096);
  check_small_dump(opened(join(header, plain)), ", with kernel dump header");
  check_small_dump(opened(gzipped(join(header, plain))), ", gzip, with kernel dump header");
  spec.block_size = 512;
  spec.compression = 2;
  spec.length = zstd_stream(plain).size();
  spec.extent = plain.size();
  check_small_dump(opened(join(kernel_dump_header(spec), zstd_stream(plain))), ", with kernel dump header, zstd");
  Buffer damaged = join(kernel_dump_header(spec), plain);
  damaged[0x100] ^= 1;  // the parity does not fit
  CHECK(refusal(damaged).find("not a crash dump") != std::string::npos);
}

// A compressed dump has the room of one that is not, and behind it is what was there before: here an older dump's end.
TEST_CASE("a dump is found at the end of its device", "[containers]") {
  const Buffer plain = small_dump();
  for (const std::size_t block : {512u, 4096u})
    for (const int compression : {0, 1, 2}) {
      const Buffer data = compression == 0 ? plain : compression == 1 ? gzipped(plain) : zstd_stream(plain);
      KernelDumpHeaderSpec spec;
      spec.block_size = static_cast<std::uint32_t>(block);
      spec.length = data.size();
      Buffer padded = data;
      padded.resize((data.size() + block - 1) / block * block);
      if (compression) padded = join(padded, compression == 1 ? gzipped(Buffer(8 * block, 'o')) : zstd_stream(Buffer(8 * block, 'o')));
      padded.resize((plain.size() + block - 1) / block * block, 's');
      spec.extent = padded.size();
      spec.compression = compression;
      Buffer header = kernel_dump_header(spec);
      header.resize(block);
      const Buffer swap(300 * block, 's');  // what the device held before
      check_small_dump(opened(join(join(swap, header), join(padded, header))), std::string(", with kernel dump header") + (compression == 0 ? "" : compression == 1 ? ", gzip" : ", zstd"));
      spec.magic = "Cleared Kernel Dump";
      Buffer cleared = kernel_dump_header(spec);
      cleared.resize(block);
      const Dump saved = opened(join(join(swap, header), join(padded, cleared)));
      CHECK(has_remark(saved, "saved already"));
      CHECK(bytes_at(saved, 0x100000) == page_of(0));
      CHECK(refusal(join(swap, join(padded, header))).find("not a crash dump") != std::string::npos);  // no twin in front
    }
}

TEST_CASE("text dumps are told apart", "[containers]") {
  Image tar;
  tar.put(0, std::string("ddb.txt"));
  tar.put(257, std::string("ustar"));
  tar.pad_to(2048);
  const Buffer archive = tar.take();
  CHECK(refusal(archive) == "made.dump: is a text dump (textdump(4), what ddb's scripts printed), without the machine's memory; look at it with tar");
  CHECK(refusal(gzipped(archive)).find("is a text dump") != std::string::npos);
  KernelDumpHeaderSpec spec;
  spec.magic = "FreeBSD Text Dump";
  spec.length = archive.size();
  CHECK(refusal(join(kernel_dump_header(spec), archive)).find("is a text dump") != std::string::npos);
}

namespace {

// A key pair as dumpon(8)'s manual makes one, and dumps encrypted for it.
struct KeyPair {
  explicit KeyPair(unsigned bits = 2048) : key(EVP_RSA_gen(bits)) {}
  ~KeyPair() { EVP_PKEY_free(key); }
  KeyPair(const KeyPair&) = delete;
  KeyPair& operator=(const KeyPair&) = delete;

  Buffer pem() const {
    BIO* memory = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey_traditional(memory, key, nullptr, nullptr, 0, nullptr, nullptr);
    char* text = nullptr;
    const long size = BIO_get_mem_data(memory, &text);
    Buffer out(text, text + size);
    BIO_free(memory);
    return out;
  }
  Buffer encrypt(const Buffer& plain, int padding) const {
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(key, nullptr);
    EVP_PKEY_encrypt_init(context);
    EVP_PKEY_CTX_set_rsa_padding(context, padding);
    std::size_t size = 4096;
    Buffer out(size);
    REQUIRE(EVP_PKEY_encrypt(context, out.data(), &size, plain.data(), plain.size()) > 0);
    EVP_PKEY_CTX_free(context);
    out.resize(size);
    return out;
  }

  EVP_PKEY* key;
};

Buffer key_block(int cipher, const Buffer& iv, const Buffer& encrypted) {
  Image image(true);
  image.put(0, static_cast<std::uint64_t>(cipher), 1);
  image.put(1, iv);
  image.put(33, encrypted.size(), 4);
  image.put(37, encrypted);
  return image.take();
}

Buffer enciphered(int cipher, const Buffer& plain, const Buffer& key, const Buffer& iv) {
  Buffer start(16);
  if (cipher == 1) std::copy_n(iv.begin(), 16, start.begin());
  else std::copy_n(iv.begin(), 8, start.begin() + 8);  // the first eight bytes count blocks
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, cipher == 1 ? EVP_aes_256_cbc() : EVP_chacha20(), nullptr, key.data(), start.data());
  EVP_CIPHER_CTX_set_padding(context, 0);
  Buffer out(plain.size() + 16);
  int size = 0;
  EVP_EncryptUpdate(context, out.data(), &size, plain.data(), static_cast<int>(plain.size()));
  EVP_CIPHER_CTX_free(context);
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<Dump> open_with(const std::string& path, const std::string& key) { return open_dump(path, "", {nullptr, {}, key}); }

}  // namespace

TEST_CASE("encrypted dumps are read with the private key", "[containers]") {
  const KeyPair pair, other, longer(3072);
  const TempDir dir;
  const std::string pem = dir.write("private.pem", pair.pem()), wrong = dir.write("wrong.pem", other.pem()), large = dir.write("large.pem", longer.pem());
  Buffer session(64), iv(32);
  for (std::size_t i = 0; i < 64; ++i) session[i] = static_cast<std::uint8_t>(i * 7 + 1);
  for (std::size_t i = 0; i < 32; ++i) iv[i] = static_cast<std::uint8_t>(i * 5 + 3);
  const Buffer plain = small_dump();
  for (const int cipher : {1, 2})
    for (const int padding : {RSA_PKCS1_OAEP_PADDING, RSA_PKCS1_PADDING})
      for (const bool packed : {false, true}) {
        Buffer data = packed ? gzipped(plain) : plain;
        data.resize((data.size() + 511) / 512 * 512);
        const std::string ending = packed ? ".7.gz" : ".7", name = cipher == 1 ? ", encrypted (AES-256-CBC)" : ", encrypted (ChaCha20)";
        const Buffer key = key_block(cipher, iv, pair.encrypt(session, padding)), secret = enciphered(cipher, data, session, iv);
        const std::string path = dir.write("vmcore_encrypted" + ending, secret);
        dir.write("key.7", key);
        auto dump = open_with(path, pem);
        INFO((dump ? "" : to_string(dump.error())));
        REQUIRE(dump);
        check_small_dump(*dump, name + (packed ? ", gzip" : ""));
        // The same on a device, with the key's block between the header and the data.
        KernelDumpHeaderSpec spec;
        spec.length = spec.extent = data.size();
        Buffer block = key;
        block.resize((key.size() + 511) / 512 * 512);
        spec.key_size = static_cast<std::uint32_t>(block.size());
        const Buffer header = kernel_dump_header(spec);
        auto device = open_with(dir.write("device", join(join(Buffer(4096, 's'), header), join(block, join(secret, header)))), pem);
        INFO((device ? "" : to_string(device.error())));
        REQUIRE(device);
        check_small_dump(*device, ", with kernel dump header" + name + (packed ? ", gzip" : ""));

        for (const std::string& bad : {wrong, large, path, std::string("/nonexistent.pem"), std::string()}) {
          const auto refused = open_with(path, bad);
          REQUIRE_FALSE(refused);
          const std::string why = to_string(refused.error());
          INFO(why);
          CHECK(why.find('\n') == std::string::npos);
          if (bad == wrong) CHECK(why.find("is not its private key (2048 bits; the dump was encrypted for one of 2048)") != std::string::npos);
          if (bad == large) CHECK(why.find("is not its private key (3072 bits; the dump was encrypted for one of 2048)") != std::string::npos);
          if (bad.empty()) CHECK(why.find("give the private key of the key pair that dumpon(8) was told, with --key FILE") != std::string::npos);
        }
      }
  const std::string alone = dir.write("vmcore_encrypted.8", Buffer(8192, 'x'));
  CHECK(to_string(open_with(alone, pem).error()).find("needs its key beside it") != std::string::npos);
  dir.write("key.8", Buffer(10, 1));
  CHECK(to_string(open_with(alone, pem).error()).find("the file ends inside the dump's key") != std::string::npos);
  dir.write("key.8", key_block(3, iv, session));
  CHECK(to_string(open_with(alone, pem).error()).find("encryption 3 at 0x0, expected 1 (AES-256-CBC) or 2 (ChaCha20)") != std::string::npos);
}
