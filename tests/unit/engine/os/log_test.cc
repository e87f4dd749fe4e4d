// The printk ring buffer, filled as kernel/printk/printk_ringbuffer.c fills it.
#include <catch2/catch.hpp>

#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;

namespace {

enum State : std::uint64_t { reserved = 0, committed = 1, finalized = 2, reusable = 3 };  // enum desc_state

// A ring of 8 descriptors and 256 bytes of text.
class Ring {
 public:
  explicit Ring(FakeKernel& kernel) : kernel_(kernel) {
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
  void record(std::uint64_t id, std::string_view text, State state = finalized, unsigned level = 6) {
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
  void describe(std::uint64_t id, State state, std::uint64_t begin, std::uint64_t next, std::uint64_t length, unsigned level = 6) {
    const VirtAddr desc = descs_ + (id & 7) * 24, info = infos_ + (id & 7) * 88;
    kernel_.set("prb_desc", desc, "state_var.counter", (id & (~std::uint64_t{0} >> 2)) | state << 62);
    kernel_.set("prb_desc", desc, "text_blk_lpos.begin", begin);
    kernel_.set("prb_desc", desc, "text_blk_lpos.next", next);
    kernel_.set("printk_info", info, "ts_nsec", 1000 + id % 1000);
    kernel_.set("printk_info", info, "text_len", length);
    kernel_.put(info + 19, level << 5 | 0x1f, 1);
  }
  void move_to(std::uint64_t position) { position_ = position; }

  std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    auto lines = os_linux::read_log(kernel_.view());
    if (!lines) return {"error"};
    for (const LogLine& line : *lines) texts.push_back(line.text);
    return texts;
  }

 private:
  FakeKernel& kernel_;
  VirtAddr ring_, descs_, infos_, data_;
  std::uint64_t position_ = 0;
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("records in order, with time and level", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 2);
  ring.record(0, "Linux version 6.1.0");
  ring.record(1, "Command line: quiet", committed, 5);
  ring.record(2, "Kernel panic - not syncing: test", finalized, 0);
  auto lines = os_linux::read_log(kernel.view());
  REQUIRE(lines);
  REQUIRE(lines->size() == 3);
  CHECK((*lines)[0].text == "Linux version 6.1.0");
  CHECK((*lines)[0].nanoseconds == 1000);
  CHECK((*lines)[0].level == 6);
  CHECK((*lines)[1].level == 5);
  CHECK((*lines)[2].level == 0);
  CHECK((*lines)[2].nanoseconds == 1002);
}

TEST_CASE("a record that does not fit at the ring's end lies at its beginning", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 1);
  ring.move_to(256 - 24);
  ring.record(0, "sixteen letters!");  // would end exactly at the end: still moved
  ring.record(1, "after the wrap");
  CHECK(ring.texts() == Texts{"sixteen letters!", "after the wrap"});

  ring.window(2, 3);
  ring.move_to(2 * 256 - 8);
  ring.record(2, "only the id would fit");
  ring.record(3, "next");
  CHECK(ring.texts() == Texts{"only the id would fit", "next"});
}

TEST_CASE("a record that ends exactly at the ring's end without moving", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 0);
  ring.record(0, std::string(256 - 8, 'x'));  // wraps in the writer above ...
  ring.describe(0, finalized, 0, 256, 256 - 8);  // ... but as kernels since 6.19 may describe it
  CHECK(ring.texts() == Texts{std::string(256 - 8, 'x')});
}

TEST_CASE("ids wrap around the descriptor ring and around 62 bits", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(13, 17);
  for (std::uint64_t id = 13; id <= 17; ++id) ring.record(id, "id " + std::to_string(id));
  CHECK(ring.texts() == Texts{"id 13", "id 14", "id 15", "id 16", "id 17"});

  // head_id and tail_id hold 62-bit ids.
  constexpr std::uint64_t last = ~std::uint64_t{0} >> 2;
  ring.move_to(0);
  ring.window(last - 1, 0);
  ring.record(last - 1, "before");
  ring.record(last, "at the end");
  ring.record(0, "beyond");
  CHECK(ring.texts() == Texts{"before", "at the end", "beyond"});
}

TEST_CASE("records without text keep their place", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 2);
  ring.record(0, "one");
  ring.describe(1, finalized, 3, 3, 0);  // NO_LPOS: an empty line
  ring.describe(2, finalized, 1, 1, 40);  // FAILED_LPOS: the text found no room
  CHECK(ring.texts() == Texts{"one", "", ""});
}

TEST_CASE("reserved, reusable and foreign descriptors are not records", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 4);
  ring.record(0, "one");
  ring.record(1, "being written", reserved);
  ring.record(2, "thrown away", reusable);
  ring.record(3 + 8, "of another lap");
  ring.record(4, "five");
  CHECK(ring.texts() == Texts{"one", "five"});
}

TEST_CASE("positions that make no sense yield no text", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 3);
  ring.describe(0, finalized, 64, 32, 20);             // ends before it begins
  ring.describe(1, finalized, 64, 68, 20);             // shorter than an id
  ring.describe(2, finalized, 0, 64, 0xffff);          // says more than it has
  ring.describe(3, finalized, 0, ~0ull << 1, 0xffff);  // laps ahead
  const auto texts = ring.texts();
  REQUIRE(texts.size() == 4);
  CHECK(texts[0].empty());
  CHECK(texts[1].empty());
  CHECK(texts[2].size() <= 56);
  CHECK(texts[3].size() <= 248);
}

TEST_CASE("a ring whose sizes make no sense is an error", "[linux][log]") {
  FakeKernel kernel;
  Ring ring(kernel);
  ring.window(0, 0);
  ring.set("desc_ring.count_bits", 64);
  CHECK(ring.texts() == Texts{"error"});
  ring.set("desc_ring.count_bits", 3);
  ring.set("desc_ring.tail_id.counter", 1);  // tail ahead of head: nearly as many records as there are ids
  CHECK(ring.texts().size() <= 8);
}

TEST_CASE("without the ring there is no log", "[linux][log]") {
  FakeKernel kernel;
  CHECK(os_linux::read_log(kernel.view()).error().code == Errc::not_found);
  kernel.variable("prb", 8, 0x10);
  CHECK(!os_linux::read_log(kernel.view()));
}
