// Tasks of a synthetic kernel: whole lists, damaged lists, names and state letters.
#include <catch2/catch.hpp>

#include <algorithm>
#include <tuple>

#include "engine/os/linux/model.h"
#include "tests/support/kernel_fixture.h"

using namespace kvm;
using kvm::testing::FakeKernel;
using kvm::testing::TaskSpec;

namespace {

// include/linux/sched.h
constexpr std::uint64_t pf_wq_worker = 0x20, pf_kthread = 0x200000;

struct Found {
  std::vector<Task> tasks;
  std::vector<std::string> remarks;

  const Task* by_tid(std::uint64_t tid) const {
    auto found = std::ranges::find(tasks, tid, &Task::tid);
    return found == tasks.end() ? nullptr : &*found;
  }
  std::vector<std::uint64_t> tids() const {
    std::vector<std::uint64_t> tids;
    for (const Task& task : tasks) tids.push_back(task.tid);
    std::ranges::sort(tids);
    return tids;
  }
};

Found find(const FakeKernel& kernel) {
  Found found;
  const KernelView view = kernel.view();
  const auto cpus = os_linux::find_cpus(view, cpu_states(kernel.notes, view.arch));
  auto tasks = os_linux::find_tasks(view, cpus, found.remarks);
  if (tasks) found.tasks = *tasks;
  else found.remarks.push_back("error: " + to_string(tasks.error()));
  return found;
}

using Tids = std::vector<std::uint64_t>;

VirtAddr tasks_node(const FakeKernel& kernel, VirtAddr task) { return task + kernel.offset("task_struct", "tasks"); }

}  // namespace

TEST_CASE("processes and their threads", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr init = kernel.add_process({1, "systemd"});
  const VirtAddr shell = kernel.add_process({300, "bash", 0});
  kernel.add_thread(shell, {301, "worker"});
  kernel.add_thread(shell, {302, "worker"});
  kernel.set("task_struct", shell, "real_parent", init.raw);
  const Found found = find(kernel);
  CHECK(found.tids() == Tids{1, 300, 301, 302});
  CHECK(found.remarks.empty());

  const Task* thread = found.by_tid(302);
  REQUIRE(thread);
  CHECK(thread->pid == 300);
  CHECK(thread->comm == "worker");
  CHECK(thread->state == 'S');
  CHECK(thread->uid == 1302);
  CHECK(!thread->kernel_thread);
  CHECK(!thread->on_cpu);
  const Task* process = found.by_tid(300);
  REQUIRE(process);
  CHECK(process->ppid == 1);
  CHECK(process->state == 'R');
  CHECK(process->handle.raw == shell.raw);
  CHECK(found.by_tid(1)->ppid == 0);
}

TEST_CASE("threads by thread_group, before the signal struct had them", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr process = kernel.add_process({10, "old"});
  kernel.add_thread(process, {11, "old"});
  kernel.add_thread(process, {12, "old"});
  kernel.types.remove("task_struct", "thread_node");
  kernel.types.remove("signal_struct", "thread_head");
  const Found found = find(kernel);
  CHECK(found.tids() == Tids{10, 11, 12});
  CHECK(found.remarks.empty());
}

TEST_CASE("the state's name before 5.14, and the CPU outside of thread_info", "[linux][tasks]") {
  FakeKernel kernel;
  kernel.types.remove("task_struct", "__state");
  kernel.types.remove("task_struct", "thread_info.cpu");
  kernel.types.define("task_struct", 0x200,
                      "state 0x18 s8; cpu 0x38 u4; stack 0x20 *; tasks 0x40 r16; pid 0x68 s4; tgid 0x6c s4; comm 0xc0 a16;"
                      "real_parent 0x70 *task_struct; thread_group 0x90 r16");
  const VirtAddr at = kernel.allocate(0x200);
  kernel.set("task_struct", at, "pid", 5);
  kernel.set("task_struct", at, "tgid", 5);
  kernel.set("task_struct", at, "state", 2);
  kernel.set("task_struct", at, "cpu", 3);
  kernel.list_init(at + 0x90);
  kernel.list_add_tail(kernel.init_task() + 0x40, at + 0x40);
  const Found found = find(kernel);
  REQUIRE(found.by_tid(5));
  CHECK(found.by_tid(5)->state == 'D');
  CHECK(found.by_tid(5)->cpu == 3u);
  CHECK(found.by_tid(5)->uid == 0);  // no cred: not known, not an error
}

// Letters of /proc/PID/stat: kernel fs/proc/array.c and __task_state_index() in include/linux/sched.h.
TEST_CASE("state letters", "[linux][tasks]") {
  struct Row {
    std::uint64_t state, exit_state;
    char letter;
    const char* what;
  };
  const Row rows[] = {
      {0x0, 0, 'R', "running"},
      {0x1, 0, 'S', "interruptible"},
      {0x2, 0, 'D', "uninterruptible"},
      {0x102, 0, 'D', "killable"},
      {0x4, 0, 'T', "stopped"},
      {0x104, 0, 'T', "stopped, wakes to die"},
      {0x8, 0, 't', "traced"},
      {0x40, 0, 'P', "parked"},
      {0x402, 0, 'I', "idle: uninterruptible without load"},
      {0x2402, 0, 'I', "idle and freezable"},
      {0x8000, 0, 'D', "frozen"},
      {0x8402, 0, 'D', "frozen wins over idle"},
      {0x1000, 0, 'D', "waits for an rtlock"},
      {0x2001, 0, 'S', "interruptible and freezable"},
      {0x80, 0x20, 'Z', "dead, not yet waited for"},
      {0x80, 0x10, 'X', "dead"},
      {0x80, 0x30, 'Z', "traced zombie"},
      {0x200, 0, 'R', "being woken"},
      {0x800, 0, 'R', "new"},
  };
  FakeKernel kernel;
  std::uint64_t pid = 100;
  for (const Row& row : rows) kernel.add_process({pid++, "state", row.state, row.exit_state});
  const Found found = find(kernel);
  pid = 100;
  for (const Row& row : rows) {
    INFO(row.what);
    const Task* task = found.by_tid(pid++);
    REQUIRE(task);
    CHECK(std::string(1, task->state) == std::string(1, row.letter));
  }
}

TEST_CASE("names of kernel threads and of workers", "[linux][tasks]") {
  FakeKernel kernel;
  const auto add_kthread = [&](std::uint64_t pid, const std::string& comm, std::uint64_t flags, VirtAddr kthread) {
    const VirtAddr task = kernel.add_process({pid, comm, 0x402, 0, flags});
    kernel.set("task_struct", task, "worker_private", kthread.raw);
  };
  const auto worker_of = [&](std::string_view description, bool busy, bool pool) {
    const VirtAddr kthread = kernel.allocate(0x40), worker = kernel.allocate(0x80);
    kernel.set("kthread", kthread, "data", worker.raw);
    kernel.set("worker", worker, "current_work", busy ? worker.raw : 0);
    kernel.set("worker", worker, "pool", pool ? worker.raw : 0);
    kernel.set_text("worker", worker, "desc", description);
    return kthread;
  };
  const VirtAddr named = kernel.allocate(0x40);
  kernel.set("kthread", named, "full_name", kernel.text("a-kernel-thread-with-a-long-name").raw);
  const VirtAddr unnamed = kernel.allocate(0x40);

  add_kthread(20, "a-kernel-thread", pf_kthread, named);
  add_kthread(21, "short", pf_kthread, unnamed);
  add_kthread(22, "kworker/0:1", pf_kthread | pf_wq_worker, worker_of("events", true, true));
  add_kthread(23, "kworker/0:2", pf_kthread | pf_wq_worker, worker_of("mm_percpu_wq", false, true));
  add_kthread(24, "kworker/0:3", pf_kthread | pf_wq_worker, worker_of("", true, true));
  add_kthread(25, "kworker/0:4", pf_kthread | pf_wq_worker, worker_of("dying", true, false));
  add_kthread(26, "broken", pf_kthread, {0x10});  // unreadable: the name remains
  add_kthread(27, "none", pf_kthread, {0});
  const VirtAddr excluded = kernel.allocate(0x40);
  kernel.set("kthread", excluded, "full_name", 0x10);
  add_kthread(29, "its-name-is-not", pf_kthread, excluded);
  const VirtAddr process = kernel.add_process({28, "user"});
  kernel.set("task_struct", process, "worker_private", named.raw);  // means nothing for a process

  const Found found = find(kernel);
  CHECK(found.by_tid(20)->comm == "a-kernel-thread-with-a-long-name");
  CHECK(found.by_tid(20)->kernel_thread);
  CHECK(found.by_tid(20)->state == 'I');
  CHECK(found.by_tid(21)->comm == "short");
  CHECK(found.by_tid(22)->comm == "kworker/0:1+events");
  CHECK(found.by_tid(23)->comm == "kworker/0:2-mm_percpu_wq");
  CHECK(found.by_tid(24)->comm == "kworker/0:3");
  CHECK(found.by_tid(25)->comm == "kworker/0:4");
  CHECK(found.by_tid(26)->comm == "broken");
  CHECK(found.by_tid(27)->comm == "none");
  CHECK(found.by_tid(28)->comm == "user");
  CHECK(found.by_tid(29)->comm == "its-name-is-not");
  CHECK(found.remarks == std::vector<std::string>{"the names of 2 kernel thread(s) are cut to what fits into comm: the rest cannot be read"});
  CHECK(!found.by_tid(28)->kernel_thread);
}

TEST_CASE("a rescuer is called after its work queue, since 6.9", "[linux][tasks]") {
  FakeKernel kernel;
  kernel.types.define("worker", 0x80, "current_work 0x0 *work_struct; pool 0x18 *worker_pool; desc 0x40 a24; rescue_wq 0x60 *workqueue_struct");
  kernel.types.define("workqueue_struct", 0x40, "name 0x10 a32");
  const VirtAddr kthread = kernel.allocate(0x40), worker = kernel.allocate(0x80), queue = kernel.allocate(0x40);
  kernel.set("kthread", kthread, "data", worker.raw);
  kernel.set("worker", worker, "rescue_wq", queue.raw);
  kernel.set_text("workqueue_struct", queue, "name", "netns-and-more");
  for (const char* comm : {"kworker/R-netns", "netns"}) {
    const VirtAddr task = kernel.add_process({comm[0] == 'k' ? 4u : 5u, comm, 0x402, 0, pf_kthread | pf_wq_worker});
    kernel.set("task_struct", task, "worker_private", kthread.raw);
  }
  const Found found = find(kernel);
  CHECK(found.by_tid(4)->comm == "kworker/R-netns-and-more");
  CHECK(found.by_tid(5)->comm == "netns");  // before 6.9
}

TEST_CASE("before 5.17 the kthread hangs on set_child_tid", "[linux][tasks]") {
  FakeKernel kernel;
  kernel.types.remove("task_struct", "worker_private");
  kernel.types.remove("kthread", "full_name");
  const VirtAddr task = kernel.add_process({22, "kworker/1:0", 0x402, 0, pf_kthread | pf_wq_worker});
  const VirtAddr kthread = kernel.allocate(0x40), worker = kernel.allocate(0x80);
  kernel.set("task_struct", task, "set_child_tid", kthread.raw);
  kernel.set("kthread", kthread, "data", worker.raw);
  kernel.set("worker", worker, "pool", worker.raw);
  kernel.set_text("worker", worker, "desc", "events_long");
  CHECK(find(kernel).by_tid(22)->comm == "kworker/1:0-events_long");
}

TEST_CASE("a comm without a NUL ends with its array", "[linux][tasks]") {
  FakeKernel kernel;
  kernel.add_process({1, "sixteen-letters-"});
  CHECK(find(kernel).by_tid(1)->comm == "sixteen-letters-");
}

TEST_CASE("a task list that loops yields what is on it from both ends, and a remark", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"}), b = kernel.add_process({2, "b"});
  kernel.add_process({3, "from the end"});
  kernel.put(tasks_node(kernel, b), tasks_node(kernel, a).raw);
  const Found found = find(kernel);
  CHECK(found.tids() == Tids{1, 2, 3});
  REQUIRE(found.remarks.size() == 1);
  CHECK(found.remarks[0].find("loops") != std::string::npos);
  CHECK(found.remarks[0].find("processes") != std::string::npos);
}

TEST_CASE("a task list that leads out of memory yields what came before", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"});
  const VirtAddr b = kernel.add_process({2, "unreachable"});
  kernel.put(tasks_node(kernel, a), 0xdead000000000100);  // LIST_POISON1
  kernel.put(tasks_node(kernel, kernel.init_task()) + 8, 0xdead000000000122);  // LIST_POISON2
  const Found found = find(kernel);
  CHECK(found.by_tid(1));
  CHECK(!found.by_tid(2));
  CHECK(!found.remarks.empty());
  kernel.adopt(a, b);
  CHECK(find(kernel).by_tid(2));
}

TEST_CASE("between two gaps in the task list, relatives lead on", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr first = kernel.add_process({1, "first"}), gap = kernel.add_process({2, "gap"});
  kernel.add_process({3, "beside the parent"});
  const VirtAddr parent = kernel.add_process({4, "parent"}), other_gap = kernel.add_process({5, "other gap"});
  const VirtAddr child = kernel.add_process({6, "child"});
  kernel.adopt(parent, child);
  kernel.put(tasks_node(kernel, first), 0);
  kernel.put(tasks_node(kernel, child) + 8, 0);
  for (const VirtAddr at : {gap, other_gap}) {
    kernel.put(tasks_node(kernel, at), 0);
    kernel.put(tasks_node(kernel, at) + 8, 0);
  }
  CHECK(find(kernel).tids() == Tids{1, 2, 3, 4, 5, 6});
}

TEST_CASE("when lists are cut, tasks are found in the slabs of others, but not those that were freed", "[linux][tasks]") {
  FakeKernel kernel;
  kernel.types.define("task_struct", 0x200,
                      "thread_info.cpu 0x14 u4; __state 0x18 u4; usage 0x28 r4; usage.refs.counter 0x28 u4; tasks 0x40 r16:list_head; pid 0x68 s4;"
                      "tgid 0x6c s4; real_parent 0x70 *task_struct; comm 0xc0 a16; children 0x108 r16:list_head; sibling 0x118 r16:list_head");
  kernel.types.define("kmem_cache", 0x40, "size 0x18 u4; oo.x 0x34 u4");
  const VirtAddr cache = kernel.allocate(0x40), slab{kernel.direct_map().raw + 0x300000};
  kernel.variable("task_struct_cachep", 8, cache.raw);
  kernel.set("kmem_cache", cache, "size", 0x300);
  kernel.set("kmem_cache", cache, "oo.x", 1 << 16 | 10);  // two pages, ten objects
  for (const auto& [place, tid, users] : {std::tuple{0, 6, 1}, {1, 7, 2}, {2, 8, 0}, {9, 9, 1}}) {
    const VirtAddr at = slab + 0x300 * place;
    kernel.set("task_struct", at, "pid", tid);
    kernel.set("task_struct", at, "tgid", tid);
    kernel.put(at + 0x28, users, 4);
  }
  kernel.list_add_tail(tasks_node(kernel, kernel.init_task()), tasks_node(kernel, slab));
  CHECK(find(kernel).tids() == Tids{6});
  kernel.put(tasks_node(kernel, slab), 0);
  CHECK(find(kernel).tids() == Tids{6, 7, 9});
}

TEST_CASE("a task on a page that the dump lacks costs that task only", "[linux][tasks]") {
  FakeKernel kernel;
  kernel.add_process({1, "a"});
  // Its list node can be read, the rest lies on the next page.
  const VirtAddr split{kernel.direct_map().raw + 0x201000 - 0x50};
  kernel.list_add_tail(tasks_node(kernel, kernel.init_task()), tasks_node(kernel, split));
  kernel.add_process({3, "c"});
  kernel.memory.exclude({0x201000});
  const Found found = find(kernel);
  CHECK(found.tids() == Tids{1, 3});
  REQUIRE(!found.remarks.empty());
  CHECK(found.remarks[0].find("not in the dump") != std::string::npos);
}

TEST_CASE("a broken thread list does not stop the walk over processes", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"});
  kernel.add_thread(a, {11, "thread"});
  kernel.put(a + kernel.offset("task_struct", "thread_node"), 0x123);
  kernel.add_process({2, "b"});
  const Found found = find(kernel);
  CHECK(found.by_tid(1));
  CHECK(found.by_tid(2));
  CHECK(std::ranges::any_of(found.remarks, [](const std::string& r) { return r.find("threads") != r.npos; }));
}

TEST_CASE("what runs is found although the list is gone", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr running = kernel.allocate(*kernel.types.size_of("task_struct"));
  kernel.set("task_struct", running, "pid", 77);
  kernel.set("task_struct", running, "tgid", 77);
  kernel.add_cpu(running, kernel.init_task());
  kernel.put(tasks_node(kernel, kernel.init_task()), 0);
  const Found found = find(kernel);
  CHECK(found.tids() == Tids{0, 77});
  CHECK(found.by_tid(77)->on_cpu);
  CHECK(found.by_tid(0)->idle);
  CHECK(!found.by_tid(0)->on_cpu);
  CHECK(!found.remarks.empty());
}

TEST_CASE("no task at all is an error that says why", "[linux][tasks]") {
  FakeKernel kernel;
  CHECK(find(kernel).remarks == std::vector<std::string>{"error: no task could be read: the lists are empty"});
  kernel.symbols.remove("init_task");
  CHECK(find(kernel).remarks[0].find("init_task") != std::string::npos);
}

TEST_CASE("the task that panicked", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr a = kernel.add_process({1, "a"}), b = kernel.add_process({2, "b"});
  kernel.add_cpu(a, kernel.init_task());
  kernel.add_cpu(b, kernel.add_process({0, "swapper/1"}));
  SECTION("is the one that ran on panic_cpu") {
    kernel.put(kernel.symbols.find("panic_cpu")->address, 1, 4);
    const Found found = find(kernel);
    CHECK(!found.by_tid(1)->crashed);
    CHECK(found.by_tid(2)->crashed);
    CHECK(found.by_tid(2)->on_cpu);
    CHECK(found.by_tid(2)->cpu == 1u);
  }
  SECTION("is nobody while panic_cpu is -1") {
    for (const Task& task : find(kernel).tasks) CHECK(!task.crashed);
  }
  SECTION("is found by crashing_cpu before 4.5") {
    kernel.symbols.remove("panic_cpu");
    kernel.variable("crashing_cpu", 4, 0);
    CHECK(find(kernel).by_tid(1)->crashed);
  }
}

TEST_CASE("thousands of processes that share one endless thread list take bounded time", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr signal = kernel.allocate(0x40);
  // A long chain of nodes that never comes back to a head.
  constexpr std::uint64_t nodes = 2000;
  const VirtAddr chain = kernel.allocate(nodes * 64);
  for (std::uint64_t i = 0; i < nodes; ++i) kernel.put(chain + i * 64, (chain + (i + 1) % nodes * 64).raw);
  kernel.put(signal + kernel.offset("signal_struct", "thread_head"), chain.raw);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const VirtAddr task = kernel.add_process({i + 1, "many"});
    kernel.set("task_struct", task, "signal", signal.raw);
  }
  const Found found = find(kernel);
  CHECK(found.tasks.size() >= 1000);
}

TEST_CASE("registers of a task that is switched out", "[linux][tasks]") {
  FakeKernel kernel;
  const VirtAddr task = kernel.add_process({5, "asleep"});
  const VirtAddr frame = kernel.allocate(0x38);
  kernel.set("task_struct", task, "thread.sp", frame.raw);
  // arch/x86/include/asm/switch_to.h: r15 r14 r13 r12 bx bp ret_addr.
  for (std::uint64_t i = 0; i < 7; ++i) kernel.put(frame + 8 * i, 0x1000 + i);
  const KernelView view = kernel.view();
  auto registers = os_linux::saved_registers(view, task);
  REQUIRE(registers);
  CHECK(registers->get("r15") == 0x1000u);
  CHECK(registers->get("r12") == 0x1003u);
  CHECK(registers->get("rbx") == 0x1004u);
  CHECK(registers->get("rbp") == 0x1005u);
  CHECK(registers->get("rip") == 0x1006u);
  CHECK(registers->get("rsp") == (frame + 0x38).raw);
  CHECK(!registers->get("rax"));

  kernel.set("task_struct", task, "thread.sp", 0x10);
  CHECK(!os_linux::saved_registers(view, task));
  kernel.types.remove("inactive_task_frame");
  CHECK(!os_linux::saved_registers(view, task));
}

namespace {

// A machine of another kind: what it has is seen at its physical address.
struct OtherKernel {
  explicit OtherKernel(std::string_view name) : arch(*arch::find(name)) { memory.ram(0, 0x10000); }
  void put(std::uint64_t at, std::uint64_t value) { memory.put_number({at}, value, 8, arch.endian); }

  const arch::Arch& arch;
  kvm::testing::FakeMemory memory;
  kvm::testing::FakeTypes types;
  kvm::testing::FakeSymbols symbols;
  AddressSpace space{memory, {{{0}, {~std::uint64_t{0}}, Linear{{0}}, "everything"}}};
  KernelView view{arch, space, symbols, types};
};

}  // namespace

TEST_CASE("a switched-out task of s390: r6 to r15 in an array of its caller's frame", "[linux][tasks]") {
  OtherKernel kernel("s390x");
  kernel.types.define("task_struct", 0x200, "stack 0x10 *; thread.ksp 0x100 *");
  kernel.types.define("stack_frame", 160, "gprs 72 a80; back_chain 152 u8");  // arch/s390/include/asm/stacktrace.h
  kernel.put(0x1010, 0x4000);
  kernel.put(0x1100, 0x5000);
  for (std::uint64_t i = 0; i < 10; ++i) kernel.put(0x5000 + 72 + 8 * i, 0x600 + i);
  auto registers = os_linux::saved_registers(kernel.view, {0x1000});
  REQUIRE(registers);
  CHECK(registers->get("r6") == 0x600u);
  CHECK(registers->get("r13") == 0x607u);
  CHECK(registers->get("r14") == 0x608u);
  CHECK(registers->get("pswa") == 0x608u);
  CHECK(registers->get("r15") == 0x609u);
  CHECK(!registers->get("r5"));
}

TEST_CASE("a switched-out task of Power: pt_regs below its caller's frame", "[linux][tasks]") {
  OtherKernel kernel("ppc64le");
  kernel.types.define("task_struct", 0x200, "stack 0x10 *; thread.ksp 0x100 *");
  kernel.types.define("pt_regs", 0x180, "gpr 0 a256; nip 256 u8; ccr 304 u8");  // arch/powerpc/include/asm/ptrace.h
  kernel.put(0x1010, 0x4000);
  kernel.put(0x1100, 0x5000);
  kernel.put(0x5000, 0x5200);  // the back chain
  for (std::uint64_t i = 0; i < 32; ++i) kernel.put(0x5080 + 8 * i, 0x700 + i);
  kernel.put(0x5080 + 256, 0xc000000000123456);
  auto registers = os_linux::saved_registers(kernel.view, {0x1000});
  REQUIRE(registers);
  CHECK(registers->get("r1") == 0x5200u);
  CHECK(registers->get("r14") == 0x70eu);
  CHECK(registers->get("r31") == 0x71fu);
  CHECK(registers->get("pc") == 0xc000000000123456u);
  CHECK(!registers->get("r13"));
  kernel.put(0x1100, 0x8'0000);  // nowhere
  CHECK(!os_linux::saved_registers(kernel.view, {0x1000}));
}
