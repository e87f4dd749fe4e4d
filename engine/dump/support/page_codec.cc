// One decompressor per thread is kept: setting one up costs more than a page.
#include "engine/dump/support/page_codec.h"

#include <fmt/format.h>
#include <libdeflate.h>
#include <snappy.h>
#include <zstd.h>
#ifdef INQUEST_LZO
#include <lzo/lzo1x.h>
#endif

#include <cstring>
#include <memory>

namespace kvm {
namespace {

bool inflate(Bytes stored, MutableBytes out) {
  struct Free {
    void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
  };
  thread_local const std::unique_ptr<libdeflate_decompressor, Free> inflater{libdeflate_alloc_decompressor()};
  // Without a place for the actual size, fewer bytes than `out` are an error.
  return inflater && libdeflate_zlib_decompress(inflater.get(), stored.data(), stored.size(), out.data(), out.size(), nullptr) == LIBDEFLATE_SUCCESS;
}

bool unsnap(Bytes stored, MutableBytes out) {
  const char* from = reinterpret_cast<const char*>(stored.data());
  std::size_t size = 0;
  if (!snappy::GetUncompressedLength(from, stored.size(), &size) || size != out.size()) return false;
  return snappy::RawUncompress(from, stored.size(), reinterpret_cast<char*>(out.data()));
}

bool unzstd(Bytes stored, MutableBytes out) {
  struct Free {
    void operator()(ZSTD_DCtx* d) const { ZSTD_freeDCtx(d); }
  };
  thread_local const std::unique_ptr<ZSTD_DCtx, Free> context{ZSTD_createDCtx()};
  return context && ZSTD_decompressDCtx(context.get(), out.data(), out.size(), stored.data(), stored.size()) == out.size();
}

#ifdef INQUEST_LZO
bool unlzo(Bytes stored, MutableBytes out) {
  lzo_uint size = out.size();
  return lzo1x_decompress_safe(stored.data(), stored.size(), out.data(), &size, nullptr) == LZO_E_OK && size == out.size();
}
#endif

Result<void> checked(bool good) {
  if (good) return {};
  return fail(Errc::bad_data);
}

}  // namespace

Result<void> decompress(std::uint32_t flags, Bytes stored, MutableBytes out) {
  switch (flags & (page_zlib | page_lzo | page_snappy | page_zstd)) {
    case 0:
      if (stored.size() != out.size()) return fail(Errc::bad_data);
      std::memcpy(out.data(), stored.data(), out.size());
      return {};
    case page_zlib: return checked(inflate(stored, out));
    case page_snappy: return checked(unsnap(stored, out));
    case page_zstd: return checked(unzstd(stored, out));
#ifdef INQUEST_LZO
    case page_lzo: return checked(unlzo(stored, out));
#endif
    default: return fail(Errc::unsupported);
  }
}

std::string codec_name(std::uint32_t flags) {
  switch (flags & (page_zlib | page_lzo | page_snappy | page_zstd)) {
    case 0: return "uncompressed";
    case page_zlib: return "zlib";
    case page_lzo: return "LZO";
    case page_snappy: return "snappy";
    case page_zstd: return "zstd";
    default: return fmt::format("compression {:#x}", flags);
  }
}

}  // namespace kvm
