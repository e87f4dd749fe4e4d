// A FreeBSD kernel that never runs: its structures, as debug information and as they lie in memory when a machine has crashed.  Members
// have FreeBSD 15's names, types and order (sys/sys/proc.h, ucred.h, linker.h, msgbuf.h, kern_proc.c, subr_smp.c, kern_shutdown.c), those that
// nothing here asks for are left out.  Stacks, saved registers and what lies at run-time addresses are filled in by freebsd_kernel.py.
typedef unsigned char u_char;
typedef unsigned int u_int;
typedef unsigned long u_long, size_t;
typedef int lwpid_t, pid_t;
#define NULL ((void *)0)
#define offsetof(type, member) __builtin_offsetof(type, member)
#define LIST_HEAD(name, type) struct name { struct type *lh_first; }
#define LIST_ENTRY(type) struct { struct type *le_next; struct type **le_prev; }
#define TAILQ_HEAD(name, type) struct name { struct type *tqh_first; struct type **tqh_last; }
#define TAILQ_ENTRY(type) struct { struct type *tqe_next; struct type **tqe_prev; }
#define NOCPU (-1)
#define MAXCPU 1024
#define PCB_BYTES 1024

// sys/MACHINE/include/pcb.h and frame.h, and room for what follows there.
#if defined(__amd64__)
#define SAVED u_long pcb_r15, pcb_r14, pcb_r13, pcb_r12, pcb_rbp, pcb_rsp, pcb_rbx, pcb_rip, pcb_fsbase, pcb_gsbase
#elif defined(__aarch64__)
#define SAVED u_long pcb_x[12], pcb_sp, pcb_tpidr_el0, pcb_tpidrro_el0
struct trapframe { u_long tf_sp, tf_lr, tf_elr, tf_spsr, tf_esr, tf_far, tf_x[30]; } trapframe;
#elif defined(__riscv)
#define SAVED u_long pcb_ra, pcb_sp, pcb_gp, pcb_tp, pcb_s[12]
struct trapframe { u_long tf_ra, tf_sp, tf_gp, tf_tp, tf_t[7], tf_s[12], tf_a[8], tf_sepc, tf_sstatus, tf_stval, tf_scause; } trapframe;
#elif defined(__i386__)
#define SAVED int pcb_edi, pcb_esi, pcb_ebp, pcb_esp, pcb_ebx, pcb_eip
#else
#define SAVED u_long pcb_context[20], pcb_cr, pcb_sp, pcb_toc, pcb_lr
#endif
struct pcb { union { struct { SAVED; }; char room[PCB_BYTES]; }; };
// sys/sys/_lock.h, _mutex.h, sys/{amd64,...}/include/pmap.h
struct mtx {
  struct { const char *lo_name; u_int lo_flags, lo_data; void *lo_witness; } lock_object;
  volatile u_long mtx_lock;
};
struct pmap_statistics { long resident_count, wired_count; };
#if defined(__riscv)
struct pmap { struct mtx pm_mtx; struct pmap_statistics pm_stats; u_long *pm_top, pm_satp; } kernel_pmap_store;
#else
struct pmap { struct mtx pm_mtx; struct pmap_statistics pm_stats; };
#endif
struct vmspace {
  struct { char header[96]; u_long size; } vm_map;
  long vm_swrss, vm_tsize, vm_dsize, vm_ssize;
  struct pmap vm_pmap;
};
typedef struct { u_int __bits[4]; } sigset_t;
typedef struct { sigset_t sq_signals, sq_kill, sq_ptrace; TAILQ_HEAD(, ksiginfo) sq_list; struct proc *sq_proc; int sq_flags; } sigqueue_t;
struct timeval { long tv_sec, tv_usec; };
struct rusage { struct timeval ru_utime, ru_stime; long ru_maxrss, ru_ixrss, ru_idrss, ru_isrss, ru_minflt, ru_majflt, ru_nswap, ru_io[4], ru_nsignals, ru_nvcsw, ru_nivcsw; };
struct rusage_ext { unsigned long long rux_runtime, rux_uticks, rux_sticks, rux_iticks, rux_uu, rux_su, rux_tu; };
struct pargs { u_int ar_ref, ar_length; u_char ar_args[16]; };
struct session { u_int s_count; struct proc *s_leader; void *s_ttyvp, *s_ttydp, *s_ttyp; pid_t s_sid; char s_login[40]; struct mtx s_mtx; };
struct pgrp { LIST_ENTRY(pgrp) pg_hash; LIST_HEAD(, proc) pg_members; struct session *pg_session; void *pg_sigiolst; pid_t pg_id; struct mtx pg_mtx; };
enum td_states { TDS_INACTIVE = 0x0, TDS_INHIBITED, TDS_CAN_RUN, TDS_RUNQ, TDS_RUNNING };
struct thread {
  struct mtx *volatile td_lock;
  struct proc *td_proc;
  TAILQ_ENTRY(thread) td_plist;
  TAILQ_ENTRY(thread) td_runq;
  union { TAILQ_ENTRY(thread) td_slpq; struct thread *td_zombie; };
  TAILQ_ENTRY(thread) td_lockq;
  LIST_ENTRY(thread) td_hash;
  void *td_cpuset, *td_domain[2], *td_sel, *td_sleepqueue, *td_turnstile, *td_pad1, *td_umtxq;
  lwpid_t td_tid;
  sigqueue_t td_sigqueue;
  u_char td_lend_user_pri, td_allocdomain, td_base_ithread_pri;
  void *td_kmsan;
  int td_flags, td_ast, td_inhibitors, td_pflags, td_pflags2, td_dupfd, td_sqqueue;
  const void *td_wchan;
  const char *td_wmesg;
  volatile u_char td_owepreempt, td_tsqueue, _td_pad0[2];
  int td_locks, td_rw_rlocks, td_sx_slocks, td_lk_slocks;
  void *td_wantedlock, *td_blocked;
  const char *td_lockname;
  void *td_contested, *td_sleeplocks;
  int td_intr_nesting_level, td_pinned;
  struct ucred *td_realucred, *td_ucred;
  char td_name[20];
  sigset_t td_sigmask;
  u_char td_rqindex, td_base_pri, td_priority, td_pri_class, td_user_pri, td_base_user_pri;
  struct pcb *td_pcb;
  enum td_states td_state;
  void *td_frame;
  char *td_kstack;
  unsigned short td_kstack_pages, td_kstack_domain;
  volatile u_int td_critnest;
  int td_lastcpu, td_oncpu;
};
struct ucred {
  struct mtx cr_mtx;
  long cr_ref;
  u_int cr_users, cr_flags, cr_uid, cr_ruid, cr_svuid, cr_gid, cr_rgid, cr_svgid;
  int cr_ngroups;
  struct prison *cr_prison;
  u_int *cr_groups;
};
struct prison { LIST_ENTRY(prison) pr_list; int pr_id; };
struct sysentvec { int sv_size; void *sv_table; const char *sv_name; };
struct sigacts { struct { void *handler; } ps_sigact[2]; sigset_t ps_catchmask[2], ps_sigonstack, ps_sigintr, ps_sigreset, ps_signodefer, ps_siginfo, ps_sigignore, ps_sigcatch; };
struct proc {
  LIST_ENTRY(proc) p_list;
  TAILQ_HEAD(, thread) p_threads;
  struct mtx p_slock;
  struct ucred *p_ucred;
  void *p_fd, *p_fdtol, *p_pd, *p_stats, *p_limit;
  struct sigacts *p_sigacts;
  int p_flag, p_flag2;
  enum p_states { PRS_NEW = 0, PRS_NORMAL, PRS_ZOMBIE } p_state;
  pid_t p_pid;
  LIST_ENTRY(proc) p_hash;
  LIST_ENTRY(proc) p_pglist;
  struct proc *p_pptr;
  LIST_ENTRY(proc) p_sibling;
  LIST_HEAD(, proc) p_children;
  struct proc *p_reaper;
  struct mtx p_mtx;
  sigqueue_t p_sigqueue;
  pid_t p_oppid;
  struct vmspace *p_vmspace;
  u_int p_swtick, p_cowgen;
  struct rusage p_ru;
  struct rusage_ext p_rux, p_crux;
  int p_profthreads;
  volatile int p_exitthreads;
  int p_traceflag;
  void *p_ktrioparms, *p_textvp, *p_textdvp;
  char *p_binname;
  u_int p_lock;
  u_int p_magic;
  int p_osrel;
  u_int p_fctl0;
  char p_comm[20];
  struct sysentvec *p_sysent;
  struct pargs *p_args;
  long long p_cpulimit;
  signed char p_nice;
  u_int p_xexit, p_xsig;
  struct pgrp *p_pgrp;
  void *p_klist;
  int p_numthreads;
  unsigned short p_acflag;
};
struct msgbuf { char *msg_ptr; u_int msg_magic, msg_size, msg_wseq, msg_rseq, msg_cksum, msg_seqmod, msg_lastpri, msg_flags; };
typedef struct linker_file *linker_file_t;
struct linker_file {
  void *ops;
  int refs, userrefs, flags;
  TAILQ_ENTRY(linker_file) link;
  char *filename, *pathname;
  int id;
  char *address;
  size_t size;
};
typedef struct { long __bits[MAXCPU / 8 / sizeof(long)]; } cpuset_t;

extern const int proc_off_p_pid, proc_off_p_comm, proc_off_p_list, proc_off_p_hash, proc_off_p_threads, thread_off_td_tid, thread_off_td_name,
    thread_off_td_oncpu, thread_off_td_pcb, thread_off_td_plist, pcb_size, kld_off_address, kld_off_filename, kld_off_pathname, kld_off_next;
const int proc_off_p_pid = offsetof(struct proc, p_pid), proc_off_p_comm = offsetof(struct proc, p_comm), proc_off_p_list = offsetof(struct proc, p_list),
          proc_off_p_hash = offsetof(struct proc, p_hash), proc_off_p_threads = offsetof(struct proc, p_threads);
const int thread_off_td_tid = offsetof(struct thread, td_tid), thread_off_td_name = offsetof(struct thread, td_name),
          thread_off_td_oncpu = offsetof(struct thread, td_oncpu), thread_off_td_pcb = offsetof(struct thread, td_pcb),
          thread_off_td_plist = offsetof(struct thread, td_plist), pcb_size = sizeof(struct pcb);
const int kld_off_address = offsetof(struct linker_file, address), kld_off_filename = offsetof(struct linker_file, filename),
          kld_off_pathname = offsetof(struct linker_file, pathname), kld_off_next = offsetof(struct linker_file, link);

// Vers.c, which newvers.sh makes.
char sccs[] = "@(#)FreeBSD 15.1-RELEASE releng/15.1-n283000-0123456789ab GENERIC\n";
char version[] = "FreeBSD 15.1-RELEASE releng/15.1-n283000-0123456789ab GENERIC\n";
char osrelease[] = "15.1-RELEASE", ostype[] = "FreeBSD";
int osreldate = 1501000;
const char *panicstr = "page fault";
lwpid_t dumptid = 100100;
struct pcb dumppcb, pcb_array[2], *stoppcbs = pcb_array, pcb_swapper, pcb_init, pcb_zombie, pcb_idle[2], pcb_crasher;
volatile cpuset_t stopped_cpus = {{2}};
cpuset_t all_cpus = {{3}};
int mp_ncpus = 2, mp_maxcpus = MAXCPU;
u_int mp_maxid = 1;
u_long kstacks[4][512];
char ring[4096] = "<118>login: \n<6>Copyright (c) 1992-2026 The FreeBSD Project.\npanic: page fault\n";
struct msgbuf msgbuf = {ring, 0x063062, sizeof ring, 79, 0, 0, sizeof ring * 16, -1, 0}, *msgbufp = &msgbuf;

extern struct proc proc0, proc1, proc11, proc800, proc900;
struct prison prison0 = {.pr_id = 0}, jail3 = {.pr_id = 3};
u_int groups[2] = {5, 69};  // since 15.0 without the process's own, cr_gid
struct ucred root = {.cr_ref = 1, .cr_groups = groups, .cr_prison = &prison0};
struct ucred user = {.cr_ref = 1, .cr_uid = 1001, .cr_ruid = 1001, .cr_svuid = 1001, .cr_gid = 1001, .cr_rgid = 1001, .cr_svgid = 1001, .cr_flags = 1,
                     .cr_ngroups = 2, .cr_groups = groups, .cr_prison = &jail3};
struct sysentvec elf_sysvec = {.sv_size = 600, .sv_name = "FreeBSD ELF64"};
struct session session1 = {.s_leader = NULL, .s_sid = 700, .s_login = "tester"};
struct pgrp group1 = {.pg_session = &session1, .pg_id = 790};
struct vmspace space = {.vm_map = {.size = 0x123000}, .vm_swrss = 7, .vm_tsize = 1, .vm_dsize = 2, .vm_ssize = 32, .vm_pmap = {.pm_stats = {99, 0}}};
struct sigacts acts = {.ps_sigignore = {{0x18000000}}, .ps_sigcatch = {{2}}};
struct pargs args = {1, 11, "crasher\0-x"};
int ticks = 5000, hz = 1000;
unsigned long long cpu_tick_frequency = 2000000000;
#define FLAGS_IDLE 0x20
#define SINTR 0x8
#define SLEEPING 0x2
struct thread thread0 = {
  .td_proc = &proc0, .td_tid = 100000, .td_inhibitors = SLEEPING, .td_oncpu = NOCPU, .td_name = "swapper",
  .td_pcb = &pcb_swapper, .td_state = TDS_INHIBITED, .td_wmesg = "swapin", .td_kstack = (char *)kstacks[0],
};
struct thread thread1 = {
  .td_proc = &proc1, .td_tid = 100002, .td_flags = SINTR, .td_inhibitors = SLEEPING, .td_oncpu = NOCPU,
  .td_name = "init", .td_pcb = &pcb_init, .td_state = TDS_INHIBITED, .td_wmesg = "wait", .td_kstack = (char *)kstacks[1],
};
struct thread idle1 = {
  .td_proc = &proc11, .td_tid = 100004, .td_flags = FLAGS_IDLE, .td_oncpu = 1, .td_lastcpu = 1,
  .td_name = "idle: cpu1", .td_pcb = &pcb_idle[1], .td_state = TDS_RUNNING, .td_kstack = (char *)kstacks[2],
};
struct thread idle0 = {
  .td_proc = &proc11, .td_plist = {&idle1}, .td_tid = 100003, .td_flags = FLAGS_IDLE, .td_oncpu = NOCPU,
  .td_name = "idle: cpu0", .td_pcb = &pcb_idle[0], .td_state = TDS_CAN_RUN,
};
struct thread crasher = {
  .td_proc = &proc800, .td_tid = 100100, .td_oncpu = 0, .td_name = "crasher", .td_pcb = &pcb_crasher, .td_sigmask = {{4}},
  .td_sigqueue = {.sq_signals = {{1}}}, .td_state = TDS_RUNNING, .td_kstack = (char *)kstacks[3], .td_priority = 120, .td_base_pri = 121, .td_user_pri = 122,
  .td_pri_class = 3,
};
struct thread zombie = {.td_proc = &proc900, .td_tid = 100101, .td_oncpu = NOCPU, .td_name = "gone", .td_pcb = &pcb_zombie, .td_state = TDS_INACTIVE};
struct proc proc0 = {.p_threads = {&thread0}, .p_ucred = &root, .p_flag = 0x10000204, .p_state = PRS_NORMAL, .p_comm = "kernel", .p_numthreads = 1};
struct proc proc1 = {
  .p_list = {&proc0}, .p_threads = {&thread1}, .p_ucred = &root, .p_flag = 0x10004200, .p_state = PRS_NORMAL,
  .p_pid = 1, .p_hash = {NULL}, .p_pptr = &proc0, .p_comm = "init", .p_numthreads = 1,
};
struct proc proc11 = {
  .p_list = {&proc1}, .p_threads = {&idle0}, .p_ucred = &root, .p_flag = 0x204, .p_state = PRS_NORMAL, .p_pid = 11,
  .p_hash = {&proc1}, .p_pptr = &proc0, .p_comm = "idle", .p_numthreads = 2,
};
struct proc proc800 = {
  .p_sigacts = &acts, .p_pgrp = &group1, .p_vmspace = &space, .p_sysent = &elf_sysvec, .p_args = &args, .p_rux = {.rux_runtime = 3000000000},
  .p_swtick = 1000, .p_acflag = 2, .p_lock = 1, .p_traceflag = 8, .p_nice = -5, .p_flag2 = 0x40, .p_sigqueue = {.sq_signals = {{2}}},
  .p_list = {&proc11}, .p_threads = {&crasher}, .p_ucred = &user, .p_flag = 0x4002, .p_state = PRS_NORMAL,
  .p_pid = 800, .p_hash = {&proc0}, .p_pptr = &proc1, .p_oppid = 1, .p_comm = "crasher", .p_numthreads = 1,
};
struct proc proc900 = {
  .p_threads = {&zombie}, .p_ucred = &user, .p_flag = 0x2002000, .p_state = PRS_ZOMBIE, .p_pid = 900, .p_xexit = 3,
  .p_hash = {&proc800}, .p_pptr = &proc800, .p_oppid = 800, .p_comm = "gone", .p_numthreads = 1,
};
LIST_HEAD(proclist, proc) allproc = {&proc800};
struct pidhashhead { struct proc *lh_first; } buckets[2] = {{&proc900}, {&proc11}}, *pidhashtbl = buckets;
u_long pidhash = 1;

unsigned long long KPML4phys, KPML5phys;  // sys/amd64/amd64/pmap.c
u_long setidt_disp;                       // sys/i386/i386/machdep.c
u_long IdlePDPT, IdlePTD_pae, IdlePTD_nopae;  // sys/i386/i386/pmap.c, which is compiled twice
u_long pagetable_l0_ttbr1[512] __attribute__((aligned(4096)));  // sys/arm64/arm64/locore.S

extern char kernel_base[];
struct linker_file crash_file = {.link = {NULL}, .filename = "crash.ko", .pathname = "/boot/modules/crash.ko", .id = 2};
struct linker_file kernel_file = {.link = {&crash_file}, .filename = "kernel", .pathname = "/boot/kernel/kernel", .id = 1, .address = kernel_base};
static TAILQ_HEAD(, linker_file) linker_files __attribute__((used)) = {&kernel_file};
linker_file_t linker_kernel_file = &kernel_file;
