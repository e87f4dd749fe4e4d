// decryptcore(8)'s work: the dump's own key is encrypted with RSA (OAEP, formerly PKCS 1.5), the dump with that key.
#include "engine/dump/support/decipher.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "engine/integers.h"

namespace kvm {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const { Free(object); }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>>;

using SessionKey = std::array<std::uint8_t, 64>;  // KERNELDUMP_KEY_MAX_SIZE; the ciphers use 32 bytes of it

// No passphrase is asked for: nobody may be there to answer.
int no_passphrase(char*, int, int, void*) { return 0; }

Result<PrivateKey> read_private_key(const std::string& path) {
  const std::unique_ptr<std::FILE, Freed<std::fclose>> file(std::fopen(path.c_str(), "re"));
  if (!file) return fail(Errc::io, path + ": the private key cannot be opened");
  PrivateKey key(PEM_read_PrivateKey(file.get(), nullptr, no_passphrase, nullptr));
  if (!key || !EVP_PKEY_is_a(key.get(), "RSA")) return fail(Errc::bad_data, path + ": is not an RSA private key in PEM form (without a passphrase)");
  return key;
}

bool decrypt_key(EVP_PKEY* key, int padding, Bytes encrypted, SessionKey& out) {
  const KeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  std::vector<std::uint8_t> plain(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
  std::size_t size = plain.size();
  const bool done = context && EVP_PKEY_decrypt_init(context.get()) > 0 && EVP_PKEY_CTX_set_rsa_padding(context.get(), padding) > 0 &&
                    EVP_PKEY_decrypt(context.get(), plain.data(), &size, encrypted.data(), encrypted.size()) > 0 && size == out.size();
  if (done) std::copy_n(plain.begin(), out.size(), out.begin());
  return done;
}

class Deciphered final : public FileSource {
 public:
  Deciphered(File file, const DumpKey& key, const SessionKey& session) : file_(std::move(file)), key_(key), session_(session) {}

  std::uint64_t size() const override { return file_.size(); }

  std::size_t read(std::uint64_t offset, MutableBytes out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      std::array<std::uint8_t, chunk> plain;
      const std::uint64_t at = offset + done, first = at / chunk * chunk, skip = at - first;
      const std::size_t got = decipher(first, plain);
      if (got <= skip) break;
      const std::size_t part = std::min<std::uint64_t>(out.size() - done, got - skip);
      std::copy_n(plain.data() + skip, part, out.data() + done);
      done += part;
    }
    return done;
  }

 private:
  static constexpr std::size_t chunk = 4096, aes_block = 16, chacha_block = 64;

  // A chunk, or as much of it as there is.
  std::size_t decipher(std::uint64_t at, std::array<std::uint8_t, chunk>& out) const {
    std::array<std::uint8_t, chunk> in;
    std::size_t size = file_.read(at, in);
    std::uint8_t iv[16];
    const bool aes = key_.cipher == DumpKey::Cipher::aes_256_cbc;
    if (aes) size -= size % aes_block;
    if (size == 0 || !(aes ? chain_at(at, iv) : counter_at(at, iv))) return 0;
    const CipherContext context(EVP_CIPHER_CTX_new());
    int written = 0;
    const bool done = context && EVP_DecryptInit_ex(context.get(), aes ? EVP_aes_256_cbc() : EVP_chacha20(), nullptr, session_.data(), iv) &&
                      EVP_CIPHER_CTX_set_padding(context.get(), 0) &&
                      EVP_DecryptUpdate(context.get(), out.data(), &written, in.data(), static_cast<int>(size));
    return done ? static_cast<std::size_t>(written) : 0;
  }

  // A block is chained to the encrypted one before it.
  bool chain_at(std::uint64_t at, std::uint8_t (&iv)[16]) const {
    if (at == 0) std::copy_n(key_.iv, sizeof iv, iv);
    return at == 0 || file_.read(at - sizeof iv, iv) == sizeof iv;
  }
  // A counter of blocks from 0 in eight bytes, then eight of the dump's.
  bool counter_at(std::uint64_t at, std::uint8_t (&iv)[16]) const {
    store<std::uint64_t>(iv, at / chacha_block, std::endian::little);
    std::copy_n(key_.iv, 8, iv + 8);
    return true;
  }

  File file_;
  DumpKey key_;
  SessionKey session_;
};

}  // namespace

Result<File> deciphered(File file, const DumpKey& key, const std::string& private_key) {
  const PrivateKey owner = TRY(read_private_key(private_key));
  const auto size = static_cast<std::size_t>(EVP_PKEY_get_size(owner.get()));
  SessionKey session;
  const bool fits = size == key.encrypted.size() && (decrypt_key(owner.get(), RSA_PKCS1_OAEP_PADDING, key.encrypted, session) ||
                                                     decrypt_key(owner.get(), RSA_PKCS1_PADDING, key.encrypted, session));
  if (!fits)
    return fail(Errc::bad_request, fmt::format("{}: {} is not its private key ({} bits; the dump was encrypted for one of {})", file.path(), private_key,
                                               size * 8, key.encrypted.size() * 8));
  const std::string path = file.path();
  return File::from_source(std::make_unique<Deciphered>(std::move(file), key, session), path);
}

}  // namespace kvm
