// Compressed streams, decoded from front to back, with states to which a decoder can return.
#pragma once

#include <memory>

#include "engine/file.h"

namespace kvm {

class StreamDecoder {
 public:
  // All that decoding needs to go on from one place.  Refers to the decoder's stream, which outlives it.
  class State {
   public:
    virtual ~State() = default;
    virtual std::size_t bytes() const = 0;  // of memory
  };

  virtual ~StreamDecoder() = default;
  // The next bytes of the plain text; fewer than asked for only where the stream ends, is cut or is damaged.
  virtual std::size_t decode(MutableBytes out) = 0;
  // Null when there is no memory for it.
  virtual std::unique_ptr<State> save() = 0;
  virtual void restore(const State& state) = 0;
};

bool is_gzip(const File& file);
bool is_zstd(const File& file);
// One member or frame, or several one after the other; what follows them is ignored (a dump device's padding).
std::unique_ptr<StreamDecoder> gzip_decoder(File file);
std::unique_ptr<StreamDecoder> zstd_decoder(File file);

}  // namespace kvm
