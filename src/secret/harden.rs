//! What the process does at start so that its memory stays its own.

/// Turns core dumps off and, on Linux, keeps other processes of the same user from reading our
/// memory (`ptrace`, `/proc/PID/mem`). Call first thing in `main`. Best effort: a system that
/// refuses is no reason not to run.
pub fn harden_process() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read their arguments.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_hardened_process_leaves_no_core() {
        // In a child, so that the test process stays debuggable.
        // SAFETY: the child only makes system calls and ends without unwinding.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                super::harden_process();
                let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
                libc::getrlimit(libc::RLIMIT_CORE, &mut limit);
                let dumpable = libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0);
                libc::_exit(if limit.rlim_cur == 0 && dumpable == 0 { 0 } else { 1 });
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            status
        };
        assert_eq!(status, 0);
    }
}
