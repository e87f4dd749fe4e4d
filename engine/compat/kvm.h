/* Kernel virtual memory: the interface of FreeBSD's libkvm, on crash dumps of any supported system and processor.
 * C99; the manual pages are kvm(3) and those it names.  Written by Inquest; a FreeBSD host has a <kvm.h> of its own. */
#ifndef _KVM_H_
#define _KVM_H_

#include <sys/types.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __FreeBSD__
#include <nlist.h>
#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/user.h>
#else

typedef uint64_t kvaddr_t; /* a kernel virtual address of any machine */
typedef uint64_t kpaddr_t;
typedef int64_t kssize_t;

/* As in FreeBSD's <nlist.h>; that of other systems' libelf differs and cannot be included beside this one. */
#ifndef N_UNDF
#define N_UNDF 0x0
#define N_EXT 0x1
#define N_ABS 0x2
#define N_TEXT 0x4
#define N_DATA 0x6
#define N_BSS 0x8
#endif
struct nlist {
  const char *n_name;
  unsigned char n_type;
  char n_other;
  short n_desc;
  unsigned long n_value;
};

/* kvm_getprocs()' second argument. */
#ifndef KERN_PROC_ALL
#define KERN_PROC_ALL 0 /* every thread of every process */
#define KERN_PROC_PID 1
#define KERN_PROC_PGRP 2
#define KERN_PROC_SESSION 3
#define KERN_PROC_TTY 4
#define KERN_PROC_UID 5
#define KERN_PROC_RUID 6
#define KERN_PROC_PROC 8 /* every process */
#define KERN_PROC_RGID 10
#define KERN_PROC_GID 11
#define KERN_PROC_INC_THREAD 0x10 /* added to the others: an entry for each thread */
#endif

/* ki_stat */
#ifndef SIDL
#define SIDL 1
#define SRUN 2
#define SSLEEP 3
#define SSTOP 4
#define SZOMB 5
#define SWAIT 6
#define SLOCK 7
#endif

/* Bits of ki_flag and ki_kiflag that are set for every system's processes. */
#ifndef P_CONTROLT
#define P_CONTROLT 0x00000002
#define P_KPROC 0x00000004
#define P_SYSTEM 0x00000200
#endif
#define KI_CTTY 0x00000001
#define KI_SLEADER 0x00000002
#define KI_LOCKBLOCK 0x00000004
#define KI_CRF_CAPABILITY_MODE 0x00000001
#define KI_CRF_GRP_OVERFLOW 0x80000000

#define WMESGLEN 8
#define LOCKNAMELEN 8
#define TDNAMLEN 16
#define COMMLEN 19
#define KI_EMULNAMELEN 16
#define KI_NGROUPS 16
#define LOGNAMELEN 17
#define LOGINCLASSLEN 17
#define KI_NSPARE_INT 2
#define KI_NSPARE_LONG 12
#define KI_NSPARE_PTR 5
#define ki_childstime ki_rusage_ch.ru_stime
#define ki_childutime ki_rusage_ch.ru_utime

/* kvm_getcptime()'s array */
#ifndef CPUSTATES
#define CP_USER 0
#define CP_NICE 1
#define CP_SYS 2
#define CP_INTR 3
#define CP_IDLE 4
#define CPUSTATES 5
#endif

struct kvm_sigset {
  uint32_t __bits[4];
};
struct kvm_priority {
  unsigned char pri_class, pri_level, pri_native, pri_user;
};

/* Members and, on 64-bit hosts, layout of FreeBSD's for amd64 (1,088 bytes).  Pointers are the dump's addresses, not the program's. */
struct kinfo_proc {
  int ki_structsize, ki_layout;
  struct pargs *ki_args;
  struct proc *ki_paddr;
  struct user *ki_addr;
  struct vnode *ki_tracep, *ki_textvp;
  struct filedesc *ki_fd;
  struct vmspace *ki_vmspace;
  const void *ki_wchan;
  pid_t ki_pid, ki_ppid, ki_pgid, ki_tpgid, ki_sid, ki_tsid;
  short ki_jobc, ki_spare_short1;
  uint32_t ki_tdev_freebsd11;
  struct kvm_sigset ki_siglist, ki_sigmask, ki_sigignore, ki_sigcatch;
  uid_t ki_uid, ki_ruid, ki_svuid;
  gid_t ki_rgid, ki_svgid;
  short ki_ngroups, ki_spare_short2;
  gid_t ki_groups[KI_NGROUPS];
  unsigned long ki_size; /* bytes; the next five count pages */
  long ki_rssize, ki_swrss, ki_tsize, ki_dsize, ki_ssize;
  unsigned short ki_xstat, ki_acflag;
  uint32_t ki_pctcpu;
  unsigned int ki_estcpu, ki_slptime, ki_swtime, ki_cow;
  uint64_t ki_runtime; /* microseconds */
  struct timeval ki_start, ki_childtime;
  long ki_flag, ki_kiflag;
  int ki_traceflag;
  char ki_stat;
  signed char ki_nice;
  char ki_lock, ki_rqindex;
  unsigned char ki_oncpu_old, ki_lastcpu_old;
  char ki_tdname[TDNAMLEN + 1];
  char ki_wmesg[WMESGLEN + 1];
  char ki_login[LOGNAMELEN + 1];
  char ki_lockname[LOCKNAMELEN + 1];
  char ki_comm[COMMLEN + 1];
  char ki_emul[KI_EMULNAMELEN + 1];
  char ki_loginclass[LOGINCLASSLEN + 1];
  char ki_moretdname[COMMLEN - TDNAMLEN + 1];
  char ki_sparestrings[46];
  int ki_spareints[KI_NSPARE_INT];
  uint64_t ki_tdev;
  int ki_oncpu, ki_lastcpu, ki_tracer, ki_flag2, ki_fibnum;
  unsigned int ki_cr_flags;
  int ki_jid, ki_numthreads;
  int32_t ki_tid;
  struct kvm_priority ki_pri;
  struct rusage ki_rusage, ki_rusage_ch;
  struct pcb *ki_pcb;
  void *ki_kstack, *ki_udata;
  struct thread *ki_tdaddr;
  struct pwddesc *ki_pd;
  void *ki_spareptrs[KI_NSPARE_PTR];
  long ki_sparelongs[KI_NSPARE_LONG];
  long ki_sflag, ki_tdflags;
};
#endif /* __FreeBSD__ */

/* <vm/vm.h> has it where that is included first. */
#ifndef VM_H
typedef unsigned char vm_prot_t;
#endif
#ifndef VM_PROT_READ
#define VM_PROT_READ ((vm_prot_t)0x01)
#define VM_PROT_WRITE ((vm_prot_t)0x02)
#define VM_PROT_EXECUTE ((vm_prot_t)0x04)
#endif

#define VRS_SYM "_version"
#define VRS_KEY "VERSION"
#define SWIF_DEV_PREFIX 0x0002
#define LIBKVM_WALK_PAGES_VERSION 2

typedef struct __kvm kvm_t;

struct kvm_nlist {
  const char *n_name; /* NULL or "" ends the list */
  unsigned char n_type;
  kvaddr_t n_value;
};

struct kvm_swap {
  char ksw_devname[32];
  unsigned int ksw_used, ksw_total; /* pages */
  int ksw_flags;
  unsigned int ksw_reserved1, ksw_reserved2;
};

struct kvm_page {
  unsigned int kp_version;
  kpaddr_t kp_paddr;
  kvaddr_t kp_kmap_vaddr; /* 0: mapped nowhere but in the direct map */
  kvaddr_t kp_dmap_vaddr; /* 0: not in the direct map */
  vm_prot_t kp_prot;
  off_t kp_offset; /* in the dump file; -1: compressed, or in another file of the set */
  size_t kp_len;
  /* end of version 2 */
};
typedef int kvm_walk_pages_cb_t(struct kvm_page *, void *);

#ifdef __cplusplus
extern "C" {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* kvm_nlist is a structure and a function */
#endif

kvm_t *kvm_open(const char *, const char *, const char *, int, const char *);
kvm_t *kvm_openfiles(const char *, const char *, const char *, int, char *);
kvm_t *kvm_open2(const char *, const char *, int, char *, int (*)(const char *, kvaddr_t *));
int kvm_close(kvm_t *);
char *kvm_geterr(kvm_t *);
int kvm_native(kvm_t *);
kssize_t kvm_kerndisp(kvm_t *);

ssize_t kvm_read(kvm_t *, unsigned long, void *, size_t);
ssize_t kvm_read2(kvm_t *, kvaddr_t, void *, size_t);
ssize_t kvm_write(kvm_t *, unsigned long, const void *, size_t);
int kvm_walk_pages(kvm_t *, kvm_walk_pages_cb_t *, void *);

int kvm_nlist(kvm_t *, struct nlist *);
int kvm_nlist2(kvm_t *, struct kvm_nlist *);

struct kinfo_proc *kvm_getprocs(kvm_t *, int, int, int *);
char **kvm_getargv(kvm_t *, const struct kinfo_proc *, int);
char **kvm_getenvv(kvm_t *, const struct kinfo_proc *, int);
int kvm_getloadavg(kvm_t *, double[], int);
int kvm_getswapinfo(kvm_t *, struct kvm_swap *, int, int);
int kvm_getcptime(kvm_t *, long *);

int kvm_getmaxcpu(kvm_t *);
int kvm_getncpus(kvm_t *);
void *kvm_getpcpu(kvm_t *, int);
int kvm_dpcpu_setcpu(kvm_t *, unsigned int);
ssize_t kvm_read_zpcpu(kvm_t *, unsigned long, void *, size_t, int);
uint64_t kvm_counter_u64_fetch(kvm_t *, unsigned long);

/* Beyond libkvm: given to kvm_open2() as the resolver, it stands for the kernel file's (or the dump's own) symbols, so that
 * a core of another machine opens without a resolver of the program's.  Called, it knows no name. */
int kvm_own_symbols(const char *, kvaddr_t *);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif /* _KVM_H_ */
