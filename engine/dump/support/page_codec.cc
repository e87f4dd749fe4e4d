// One decompressor per thread is kept: setting one up costs more than a page.
#include "engine/dump/support/page_codec.h"

#include <fmt/format.h>
#include <libdeflate.h>
#include <zstd.h>

#include <cstring>
#include <memory>

#include "engine/dump/support/lzo.h"
#include "engine/dump/support/snappy.h"

namespace kvm {
namespace {

bool inflate(Bytes stored, MutableBytes out) {
  struct Free {
    void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
  };
  thread_local const std::unique_ptr<libdeflate_decompressor, Free> inflater{libdeflate_alloc_decompressor()};
  // Without a place for the actual size, fewer bytes than `out` are an error.
  return inflater && libdeflate_zlib_decompress(inflater.get(), stored.data(), stored.size(), out.data(), out.size(), nullptr) ==
                         LIBDEFLATE_SUCCESS;
}

bool unzstd(Bytes stored, MutableBytes out) {
  struct Free {
    void operator()(ZSTD_DCtx* d) const { ZSTD_freeDCtx(d); }
  };
  thread_local const std::unique_ptr<ZSTD_DCtx, Free> context{ZSTD_createDCtx()};
  return context && ZSTD_decompressDCtx(context.get(), out.data(), out.size(), stored.data(), stored.size()) == out.size();
}

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
    case page_zlib:
      return checked(inflate(stored, out));
    case page_snappy:
      return checked(decompress_snappy(stored, out));
    case page_zstd:
      return checked(unzstd(stored, out));
    case page_lzo:
      return checked(decompress_lzo(stored, out));
    default:
      return fail(Errc::unsupported);
  }
}

std::string codec_name(std::uint32_t flags) {
  switch (flags & (page_zlib | page_lzo | page_snappy | page_zstd)) {
    case 0:
      return "uncompressed";
    case page_zlib:
      return "zlib";
    case page_lzo:
      return "LZO";
    case page_snappy:
      return "snappy";
    case page_zstd:
      return "zstd";
    default:
      return fmt::format("compression {:#x}", flags);
  }
}

}  // namespace kvm
