//! The two filters of system calls. The kernel runs both on every call and takes the stricter word
//! (Documentation/userspace-api/seccomp_filter.rst, "Return values").

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// What serving pages needs, with any arguments.
const NEEDED: &[c_long] = &[
    // Bytes and descriptors. `recvmsg` also brings the listeners of the daemon.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_close,
    libc::SYS_fcntl,
    // Waiting and time.
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Memory: without the right to run it, below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Signals and the end.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getrandom,
];

/// The same, by names that only this processor has.
#[cfg(target_arch = "x86_64")]
const NEEDED_HERE: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const NEEDED_HERE: &[c_long] = &[];

/// What only an intruder would call: the process ends, and whoever started it starts it anew.
const HOSTILE: &[c_long] = &[
    // Programs, processes, threads.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    // The tree of files, and other worlds.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel itself, and its wide doors.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Other identities.
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_setgid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// Puts both filters on this thread and all others of the process.
pub(super) fn filter() -> Result<(), seccompiler::Error> {
    // The one that ends the process first: the other does not let the call that sets a filter pass.
    for program in [hostile()?, needed()?] {
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

fn hostile() -> Result<BpfProgram, BackendError> {
    let rules = HOSTILE.iter().map(|&call| (call, vec![])).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, here()?)?.try_into()
}

fn needed() -> Result<BpfProgram, BackendError> {
    let mut rules: std::collections::BTreeMap<c_long, Vec<SeccompRule>> =
        NEEDED.iter().chain(NEEDED_HERE).map(|&call| (call, vec![])).collect();
    let when = |argument, width, is, value: u64| {
        SeccompRule::new(vec![SeccompCondition::new(argument, width, is, value)?])
    };
    // Local sockets only: those of the network come from the daemon, or were made before.
    rules.insert(libc::SYS_socket, vec![when(0, Width::Dword, Is::Eq, number(libc::AF_UNIX))?]);
    // The standard library's way to make a socket non-blocking.
    rules.insert(libc::SYS_ioctl, vec![when(1, Width::Dword, Is::Eq, number(libc::FIONBIO))?]);
    // An abort is a signal to oneself.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, Width::Dword, Is::Eq, own)?]);
    // No memory that can be run: what was not in the program file never becomes code.
    let executable = number(libc::PROT_EXEC);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![when(2, Width::Dword, Is::MaskedEq(executable), 0)?]);
    }
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, here()?)?.try_into()
}

fn here() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

/// A constant of the C library, none of which is negative, as the filter compares it. What the number of an ioctl is differs:
/// unsigned long in glibc, int in musl.
fn number(constant: impl TryInto<u64>) -> u64 {
    constant.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{HOSTILE, NEEDED, NEEDED_HERE};

    #[test]
    fn nothing_that_is_needed_ends_the_process() {
        let both: Vec<_> = NEEDED.iter().chain(NEEDED_HERE).filter(|call| HOSTILE.contains(call)).collect();
        assert!(both.is_empty(), "{both:?}");
    }
}
