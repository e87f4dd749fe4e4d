// FreeBSD's processes, threads and their registers.
#include <catch2/catch.hpp>

#include <algorithm>

#include "engine/os/freebsd/model.h"
#include "tests/support/freebsd_fixture.h"

using namespace kvm;
using kvm::testing::FakeFreebsd;

namespace {

struct Found {
  std::vector<Task> tasks;
  std::vector<std::string> remarks;

  const Task* find(std::uint64_t tid) const {
    const auto task = std::ranges::find(tasks, tid, &Task::tid);
    return task == tasks.end() ? nullptr : &*task;
  }
};

Found find(const FakeFreebsd& kernel) {
  const KernelView view = kernel.view();
  const os_freebsd::Machine machine(view, {});
  Found found;
  if (auto tasks = os_freebsd::find_tasks(view, machine, found.remarks)) found.tasks = std::move(*tasks);
  return found;
}

char state(std::uint64_t td_state, std::uint64_t inhibitors, std::uint64_t flags = 8, std::uint64_t p_flag = 0) {
  FakeFreebsd kernel;
  const VirtAddr process = kernel.add_process(7, "seven");
  kernel.set("proc", process, "p_flag", p_flag);
  kernel.add_thread(process, {.state = td_state, .inhibitors = inhibitors, .flags = flags});
  return find(kernel).tasks.at(0).state;
}

Result<RegisterFile> registers(const FakeFreebsd& kernel, std::uint64_t tid) {
  const KernelView view = kernel.view();
  const os_freebsd::Machine machine(view, {});
  const Found found = find(kernel);
  const Task* task = found.find(tid);
  return task ? machine.registers(*task) : fail(Errc::not_found);
}

}  // namespace

TEST_CASE("processes with all their threads, of which each has a name", "[freebsd][tasks]") {
  FakeFreebsd kernel;
  const VirtAddr idle = kernel.add_process(11, "idle");
  kernel.set("proc", idle, "p_flag", 0x4);
  kernel.add_thread(idle, {.tid = 100003, .name = "idle: cpu0", .oncpu = 0, .state = 4, .inhibitors = 0, .flags = 0x20});
  kernel.add_thread(idle, {.tid = 100004, .name = "idle: cpu1", .lastcpu = 1, .state = 2, .inhibitors = 0, .flags = 0x20});
  const VirtAddr shell = kernel.add_process(806, "sh");
  kernel.add_thread(shell, {.tid = 100659, .name = "sh", .lastcpu = 3});
  kernel.set("proc", shell, "p_pptr", idle.raw);
  const VirtAddr cred = kernel.allocate(0x40);
  kernel.put(cred + 4, 1001, 4);
  kernel.set("proc", shell, "p_ucred", cred.raw);

  kernel.variable("stoppcbs", 2 * 0x140);
  kernel.variable("pcb_size", 4, 0x140);

  const Found found = find(kernel);
  CHECK(found.remarks.empty());
  REQUIRE(found.tasks.size() == 3);
  const Task& task = *found.find(100659);
  CHECK(task.pid == 806);
  CHECK(task.ppid == 11);
  CHECK(task.uid == 1001);
  CHECK(task.comm == "sh");
  CHECK(task.shown_name() == "sh");
  CHECK(task.state == 'S');
  CHECK(task.cpu == 3);
  CHECK_FALSE(task.on_cpu);
  CHECK_FALSE(task.kernel_thread);
  CHECK(task.process == shell);
  const Task& running = *found.find(100003);
  CHECK(running.shown_name() == "idle/idle: cpu0");
  CHECK(running.on_cpu);
  CHECK(running.idle);
  CHECK(running.kernel_thread);
  CHECK(running.ppid == 0);
  CHECK(running.state == 'R');
  CHECK(found.find(100004)->cpu == 1);
}

TEST_CASE("states as ps(1) has them", "[freebsd][tasks]") {
  CHECK(state(4, 0) == 'R');               // TDS_RUNNING
  CHECK(state(3, 0) == 'R');               // TDS_RUNQ
  CHECK(state(1, 0x2, 0x8) == 'S');        // TDI_SLEEPING, TDF_SINTR
  CHECK(state(1, 0x2, 0) == 'D');
  CHECK(state(1, 0x8) == 'L');             // TDI_LOCK
  CHECK(state(1, 0x10) == 'W');            // TDI_IWAIT
  CHECK(state(1, 0x1, 8, 0x20000) == 'T');  // P_STOPPED_SIG
  CHECK(state(4, 0, 8, 0x20000) == 'R');
}

TEST_CASE("zombies are in the table of process ids only", "[freebsd][tasks]") {
  FakeFreebsd kernel;
  kernel.add_thread(kernel.add_process(1, "init"), {.tid = 100002});
  kernel.add_thread(kernel.add_process(900, "defunct", false, 2), {.tid = 100700, .state = 0, .inhibitors = 0});
  kernel.add_process(901, "new", false, 0);  // PRS_NEW: not complete yet
  Found found = find(kernel);
  CHECK(found.tasks.size() == 2);
  CHECK(found.find(100700)->state == 'Z');
  kernel.types.remove("proc");
  kernel.types.remove("thread");
  found = find(kernel);
  REQUIRE(found.find(100700));
  CHECK(found.find(100700)->state == 'Z');
  CHECK(found.find(100002)->state == '?');
  CHECK_FALSE(found.find(100002)->ppid);
}

TEST_CASE("a list of zombies, of kernels before 13", "[freebsd][tasks]") {
  FakeFreebsd kernel;
  const VirtAddr dead = kernel.add_process(5, "dead", true, 2);
  kernel.add_thread(dead, {.tid = 100050, .state = 0, .inhibitors = 0});
  kernel.pointer("zombproc", dead);
  kernel.put_pointer(kernel.symbols.find("allproc")->address, {});
  kernel.symbols.remove("pidhashtbl");
  CHECK(find(kernel).find(100050)->state == 'Z');
}

TEST_CASE("a tracer is a parent for the time being", "[freebsd][tasks]") {
  FakeFreebsd kernel;
  const VirtAddr debugger = kernel.add_process(50, "gdb"), traced = kernel.add_process(60, "prog");
  kernel.add_thread(traced, {.tid = 100060});
  kernel.set("proc", traced, "p_pptr", debugger.raw);
  kernel.set("proc", traced, "p_oppid", 1);
  CHECK(find(kernel).find(100060)->ppid == 50);
  kernel.set("proc", traced, "p_flag", 0x800);
  CHECK(find(kernel).find(100060)->ppid == 1);
}

TEST_CASE("without exported offsets debug information gives them", "[freebsd][tasks]") {
  FakeFreebsd kernel;
  kernel.add_thread(kernel.add_process(7, "seven"), {.tid = 100007});
  for (const char* name : {"proc_off_p_pid", "proc_off_p_list", "thread_off_td_tid", "thread_off_td_plist"}) kernel.symbols.remove(name);
  CHECK(find(kernel).find(100007));
  kernel.types.remove("thread");
  CHECK(find(kernel).tasks.empty());
}

TEST_CASE("damaged lists yield what can be had, and a remark", "[freebsd][tasks]") {
  FakeFreebsd kernel;
  const VirtAddr last = kernel.add_process(1, "one");
  kernel.add_thread(last, {.tid = 100001});
  const VirtAddr middle = kernel.add_process(2, "two"), first = kernel.add_process(3, "three");
  kernel.add_thread(middle, {.tid = 100002});
  const VirtAddr thread = kernel.add_thread(first, {.tid = 100003});

  SECTION("a list of processes that loops: the others are in the table") {
    kernel.put_pointer(middle, first);
    const Found found = find(kernel);
    CHECK(found.tasks.size() == 3);
    REQUIRE(found.remarks.size() == 1);
    CHECK(found.remarks[0].find("loops") != std::string::npos);
  }
  SECTION("a pointer to nowhere") {
    kernel.put_pointer(first, {0xdead000000});
    kernel.symbols.remove("pidhashtbl");
    const Found found = find(kernel);
    CHECK(found.tasks.size() == 1);
    REQUIRE_FALSE(found.remarks.empty());
  }
  SECTION("threads that loop") {
    kernel.put_pointer(thread + 8, thread);
    const Found found = find(kernel);
    CHECK(found.tasks.size() == 3);
    CHECK(found.remarks.size() == 1);
  }
  SECTION("a page that the dump lacks") {
    kernel.memory.exclude(kernel.phys(first));
    CHECK_FALSE(find(kernel).remarks.empty());
  }
  SECTION("a table of ids of absurd size") {
    kernel.put(kernel.symbols.find("pidhash")->address, 1ull << 40, 8);
    const Found found = find(kernel);
    CHECK(found.tasks.size() == 3);
    CHECK(found.remarks.size() == 1);
  }
}

TEST_CASE("registers: of the thread that dumped, of stopped CPUs, of sleeping threads", "[freebsd][registers]") {
  FakeFreebsd kernel;
  const VirtAddr process = kernel.add_process(7, "seven");
  const auto fill = [&](VirtAddr pcb, std::uint64_t rip) {
    kernel.put(pcb + 0x28, rip + 1, 8);  // pcb_rsp
    kernel.put(pcb + 0x38, rip, 8);      // pcb_rip
  };
  kernel.variable("pcb_size", 4, 0x140);
  kernel.variable("dumptid", 4, 100001);
  fill(kernel.variable("dumppcb", 0x140), 0x1111);
  const VirtAddr sleeping = kernel.allocate(0x140), running = kernel.allocate(0x140);
  fill(sleeping, 0x2222);
  fill(running, 0x4444);
  kernel.add_thread(process, {.tid = 100001, .oncpu = 2, .state = 4});
  kernel.set("thread", kernel.add_thread(process, {.tid = 100002}), "td_pcb", sleeping.raw);
  kernel.set("thread", kernel.add_thread(process, {.tid = 100003, .oncpu = 1, .state = 4}), "td_pcb", running.raw);
  kernel.add_thread(process, {.tid = 100004, .state = 0});  // no stack any more
  const auto rip = [&](std::uint64_t tid) {
    const auto found = registers(kernel, tid);
    return found ? found->get("rip").value_or(0) : 0;
  };

  SECTION("stoppcbs is an array") {
    fill(kernel.variable("stoppcbs", 4 * 0x140) + 0x140, 0x3333);
    CHECK(rip(100003) == 0x3333);
    CHECK(rip(100001) == 0x1111);
    CHECK(registers(kernel, 100001)->get("rsp") == 0x1112);
    CHECK_FALSE(registers(kernel, 100001)->get("rax"));
    CHECK(rip(100002) == 0x2222);
    CHECK_FALSE(registers(kernel, 100004));
  }
  SECTION("stoppcbs is a pointer") {
    const VirtAddr array = kernel.allocate(4 * 0x140);
    fill(array + 0x140, 0x5555);
    kernel.pointer("stoppcbs", array);
    CHECK(rip(100003) == 0x5555);
  }
  SECTION("a CPU that was not stopped left nothing: what its thread saved is older, and that is said") {
    fill(kernel.variable("stoppcbs", 4 * 0x140) + 0x140, 0x3333);
    kernel.variable("stopped_cpus", 128);
    CHECK(rip(100003) == 0x4444);
    CHECK(find(kernel).remarks == std::vector<std::string>{"CPU 1 left no registers: those of what ran there are older, of its last switch"});
    kernel.put(kernel.symbols.find("stopped_cpus")->address, 2, 8);
    CHECK(rip(100003) == 0x3333);
    CHECK(find(kernel).remarks.empty());
  }
  SECTION("without stoppcbs") { CHECK(rip(100003) == 0x4444); }
  SECTION("a dump that was made from outside") {
    kernel.put(kernel.symbols.find("dumptid")->address, 0, 4);
    const KernelView view = kernel.view();
    RegisterFile note(view.arch);
    note.set("rip", 0x6666);
    const os_freebsd::Machine machine(view, {{note, 1}, {note, 2}});
    const Found found = find(kernel);
    CHECK(std::ranges::none_of(found.tasks, &Task::crashed));
    CHECK(machine.registers(*found.find(100003))->get("rip") == 0x6666);
  }
}

TEST_CASE("a system that goes on dumped itself: no CPU was stopped, and only one wrote the dump", "[freebsd][registers]") {
  FakeFreebsd kernel;
  kernel.variable("pcb_size", 4, 0x140);
  kernel.variable("dumptid", 4, 100001);
  kernel.put(kernel.variable("dumppcb", 0x140) + 0x38, 0x1111, 8);  // pcb_rip
  kernel.variable("stoppcbs", 4 * 0x140);
  kernel.variable("stopped_cpus", 128);
  kernel.put(kernel.variable("all_cpus", 128), 0b111, 8);
  kernel.variable("mp_maxid", 4, 2);
  kernel.add_thread(kernel.add_process(7, "savecore"), {.tid = 100001, .oncpu = 2, .state = 4});
  const KernelView view = kernel.view();
  const std::vector<Cpu> cpus = os_freebsd::Machine(view, {}).cpus();
  REQUIRE(cpus.size() == 3);
  CHECK_FALSE(cpus[0].registers);
  CHECK_FALSE(cpus[1].registers);
  REQUIRE(cpus[2].registers);
  CHECK(cpus[2].registers->get("rip") == 0x1111);
}

TEST_CASE("arm64's three layouts of struct pcb", "[freebsd][registers]") {
  FakeFreebsd kernel("aarch64");
  const VirtAddr process = kernel.add_process(7, "seven"), pcb = kernel.allocate(0x600);
  kernel.set("thread", kernel.add_thread(process, {.tid = 100002}), "td_pcb", pcb.raw);
  for (std::uint64_t word = 0; word < 40; ++word) kernel.put(pcb + 8 * word, 0x1000 + word, 8);
  const auto old = [&] {
    const auto found = registers(kernel, 100002);
    CHECK(found->get("x19") == 0x1013);
    CHECK(found->get("pc") == 0x101e);
    CHECK(found->get("sp") == 0x1020);
  };
  const auto recent = [&] {
    const auto found = registers(kernel, 100002);
    CHECK(found->get("x19") == 0x1000);
    CHECK(found->get("x29") == 0x100a);
    CHECK(found->get("pc") == 0x100b);
    CHECK(found->get("sp") == 0x100c);
    CHECK_FALSE(found->get("x0"));
  };
  SECTION("by debug information") {
    kernel.variable("osreldate", 4, 1400000);
    kernel.types.define("pcb", 0x4d0, "pcb_sp 0x60 u8");
    recent();
    kernel.types.define("pcb", 0x560, "pcb_sp 0x100 u8");
    old();
    kernel.types.define("pcb", 0x560, "pcb_sp 0x108 u8");  // of a kernel that is not known yet
    CHECK(registers(kernel, 100002).error().code == Errc::unsupported);
  }
  SECTION("by the system's version") {
    kernel.variable("osreldate", 4, 1400084);
    recent();
    kernel.put(kernel.symbols.find("osreldate")->address, 1302001, 4);
    old();
  }
  SECTION("by size") {
    kernel.variable("pcb_size", 4, 1376);
    old();
    kernel.put(kernel.symbols.find("pcb_size")->address, 1240, 4);
    recent();
  }
}

// releng/12.1's and 13.0's sys/riscv/include/pcb.h.
TEST_CASE("riscv64's two layouts of struct pcb", "[freebsd][registers]") {
  FakeFreebsd kernel("riscv64");
  const VirtAddr process = kernel.add_process(7, "seven"), pcb = kernel.allocate(0x400);
  kernel.set("thread", kernel.add_thread(process, {.tid = 100002}), "td_pcb", pcb.raw);
  for (std::uint64_t word = 0; word < 40; ++word) kernel.put(pcb + 8 * word, 0x1000 + word, 8);
  const auto first_saved = [&] { return registers(kernel, 100002)->get("fp"); };
  SECTION("by types, whatever the version") {
    kernel.variable("osreldate", 4, 1300139);
    kernel.types.define("pcb", 792, "pcb_s 0x58 r96");
    CHECK(first_saved() == 0x100b);
    kernel.types.define("pcb", 664, "pcb_s 0x20 r96");
    kernel.put(kernel.symbols.find("osreldate")->address, 1201000, 4);
    CHECK(first_saved() == 0x1004);
  }
  SECTION("by the system's version") {
    kernel.variable("osreldate", 4, 1201000);
    CHECK(first_saved() == 0x100b);
    kernel.put(kernel.symbols.find("osreldate")->address, 1300139, 4);
    CHECK(first_saved() == 0x1004);
  }
  SECTION("by size") {
    kernel.variable("pcb_size", 4, 792);
    CHECK(first_saved() == 0x100b);
    kernel.put(kernel.symbols.find("pcb_size")->address, 664, 4);
    CHECK(first_saved() == 0x1004);
  }
}

TEST_CASE("i386's pointers and registers have 32 bits", "[freebsd][registers]") {
  FakeFreebsd kernel("i386");
  const VirtAddr process = kernel.add_process(7, "seven"), pcb = kernel.allocate(0x100);
  const VirtAddr thread = kernel.add_thread(process, {.tid = 100002, .name = "worker"});
  kernel.put_pointer(thread + kernel.offset("thread", "td_pcb"), pcb);
  for (std::uint64_t word = 0; word < 8; ++word) kernel.put(pcb + 4 * word, 0x1000 + word, 4);
  CHECK(find(kernel).find(100002)->shown_name() == "seven/worker");
  const auto found = registers(kernel, 100002);
  CHECK(found->get("esp") == 0x1003);
  CHECK(found->get("eip") == 0x1005);
}
