// Zstandard (RFC 8878).  The library copies no decoder's state, but it can be told to keep all of it in memory of ours: a copy
// of that memory, put back to the same place, is a state.
#define ZSTD_STATIC_LINKING_ONLY  // NOLINT: for decoders in memory of ours
#include <zstd.h>

#include <cstring>
#include <vector>

#include "engine/dump/support/stream_decoder.h"
#include "engine/dump/support/stream_input.h"

namespace kvm {
namespace {

constexpr std::uint64_t largest_window = 128 << 20;  // the library's own limit, ZSTD_WINDOWLOG_LIMIT_DEFAULT

// The decoder, its tables and its window.
struct Workspace {
  explicit Workspace(std::size_t bytes) : memory(bytes), stream(ZSTD_initStaticDStream(memory.data(), memory.size())) {}
  std::vector<std::uint8_t> memory;  // never resized: the decoder points into it
  ZSTD_DStream* stream;              // null: too little memory
};

struct ZstdState final : StreamDecoder::State {
  std::shared_ptr<Workspace> workspace;  // where the copy must go
  std::vector<std::uint8_t> packed;      // the copy, compressed
  std::uint64_t at = 0;
  bool in_frame = false;
  std::size_t bytes() const override { return packed.size() + sizeof *this; }
};

class ZstdDecoder final : public StreamDecoder {
 public:
  explicit ZstdDecoder(File file) : input_(std::move(file)) {}

  std::size_t decode(MutableBytes out) override {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (!ended_ && to.pos < to.size) {
      if (!in_frame_ && !begin_frame()) break;
      const Bytes bytes = input_.from(at_);
      ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
      const std::size_t before = to.pos;
      const std::size_t result = ZSTD_decompressStream(workspace_->stream, &to, &in);
      at_ += in.pos;
      if (ZSTD_isError(result) || (in.pos == 0 && to.pos == before)) ended_ = true;
      else if (result == 0) in_frame_ = false;
    }
    return to.pos;
  }

  std::unique_ptr<State> save() override {
    auto state = std::make_unique<ZstdState>();
    state->at = at_;
    state->in_frame = in_frame_;
    if (!in_frame_) return state;
    const std::vector<std::uint8_t>& memory = workspace_->memory;
    state->workspace = workspace_;
    state->packed.resize(ZSTD_compressBound(memory.size()));
    const std::size_t size = ZSTD_compress(state->packed.data(), state->packed.size(), memory.data(), memory.size(), 1);
    if (ZSTD_isError(size)) return nullptr;
    state->packed.resize(size);
    state->packed.shrink_to_fit();
    return state;
  }

  void restore(const State& state) override {
    const auto& saved = static_cast<const ZstdState&>(state);
    at_ = saved.at;
    in_frame_ = saved.in_frame;
    ended_ = false;
    if (!in_frame_) return;
    workspace_ = saved.workspace;
    std::vector<std::uint8_t>& memory = workspace_->memory;
    ended_ = ZSTD_decompress(memory.data(), memory.size(), saved.packed.data(), saved.packed.size()) != memory.size();
  }

 private:
  // Makes room for the frame that begins here, behind frames to be skipped.
  bool begin_frame() {
    while (!ended_) {
      const Bytes head = input_.from(at_);
      ZSTD_frameHeader frame;
      if (ZSTD_getFrameHeader(&frame, head.data(), head.size()) != 0) break;
      if (frame.frameType == ZSTD_skippableFrame) {
        at_ += frame.frameContentSize + ZSTD_SKIPPABLEHEADERSIZE;
        continue;
      }
      if (frame.windowSize > largest_window) break;
      const std::size_t needed = ZSTD_estimateDStreamSize(frame.windowSize);
      if (!workspace_ || workspace_->memory.size() < needed) workspace_ = std::make_shared<Workspace>(needed);
      if (!workspace_->stream || ZSTD_isError(ZSTD_DCtx_reset(workspace_->stream, ZSTD_reset_session_only))) break;
      in_frame_ = true;
      return true;
    }
    ended_ = true;
    return false;
  }

  StreamInput input_;
  std::shared_ptr<Workspace> workspace_;
  std::uint64_t at_ = 0;
  bool in_frame_ = false, ended_ = false;
};

}  // namespace

bool is_zstd(const File& file) {
  std::uint8_t head[4];
  return file.read(0, head) == sizeof head && std::memcmp(head, "\x28\xb5\x2f\xfd", sizeof head) == 0;
}

std::unique_ptr<StreamDecoder> zstd_decoder(File file) { return std::make_unique<ZstdDecoder>(std::move(file)); }

}  // namespace kvm
