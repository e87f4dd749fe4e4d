// Files made of a dump, from the user's cache where it has them.
#pragma once

#include "engine/image/cache.h"

namespace kvm::rsp {

// What stands in for a vmlinux.
Result<KernelImage> image_of(const Kernel& kernel, const ImageCache& cache = user_image_cache());
// What gdb wants beside one.
Result<KernelImage> unwind_of(const Kernel& kernel);
// The image on disk, under a name that stays; also when it lacks something and is for this dump alone.
Result<KernelImage> image_on_disk(const Kernel& kernel);

}  // namespace kvm::rsp
