// A compressed stream as a file that can be read anywhere.  Decoding starts at the nearest place whose state was kept; states
// are kept on the way, as far apart as their memory allows, so that nothing is decoded before it is wanted.
#pragma once

#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/dump/support/stream_decoder.h"

namespace kvm {

class SeekableStream final : public FileSource {
 public:
  static constexpr std::size_t block_bytes = 256 << 10;
  struct Limits {
    std::size_t states = 128 << 20, blocks = 64 << 20;  // bytes of memory; of states there are two at least
  };

  explicit SeekableStream(std::unique_ptr<StreamDecoder> decoder) : SeekableStream(std::move(decoder), Limits()) {}
  SeekableStream(std::unique_ptr<StreamDecoder> decoder, Limits limits);

  std::size_t read(std::uint64_t offset, MutableBytes out) const override;
  // A number too large until the end has been seen.
  std::uint64_t size() const override;
  // Decodes from the front as long as the plain text is not larger: if it ends, the size is known.
  void find_end(std::uint64_t largest) const;

 private:
  using Block = std::shared_ptr<const std::vector<std::uint8_t>>;
  Block block(std::uint64_t number) const;
  Block cached(std::uint64_t number) const;
  void go_to(std::uint64_t number) const;
  Block decode_next() const;
  void keep_state() const;

  Limits limits_;
  mutable std::mutex lock_;  // guards all that follows
  std::unique_ptr<StreamDecoder> decoder_;
  mutable std::uint64_t next_ = 0;                       // the block that the decoder yields next
  mutable std::optional<std::uint64_t> end_;             // size of the plain text
  mutable std::map<std::uint64_t, std::unique_ptr<StreamDecoder::State>> states_;  // by the block that follows
  mutable std::size_t states_bytes_ = 0;
  mutable std::uint64_t spacing_ = 4;                    // blocks from one state to the next
  mutable std::list<std::pair<std::uint64_t, Block>> recent_;  // newest first
  mutable std::map<std::uint64_t, std::list<std::pair<std::uint64_t, Block>>::iterator> by_number_;
};

}  // namespace kvm
