#include "engine/dump/support/seekable_stream.h"

#include <algorithm>
#include <cstring>

namespace kvm {

SeekableStream::SeekableStream(std::unique_ptr<StreamDecoder> decoder, Limits limits) : limits_(limits), decoder_(std::move(decoder)) { keep_state(); }

std::uint64_t SeekableStream::size() const {
  const std::lock_guard hold(lock_);
  return end_.value_or(std::uint64_t{1} << 62);
}

void SeekableStream::find_end(std::uint64_t largest) const {
  for (std::uint64_t number = 0; number * block_bytes < largest && block(number); ++number) {
  }
}

std::size_t SeekableStream::read(std::uint64_t offset, MutableBytes out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = offset + done, skip = at % block_bytes;
    const Block from = block(at / block_bytes);
    if (!from || from->size() <= skip) break;
    const std::size_t size = std::min<std::uint64_t>(out.size() - done, from->size() - skip);
    std::memcpy(out.data() + done, from->data() + skip, size);
    done += size;
  }
  return done;
}

// Null behind the end.
SeekableStream::Block SeekableStream::block(std::uint64_t number) const {
  const std::lock_guard hold(lock_);
  if (Block found = cached(number)) return found;
  if (end_ && number > (*end_ - 1) / block_bytes) return nullptr;
  go_to(number);
  while (true) {
    const bool wanted = next_ == number;
    Block decoded = decode_next();
    if (wanted || !decoded) return decoded;
  }
}

SeekableStream::Block SeekableStream::cached(std::uint64_t number) const {
  const auto found = by_number_.find(number);
  if (found == by_number_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return found->second->second;
}

// The decoder may be on the way already.
void SeekableStream::go_to(std::uint64_t number) const {
  auto state = states_.upper_bound(number);
  if (state == states_.begin()) return;  // there is no state: it is the beginning still
  --state;
  if (next_ <= number && next_ >= state->first) return;
  decoder_->restore(*state->second);
  next_ = state->first;
}

SeekableStream::Block SeekableStream::decode_next() const {
  auto bytes = std::make_shared<std::vector<std::uint8_t>>(block_bytes);
  bytes->resize(decoder_->decode(*bytes));
  if (bytes->size() < block_bytes) end_ = next_ * block_bytes + bytes->size();
  if (bytes->empty()) return nullptr;
  if (!by_number_.contains(next_)) {
    recent_.emplace_front(next_, bytes);
    by_number_[next_] = recent_.begin();
    if (recent_.size() > std::max<std::size_t>(limits_.blocks / block_bytes, 1)) {
      by_number_.erase(recent_.back().first);
      recent_.pop_back();
    }
  }
  ++next_;
  if (bytes->size() == block_bytes && !states_.empty() && next_ >= states_.rbegin()->first + spacing_) keep_state();
  return bytes;
}

// When states take too much memory, every other one goes, and those to come are twice as far apart.
void SeekableStream::keep_state() const {
  auto state = decoder_->save();
  if (!state) return;
  states_bytes_ += state->bytes();
  states_.emplace(next_, std::move(state));
  while (states_bytes_ > limits_.states && states_.size() > 2) {
    bool drop = false;  // the first stays
    for (auto each = states_.begin(); each != states_.end(); drop = !drop) {
      if (drop) states_bytes_ -= each->second->bytes();
      each = drop ? states_.erase(each) : std::next(each);
    }
    spacing_ *= 2;
  }
}

}  // namespace kvm
