// gzip (RFC 1952).  zlib copies a decoder's state, its window of 32 KiB included.
#include <zlib.h>

#include "engine/dump/support/stream_decoder.h"
#include "engine/dump/support/stream_input.h"

namespace kvm {
namespace {

constexpr int gzip_only = 15 + 16;  // inflateInit2: the largest window, and gzip's header

struct Inflater {
  z_stream stream{};
  bool ready = false;

  Inflater() = default;
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { clear(); }
  void clear() {
    if (ready) inflateEnd(&stream);
    ready = false;
  }
  bool copy(const Inflater& other) {
    clear();
    ready = other.ready && inflateCopy(&stream, const_cast<z_stream*>(&other.stream)) == Z_OK;
    return ready;
  }
};

struct GzipState final : StreamDecoder::State {
  Inflater inflater;
  std::uint64_t at = 0;
  std::size_t bytes() const override { return 48 << 10; }  // the window and zlib's own 7 KiB
};

class GzipDecoder final : public StreamDecoder {
 public:
  explicit GzipDecoder(File file) : input_(std::move(file)) { inflater_.ready = inflateInit2(&inflater_.stream, gzip_only) == Z_OK; }

  std::size_t decode(MutableBytes out) override {
    z_stream& stream = inflater_.stream;
    std::size_t done = 0;
    while (inflater_.ready && !ended_ && done < out.size()) {
      const Bytes in = input_.from(at_);
      if (in.empty()) break;
      stream.next_in = const_cast<std::uint8_t*>(in.data());
      stream.avail_in = static_cast<uInt>(in.size());
      stream.next_out = out.data() + done;
      stream.avail_out = static_cast<uInt>(out.size() - done);
      const int result = inflate(&stream, Z_NO_FLUSH);
      at_ += in.size() - stream.avail_in;
      done = out.size() - stream.avail_out;
      if (result == Z_STREAM_END) next_member();
      else if (result != Z_OK) ended_ = true;
    }
    return done;
  }

  std::unique_ptr<State> save() override {
    auto state = std::make_unique<GzipState>();
    state->at = at_;
    return state->inflater.copy(inflater_) ? std::move(state) : nullptr;
  }

  void restore(const State& state) override {
    const auto& saved = static_cast<const GzipState&>(state);
    at_ = saved.at;
    ended_ = !inflater_.copy(saved.inflater);
  }

 private:
  void next_member() {
    const Bytes in = input_.from(at_);
    ended_ = in.size() < 2 || in[0] != 0x1f || in[1] != 0x8b || inflateReset(&inflater_.stream) != Z_OK;
  }

  StreamInput input_;
  Inflater inflater_;
  std::uint64_t at_ = 0;
  bool ended_ = false;
};

}  // namespace

bool is_gzip(const File& file) {
  std::uint8_t head[3];
  return file.read(0, head) == sizeof head && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8;  // deflate
}

std::unique_ptr<StreamDecoder> gzip_decoder(File file) { return std::make_unique<GzipDecoder>(std::move(file)); }

}  // namespace kvm
