// See image_file.h.
#include "stub/image_file.h"

#include "engine/symbols/elf_file.h"

namespace kvm::rsp {
namespace {

constexpr const char* producer = "inquest " INQUEST_VERSION;

}  // namespace

Result<KernelImage> image_of(const Kernel& kernel, const ImageCache& cache) { return kernel_image(kernel, producer, cache); }

Result<KernelImage> unwind_of(const Kernel& kernel) { return unwind_image(kernel, producer, user_image_cache()); }

Result<KernelImage> image_on_disk(const Kernel& kernel) {
  KernelImage image = TRY(image_of(kernel));
  if (!image.path.empty()) return image;
  const Bytes bytes = image.file.view(0);
  if (const auto elf = ElfFile::open(File::from_bytes({bytes.begin(), bytes.end()}, "image")))
    image.path = keep(user_image_cache(), elf->build_id() + "/vmlinux", bytes);
  if (image.path.empty()) return fail(Errc::io, "no folder to keep the image in: neither $XDG_CACHE_HOME nor $HOME can be written to");
  return image;
}

}  // namespace kvm::rsp
