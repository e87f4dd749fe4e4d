// A FreeBSD kernel that never runs: its structures, as debug information and as they lie in memory when a machine has crashed.  Members
// have FreeBSD 15's names, types and order (sys/sys/proc.h, linker.h, msgbuf.h, kern_proc.c, subr_smp.c, kern_shutdown.c), those that
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
enum td_states { TDS_INACTIVE = 0x0, TDS_INHIBITED, TDS_CAN_RUN, TDS_RUNQ, TDS_RUNNING };
struct thread {
  void *volatile td_lock;
  struct proc *td_proc;
  TAILQ_ENTRY(thread) td_plist;
  TAILQ_ENTRY(thread) td_runq;
  lwpid_t td_tid;
  u_char td_lend_user_pri, td_allocdomain, td_base_ithread_pri;
  int td_flags, td_ast, td_inhibitors, td_pflags;
  const void *td_wchan;
  const char *td_wmesg;
  int td_lastcpu, td_oncpu;
  char td_name[20];
  struct pcb *td_pcb;
  volatile enum td_states td_state;
  void *td_kstack;
};
struct ucred { int cr_ref; u_int cr_uid, cr_ruid, cr_svuid; };
struct proc {
  LIST_ENTRY(proc) p_list;
  TAILQ_HEAD(, thread) p_threads;
  struct ucred *p_ucred;
  int p_flag, p_flag2;
  enum p_states { PRS_NEW = 0, PRS_NORMAL, PRS_ZOMBIE } p_state;
  pid_t p_pid;
  LIST_ENTRY(proc) p_hash;
  LIST_ENTRY(proc) p_pglist;
  struct proc *p_pptr;
  pid_t p_oppid;
  int p_numthreads;
  char p_comm[20];
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
struct ucred root = {1, 0, 0, 0}, user = {1, 1001, 1001, 1001};
#define FLAGS_IDLE 0x20
#define SINTR 0x8
#define SLEEPING 0x2
struct thread thread0 = {
  .td_proc = &proc0, .td_tid = 100000, .td_inhibitors = SLEEPING, .td_oncpu = NOCPU, .td_name = "swapper",
  .td_pcb = &pcb_swapper, .td_state = TDS_INHIBITED, .td_wmesg = "swapin", .td_kstack = kstacks[0],
};
struct thread thread1 = {
  .td_proc = &proc1, .td_tid = 100002, .td_flags = SINTR, .td_inhibitors = SLEEPING, .td_oncpu = NOCPU,
  .td_name = "init", .td_pcb = &pcb_init, .td_state = TDS_INHIBITED, .td_wmesg = "wait", .td_kstack = kstacks[1],
};
struct thread idle1 = {
  .td_proc = &proc11, .td_tid = 100004, .td_flags = FLAGS_IDLE, .td_oncpu = 1, .td_lastcpu = 1,
  .td_name = "idle: cpu1", .td_pcb = &pcb_idle[1], .td_state = TDS_RUNNING, .td_kstack = kstacks[2],
};
struct thread idle0 = {
  .td_proc = &proc11, .td_plist = {&idle1}, .td_tid = 100003, .td_flags = FLAGS_IDLE, .td_oncpu = NOCPU,
  .td_name = "idle: cpu0", .td_pcb = &pcb_idle[0], .td_state = TDS_CAN_RUN,
};
struct thread crasher = {
  .td_proc = &proc800, .td_tid = 100100, .td_oncpu = 0, .td_name = "crasher", .td_pcb = &pcb_crasher,
  .td_state = TDS_RUNNING, .td_kstack = kstacks[3],
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
  .p_list = {&proc11}, .p_threads = {&crasher}, .p_ucred = &user, .p_flag = 0x4002, .p_state = PRS_NORMAL,
  .p_pid = 800, .p_hash = {&proc0}, .p_pptr = &proc1, .p_oppid = 1, .p_comm = "crasher", .p_numthreads = 1,
};
struct proc proc900 = {
  .p_threads = {&zombie}, .p_ucred = &user, .p_flag = 0x2002000, .p_state = PRS_ZOMBIE, .p_pid = 900,
  .p_hash = {&proc800}, .p_pptr = &proc800, .p_oppid = 800, .p_comm = "gone", .p_numthreads = 1,
};
LIST_HEAD(proclist, proc) allproc = {&proc800};
struct pidhashhead { struct proc *lh_first; } buckets[2] = {{&proc900}, {&proc11}}, *pidhashtbl = buckets;
u_long pidhash = 1;

unsigned long long KPML4phys, KPML5phys;  // sys/amd64/amd64/pmap.c
u_long setidt_disp;                       // sys/i386/i386/machdep.c
u_long pagetable_l0_ttbr1[512] __attribute__((aligned(4096)));  // sys/arm64/arm64/locore.S

extern char kernel_base[];
struct linker_file crash_file = {.link = {NULL}, .filename = "crash.ko", .pathname = "/boot/modules/crash.ko", .id = 2};
struct linker_file kernel_file = {.link = {&crash_file}, .filename = "kernel", .pathname = "/boot/kernel/kernel", .id = 1, .address = kernel_base};
static TAILQ_HEAD(, linker_file) linker_files __attribute__((used)) = {&kernel_file};
linker_file_t linker_kernel_file = &kernel_file;
