// The printk ring buffer of a synthetic kernel, filled as kernel/printk/printk_ringbuffer.c fills it.
#pragma once

#include "tests/support/kernel_fixture.h"

namespace kvm::testing {

enum class Desc : std::uint64_t { reserved, committed, finalized, reusable };  // enum desc_state

// A ring of 8 descriptors and 256 bytes of text.
class PrintkRing {
 public:
  explicit PrintkRing(FakeKernel& kernel) : kernel_(kernel) {
    kernel.types.define("printk_ringbuffer", 0x60,
                        "desc_ring.count_bits 0 u4; desc_ring.descs 8 *prb_desc; desc_ring.infos 0x10 *printk_info;"
                        "desc_ring.head_id.counter 0x18 s8; desc_ring.tail_id.counter 0x20 s8;"
                        "text_data_ring.size_bits 0x30 u4; text_data_ring.data 0x38 *");
    kernel.types.define("prb_desc", 24, "state_var.counter 0 s8; text_blk_lpos.begin 8 u8; text_blk_lpos.next 16 u8");
    kernel.types.define("printk_info", 88, "seq 0 u8; ts_nsec 8 u8; text_len 16 u2; facility 18 u1; flags 19 b1:0:5; level 19 b1:5:3");
    ring_ = kernel.allocate(0x60);
    descs_ = kernel.allocate(8 * 24);
    infos_ = kernel.allocate(8 * 88);
    data_ = kernel.allocate(256);
    kernel.variable("prb", 8, ring_.raw);
    set("desc_ring.count_bits", 3);
    set("desc_ring.descs", descs_.raw);
    set("desc_ring.infos", infos_.raw);
    set("text_data_ring.size_bits", 8);
    set("text_data_ring.data", data_.raw);
  }

  void set(std::string_view path, std::uint64_t value) { kernel_.set("printk_ringbuffer", ring_, path, value); }
  // Descriptors with ids from `tail` to `head` are in use.
  void window(std::uint64_t tail, std::uint64_t head) {
    set("desc_ring.tail_id.counter", tail);
    set("desc_ring.head_id.counter", head);
  }

  // A record as printk writes it; blocks are padded to 8 bytes and begin with the id.
  void record(std::uint64_t id, std::string_view text, Desc state = Desc::finalized, unsigned level = 6) {
    const std::uint64_t size = 8 + ((text.size() + 7) & ~std::uint64_t{7});
    std::uint64_t begin = position_, next = begin + size, at = begin & 255;
    if (begin >> 8 != next >> 8) {  // "Wrapping data blocks store their data at the beginning."
      next = (next & ~std::uint64_t{255}) + size;
      at = 0;
    }
    position_ = next;
    kernel_.put(data_ + at, id);
    kernel_.memory.put(kernel_.phys(data_ + at + 8), text);
    describe(id, state, begin, next, text.size(), level);
  }
  void describe(std::uint64_t id, Desc state, std::uint64_t begin, std::uint64_t next, std::uint64_t length, unsigned level = 6) {
    const VirtAddr desc = descs_ + (id & 7) * 24, info = infos_ + (id & 7) * 88;
    kernel_.set("prb_desc", desc, "state_var.counter", (id & (~std::uint64_t{0} >> 2)) | static_cast<std::uint64_t>(state) << 62);
    kernel_.set("prb_desc", desc, "text_blk_lpos.begin", begin);
    kernel_.set("prb_desc", desc, "text_blk_lpos.next", next);
    kernel_.set("printk_info", info, "ts_nsec", 1000 + id % 1000);
    kernel_.set("printk_info", info, "text_len", length);
    kernel_.put(info + 19, level << 5 | 0x1f, 1);
  }
  void move_to(std::uint64_t position) { position_ = position; }

 private:
  FakeKernel& kernel_;
  VirtAddr ring_, descs_, infos_, data_;
  std::uint64_t position_ = 0;
};

}  // namespace kvm::testing
