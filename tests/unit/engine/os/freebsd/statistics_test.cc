// What ps and its like ask of a FreeBSD kernel.
#include <catch2/catch.hpp>

#include "engine/os/freebsd/statistics.h"
#include "tests/support/freebsd_fixture.h"

using namespace kvm;
using kvm::testing::FakeFreebsd;
using os_freebsd::FreebsdStatistics;

TEST_CASE("details of a process", "[freebsd][statistics]") {
  FakeFreebsd kernel;
  kernel.types.define("proc", 0x300,
                      "p_list 0x0 r16; p_threads 0x10 r16; p_ucred 0x20 *ucred; p_flag 0x28 u4; p_state 0x2c u4; p_pid 0x30 s4; p_hash 0x38 r16;"
                      "p_comm 0x60 a20; p_pgrp 0x80 *pgrp; p_rux.rux_runtime 0x88 u8; p_rux.rux_uu 0x90 u8; p_rux.rux_su 0x98 u8; p_nice 0xa0 s1;"
                      "p_numthreads 0xa4 s4; p_stats 0xa8 *pstats; p_vmspace 0xb0 *vmspace; p_xexit 0xb8 u4; p_xsig 0xbc u4");
  kernel.types.define("ucred", 0x40, "cr_uid 0x4 u4; cr_ruid 0x8 u4; cr_ngroups 0xc u4; cr_groups 0x10 *; cr_gid 0x18 u4");
  kernel.types.define("pgrp", 0x20, "pg_id 0x8 s4; pg_session 0x10 *session");
  kernel.types.define("session", 0x60, "s_sid 0x8 s4; s_leader 0x10 *proc; s_login 0x20 a40");
  kernel.types.define("pstats", 0x20, "p_start.tv_sec 0x8 u8; p_start.tv_usec 0x10 u8");
  kernel.types.define("vmspace", 0x40, "vm_map.size 0x8 u8; vm_pmap.pm_stats.resident_count 0x10 u8");
  kernel.types.define("thread", 0x200,
                      "td_plist 0x8 r16; td_tid 0x18 s4; td_flags 0x1c u4; td_inhibitors 0x20 u4; td_lastcpu 0x24 s4; td_oncpu 0x28 s4;"
                      "td_name 0x2c a20; td_pcb 0x48 *pcb; td_state 0x50 u4; td_wmesg 0x58 *; td_priority 0x60 u1");
  const VirtAddr process = kernel.add_process(806, "sh"), thread = kernel.add_thread(process, {.tid = 100659, .lastcpu = 3});
  const VirtAddr cred = kernel.allocate(0x40), groups = kernel.allocate(8), group = kernel.allocate(0x20), session = kernel.allocate(0x60),
                 stats = kernel.allocate(0x20), space = kernel.allocate(0x40);
  kernel.set("proc", process, "p_ucred", cred.raw);
  kernel.set("ucred", cred, "cr_uid", 1001);
  kernel.set("ucred", cred, "cr_gid", 20);
  kernel.set("ucred", cred, "cr_ngroups", 2);
  kernel.set("ucred", cred, "cr_groups", groups.raw);
  kernel.put(groups, 5, 4);
  kernel.put(groups + 4, 6, 4);
  kernel.set("proc", process, "p_pgrp", group.raw);
  kernel.set("pgrp", group, "pg_id", 800);
  kernel.set("pgrp", group, "pg_session", session.raw);
  kernel.set("session", session, "s_sid", 799);
  kernel.set("session", session, "s_leader", process.raw);
  kernel.put_text(session + 0x20, "root");
  kernel.set("proc", process, "p_rux.rux_runtime", 3'500'000'000);
  kernel.variable("cpu_tick_frequency", 8, 1'000'000'000);
  kernel.set("proc", process, "p_rux.rux_uu", 1234);
  kernel.set("proc", process, "p_nice", 0xfb);  // -5
  kernel.set("proc", process, "p_xexit", 3);
  kernel.set("proc", process, "p_stats", stats.raw);
  kernel.put(stats + 8, 100, 8);
  kernel.put(stats + 16, 250, 8);
  kernel.put(kernel.variable("boottimebin", 16), 1'700'000'000, 8);
  kernel.set("proc", process, "p_vmspace", space.raw);
  kernel.put(space + 8, 0x1000000, 8);
  kernel.set("thread", thread, "td_wmesg", kernel.text("select").raw);
  kernel.set("thread", thread, "td_priority", 120);

  Task task;
  task.process = process;
  task.handle = thread;
  task.comm = "sh";
  const KernelView view = kernel.view();
  const auto details = FreebsdStatistics(view).details(task);
  REQUIRE(details);
  CHECK(details->uid == 1001);
  CHECK(details->groups == std::vector<std::uint32_t>{20, 5, 6});
  CHECK(details->group == 800);
  CHECK(details->session == 799);
  CHECK(details->session_leader);
  CHECK(details->login == "root");
  CHECK(details->run_time == 3'500'000);
  CHECK(details->user_time == 1234);
  CHECK(details->nice == -5);
  CHECK(details->exit_status == 0x300);
  CHECK(details->started == 1'700'000'100'000'250);
  CHECK(details->virtual_bytes == 0x1000000);
  CHECK(details->wait_message == "select");
  CHECK(details->priority == 120);
  CHECK(details->last_cpu == 3);
}

// sys/sys/proc.h, signalvar.h, ucred.h of 15.0.
TEST_CASE("what only FreeBSD's ps asks of a process", "[freebsd][statistics]") {
  FakeFreebsd kernel;
  kernel.types.define("proc", 0x200,
                      "p_list 0x0 r16; p_threads 0x10 r16; p_ucred 0x20 *ucred; p_flag 0x28 u4; p_state 0x2c u4; p_pid 0x30 s4; p_hash 0x38 r16;"
                      "p_pptr 0x48 *proc; p_comm 0x60 a20; p_flag2 0x80 u4; p_swtick 0x84 u4; p_acflag 0x88 u2; p_lock 0x8c u4; p_traceflag 0x90 s4;"
                      "p_fibnum 0x94 s4; p_args 0x98 *pargs; p_pd 0xa0 *; p_sigqueue.sq_signals 0xa8 r16; p_sigacts 0xb8 *sigacts; p_pgrp 0xc0 *pgrp;"
                      "p_vmspace 0xc8 *vmspace");
  kernel.types.define("thread", 0x200,
                      "td_plist 0x8 r16; td_tid 0x18 s4; td_flags 0x1c u4; td_inhibitors 0x20 u4; td_lastcpu 0x24 s4; td_oncpu 0x28 s4;"
                      "td_name 0x2c a20; td_pcb 0x48 *pcb; td_state 0x50 u4; td_priority 0x54 u1; td_pri_class 0x55 u1; td_user_pri 0x56 u1;"
                      "td_sigmask 0x60 r16; td_sigqueue.sq_signals 0x70 r16");
  kernel.types.define("sigacts", 0x40, "ps_sigignore 0x10 r16; ps_sigcatch 0x20 r16");
  kernel.types.define("ucred", 0x40, "cr_uid 0x4 u4; cr_flags 0x8 u4");
  kernel.types.define("pgrp", 0x20, "pg_id 0x8 s4; pg_session 0x10 *session");
  kernel.types.define("session", 0x60, "s_sid 0x8 s4; s_leader 0x10 *proc; s_ttyvp 0x18 *; s_login 0x20 a40");
  kernel.types.define("vmspace", 0x40, "vm_map.size 0x8 u8; vm_swrss 0x18 s8");
  const VirtAddr parent = kernel.add_process(77, "gdb"), process = kernel.add_process(806, "sh");
  const VirtAddr thread = kernel.add_thread(process, {.tid = 100659, .flags = 0x2008});
  const VirtAddr acts = kernel.allocate(0x40), cred = kernel.allocate(0x40), group = kernel.allocate(0x20), session = kernel.allocate(0x60),
                 space = kernel.allocate(0x40);
  const auto set = [&](const char* member, std::uint64_t value) { kernel.set("proc", process, member, value); };
  set("p_flag", 0x800);  // P_TRACED
  set("p_pptr", parent.raw);
  set("p_flag2", 0x40);
  set("p_swtick", 0xffff'ff00);  // before ticks wrapped
  set("p_acflag", 2);
  set("p_lock", 1);
  set("p_traceflag", 8);
  set("p_fibnum", 3);
  set("p_args", 0xfffff80000123000);
  set("p_pd", 0xfffff80000124000);
  set("p_sigacts", acts.raw);
  set("p_ucred", cred.raw);
  set("p_pgrp", group.raw);
  set("p_vmspace", space.raw);
  kernel.set("ucred", cred, "cr_flags", 1);
  kernel.set("pgrp", group, "pg_session", session.raw);
  kernel.set("session", session, "s_ttyvp", 0xfffff80000125000);
  kernel.set("vmspace", space, "vm_swrss", 7);
  kernel.put(process + 0xa8, 0x1, 4);
  kernel.put(thread + 0x70 + 12, 0x2, 4);
  kernel.put(thread + 0x60, 0x4, 4);
  kernel.put(acts + 0x10 + 4, 0x8, 4);
  kernel.put(acts + 0x20, 0x10, 4);
  kernel.set("thread", thread, "td_priority", 120);
  kernel.set("thread", thread, "td_pri_class", 3);
  kernel.set("thread", thread, "td_user_pri", 130);
  kernel.variable("ticks", 4, 0x100);
  kernel.variable("hz", 4, 100);

  Task task;
  task.process = process;
  task.handle = thread;
  const KernelView view = kernel.view();
  const auto details = FreebsdStatistics(view).details(task);
  REQUIRE(details);
  CHECK(details->pending == Signals{1, 0, 0, 2});  // the process's and the thread's
  CHECK(details->blocked == Signals{4, 0, 0, 0});
  CHECK(details->ignored == Signals{0, 8, 0, 0});
  CHECK(details->caught == Signals{16, 0, 0, 0});
  CHECK(details->tracer == 77);
  CHECK(details->more_flags == 0x40);
  CHECK(details->thread_flags == 0x2008);
  CHECK(details->accounting_flags == 2);
  CHECK(details->holds == 1);
  CHECK(details->trace_flags == 8);
  CHECK(details->routing_table == 3);
  CHECK(details->kept_arguments == VirtAddr{0xfffff80000123000});
  CHECK(details->directories == VirtAddr{0xfffff80000124000});
  CHECK(details->since_swap == 5);
  CHECK(details->capability_mode);
  CHECK(details->session_terminal);
  CHECK(details->swap_pages == 7);
  CHECK(details->priority == 120);
  CHECK(details->user_priority == 130);
  CHECK(details->priority_class == 3);
}

TEST_CASE("load, CPUs and their data", "[freebsd][statistics]") {
  FakeFreebsd kernel;
  kernel.types.define("pcpu", 0x1000, "pc_cp_time 0x10 r40");
  const VirtAddr load = kernel.variable("averunnable", 24);
  kernel.put(load, 1024, 4);
  kernel.put(load + 4, 2048, 4);
  kernel.put(load + 16, 2048, 8);
  kernel.variable("mp_maxcpus", 4, 4);
  kernel.variable("mp_ncpus", 4, 2);
  const VirtAddr areas = kernel.allocate(0x2000), table = kernel.variable("cpuid_to_pcpu", 4 * 8);
  for (std::uint64_t cpu = 0; cpu < 2; ++cpu) {
    kernel.put_pointer(table + 8 * cpu, areas + 0x1000 * cpu);
    for (std::uint64_t kind = 0; kind < 5; ++kind) kernel.put(areas + 0x1000 * cpu + 0x10 + 8 * kind, 10 * (cpu + 1) + kind, 8);
  }
  const VirtAddr set = kernel.variable("__start_set_pcpu", 64);
  kernel.symbols.add("__stop_set_pcpu", set + 64);
  kernel.put(kernel.variable("dpcpu_off", 4 * 8) + 8, 0x5000, 8);
  const KernelView view = kernel.view();
  const FreebsdStatistics statistics(view);

  CHECK(statistics.load_average()->at(0) == 0.5);
  CHECK(statistics.load_average()->at(1) == 1.0);
  CHECK(statistics.cpu_limit() == 4u);
  CHECK(statistics.cpu_count() == 2u);
  CHECK(statistics.cpu_times()->user == 30);
  CHECK(statistics.cpu_times()->idle == 38);
  CHECK(statistics.cpu_area(1)->value().first == areas + 0x1000);
  CHECK(statistics.cpu_area(1)->value().size == 0x1000);
  CHECK_FALSE(statistics.cpu_area(3)->has_value());
  CHECK_FALSE(statistics.cpu_area(9)->has_value());
  CHECK(statistics.cpu_variable(set + 8, 1) == set + 0x5008);
  CHECK_FALSE(statistics.cpu_variable(set + 64, 1));
  CHECK(statistics.cpu_object(areas, 1) == areas + 0x1000);
  kernel.pointer("__pcpu", areas);
  CHECK(statistics.cpu_object({0x20}, 1) == areas + 0x1020);
}

TEST_CASE("arguments are those that the kernel keeps", "[freebsd][statistics]") {
  FakeFreebsd kernel;
  kernel.types.define("proc", 0x200, "p_args 0x180 *pargs");
  kernel.types.define("pargs", 0x10, "ar_ref 0 u4; ar_length 4 u4; ar_args 8 a1");
  Task task;
  task.process = kernel.allocate(0x200);
  const VirtAddr kept = kernel.allocate(64);
  kernel.put(kept + 4, 9, 4);
  kernel.put_text(kept + 8, std::string_view("ls\0-l\0/x", 8));
  const KernelView view = kernel.view();
  const FreebsdStatistics statistics(view);
  CHECK(statistics.arguments(task).error().code == Errc::not_in_dump);
  task.kernel_thread = true;
  CHECK(statistics.arguments(task)->empty());
  kernel.put_pointer(task.process + 0x180, kept);
  CHECK(*statistics.arguments(task) == std::vector<std::string>{"ls", "-l", "/x"});
  kernel.put(kept + 4, 0xffffffff, 4);
  CHECK(statistics.arguments(task)->size() <= 1 << 20);
}

TEST_CASE("swap devices, and a list of them that loops", "[freebsd][statistics]") {
  FakeFreebsd kernel;
  kernel.types.define("swdevt", 0x40, "sw_flags 0x0 s4; sw_nblks 0x8 s4; sw_used 0xc s4; sw_vp 0x10 *vnode; sw_list 0x20 r16");
  kernel.types.define("vnode", 0x20, "v_rdev 0x8 *cdev");
  kernel.types.define("cdev", 0x60, "si_name 0x10 a64");
  const VirtAddr device = kernel.allocate(0x40), vnode = kernel.allocate(0x20), node = kernel.allocate(0x60);
  kernel.put(device + 8, 1000, 4);
  kernel.put(device + 12, 10, 4);
  kernel.set("swdevt", device, "sw_vp", vnode.raw);
  kernel.set("vnode", vnode, "v_rdev", node.raw);
  kernel.put_text(node + 0x10, "da0p3");
  kernel.pointer("swtailq", device);
  const KernelView view = kernel.view();
  const FreebsdStatistics statistics(view);
  const auto devices = statistics.swap_devices();
  REQUIRE(devices);
  REQUIRE(devices->size() == 1);
  CHECK(devices->at(0).name == "da0p3");
  CHECK(devices->at(0).total == 1000);
  CHECK(devices->at(0).used == 10);
  kernel.put_pointer(device + 0x20, device);
  CHECK(statistics.swap_devices()->size() == 64);
}
