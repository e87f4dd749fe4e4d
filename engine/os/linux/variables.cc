// Variables that people who debug a kernel look at.  A kernel's BTF tells the types of per-CPU variables only; the rest are
// written down here, once, as the kernel's sources declare them.
#include "engine/os/linux/pieces.h"

namespace kvm::os_linux {
namespace {

struct Variable {
  std::string_view name, type;
};

constexpr Variable variables[] = {
    // Processes and name spaces.
    {"init_task", "struct task_struct"},
    {"init_mm", "struct mm_struct"},
    {"init_cred", "struct cred"},
    {"init_fs", "struct fs_struct"},
    {"init_files", "struct files_struct"},
    {"init_signals", "struct signal_struct"},
    {"init_sighand", "struct sighand_struct"},
    {"init_nsproxy", "struct nsproxy"},
    {"init_uts_ns", "struct uts_namespace"},
    {"init_pid_ns", "struct pid_namespace"},
    {"init_ipc_ns", "struct ipc_namespace"},
    {"init_user_ns", "struct user_namespace"},
    {"init_cgroup_ns", "struct cgroup_namespace"},
    {"init_net", "struct net"},
    {"net_namespace_list", "struct list_head"},
    {"root_user", "struct user_struct"},
    {"root_task_group", "struct task_group"},
    {"task_groups", "struct list_head"},
    {"total_forks", "unsigned long"},
    {"nr_threads", "int"},
    {"avenrun", "unsigned long[]"},
    {"tasklist_lock", "rwlock_t"},
    {"cgrp_dfl_root", "struct cgroup_root"},
    {"cgroup_roots", "struct list_head"},
    {"workqueues", "struct list_head"},
    {"rcu_state", "struct rcu_state"},
    // The machine.
    {"linux_banner", "char[]"},
    {"linux_proc_banner", "char[]"},
    {"saved_command_line", "char *"},
    {"boot_command_line", "char[]"},
    {"jiffies", "unsigned long"},
    {"jiffies_64", "u64"},
    {"system_state", "enum system_states"},
    {"panic_cpu", "atomic_t"},
    {"crashing_cpu", "int"},
    {"panic_timeout", "int"},
    {"panic_on_oops", "int"},
    {"oops_in_progress", "int"},
    {"tainted_mask", "unsigned long"},
    {"nr_cpu_ids", "unsigned int"},
    {"__per_cpu_offset", "unsigned long[]"},
    {"__cpu_possible_mask", "struct cpumask"},
    {"__cpu_present_mask", "struct cpumask"},
    {"__cpu_online_mask", "struct cpumask"},
    {"__cpu_active_mask", "struct cpumask"},
    {"boot_cpu_data", "struct cpuinfo_x86"},
    {"boot_params", "struct boot_params"},
    {"idt_table", "gate_desc[]"},
    {"iomem_resource", "struct resource"},
    {"ioport_resource", "struct resource"},
    {"pci_root_buses", "struct list_head"},
    {"crashk_res", "struct resource"},
    {"kexec_image", "struct kimage *"},
    {"kexec_crash_image", "struct kimage *"},
    {"vmcoreinfo_data", "unsigned char *"},
    {"vmcoreinfo_size", "size_t"},
    // The log and the console.
    {"prb", "struct printk_ringbuffer *"},
    {"log_buf", "char *"},
    {"console_printk", "int[]"},
    {"console_list", "struct hlist_head"},
    {"console_drivers", "struct console *"},
    // Modules, BTF, BPF, tracing.
    {"modules", "struct list_head"},
    {"btf_modules", "struct list_head"},
    {"btf_vmlinux", "struct btf *"},
    {"prog_idr", "struct idr"},
    {"map_idr", "struct idr"},
    {"ftrace_trace_arrays", "struct list_head"},
    // Memory.
    {"swapper_pg_dir", "pgd_t[]"},
    {"init_top_pgt", "pgd_t[]"},
    {"phys_base", "unsigned long"},
    {"page_offset_base", "unsigned long"},
    {"vmalloc_base", "unsigned long"},
    {"vmemmap_base", "unsigned long"},
    {"node_data", "struct pglist_data *[]"},
    {"contig_page_data", "struct pglist_data"},
    {"high_memory", "void *"},
    {"max_pfn", "unsigned long"},
    {"max_low_pfn", "unsigned long"},
    {"_totalram_pages", "atomic_long_t"},
    {"vm_zone_stat", "atomic_long_t[]"},
    {"vm_node_stat", "atomic_long_t[]"},
    {"vmap_area_list", "struct list_head"},
    {"slab_caches", "struct list_head"},
    {"kmem_cache", "struct kmem_cache *"},
    // Files and devices.
    {"super_blocks", "struct list_head"},
    {"file_systems", "struct file_system_type *"},
    {"dentry_hashtable", "struct hlist_bl_head *"},
    {"inode_hashtable", "struct hlist_head *"},
    {"mount_hashtable", "struct hlist_head *"},
    {"cdev_map", "struct kobj_map *"},
    {"sparse_irqs", "struct maple_tree"},
    {"irq_desc_tree", "struct xarray"},
    // The network.
    {"tcp_hashinfo", "struct inet_hashinfo"},
    {"udp_table", "struct udp_table"},
    {"ptype_all", "struct list_head"},
};

}  // namespace

std::vector<PieceVariable> known_variables(const Symbols& symbols) {
  std::vector<PieceVariable> known;
  for (const Variable& variable : variables)
    if (symbols.find(variable.name)) known.push_back({std::string(variable.name), std::string(variable.type)});
  return known;
}

}  // namespace kvm::os_linux
