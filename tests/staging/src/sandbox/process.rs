//! Processes known by id and start time, so that a recycled id is never mistaken for one of ours.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// In the environment of every process of a sandbox, with the sandbox's name.
pub const MARK: &str = "SEQN_STAGING_SANDBOX";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// In clock ticks since the boot.
    start: u64,
}

impl Process {
    pub fn of(pid: u32) -> Option<Process> {
        let pid = i32::try_from(pid).ok()?;
        let (_, start) = stat(pid)?;
        Some(Process { pid, start })
    }

    pub fn this() -> Option<Process> {
        Process::of(std::process::id())
    }

    /// A zombie has ended, whether or not its parent has looked.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start && !matches!(state, 'Z' | 'X'))
    }

    pub fn signal(&self, signal: i32) {
        if self.is_alive() {
            unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Whether it ended within this time.
    pub fn wait(&self, limit: Duration) -> bool {
        wait_until(limit, || !self.is_alive())
    }
}

/// Asks often at first, because most things here take milliseconds.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    while !done() {
        if begin.elapsed() >= limit {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

/// All living processes whose environment had this entry at their start.
pub fn marked(key: &str, value: &str) -> Vec<Process> {
    let entry = format!("{key}={value}");
    let Ok(listing) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    listing
        .flatten()
        .filter_map(|found| found.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            // Taken before the look, so that it names the process looked at.
            let process = Process::of(pid)?;
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let mut entries = environment.split(|byte| *byte == 0);
            let ours = entries.any(|found| found == entry.as_bytes());
            (ours && process.is_alive()).then_some(process)
        })
        .collect()
}

/// Ends them without asking. A Postgres gets an immediate shutdown, which frees the shared memory
/// that a SIGKILL would leave behind.
pub fn end(processes: &[Process]) {
    for process in processes {
        let is_postgres = fs::read_to_string(format!("/proc/{}/comm", process.pid))
            .is_ok_and(|name| name.trim() == "postgres");
        process.signal(if is_postgres { libc::SIGQUIT } else { libc::SIGKILL });
    }
    let gone = || !processes.iter().any(Process::is_alive);
    if !wait_until(Duration::from_secs(2), gone) {
        for process in processes {
            process.signal(libc::SIGKILL);
        }
        wait_until(Duration::from_secs(5), gone);
    }
}

/// Starts a background process that outlives us. `log` takes its stderr; what it prints on
/// stdout until it closes it says how its start went: a line that begins with `ok`, or the error.
pub fn start_daemon(mut command: Command, log: &Path) -> Result<Starting> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let program = command.get_program().to_owned();
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Starting { child })
}

pub struct Starting {
    child: std::process::Child,
}

impl Starting {
    /// Waits until it serves, and gives what it said after `ok`.
    pub fn ready(&mut self) -> Result<String> {
        let mut said = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        match said.strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => {
                let _ = self.child.wait();
                match said.trim() {
                    "" => bail!("it ended without a word"),
                    said => bail!("{said}"),
                }
            }
        }
    }
}

/// Tells the starter what it waits for, and closes stdout, which is that pipe.
pub fn tell_starter(word: &str) {
    let text = format!("{word}\n");
    unsafe {
        // The starter may be gone; the daemon serves all the same.
        libc::write(1, text.as_ptr().cast(), text.len());
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if null >= 0 {
            libc::dup2(null, 1);
            libc::close(null);
        }
    }
}

/// State and start time.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks and parentheses.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let this = Process::this().unwrap();
        assert!(this.is_alive());
        let other = Process { start: this.start + 1, ..this };
        assert!(!other.is_alive());
    }

    #[test]
    fn marked_processes_are_found_and_ended() {
        let value = format!("test-{}", std::process::id());
        let mut child = Command::new("sleep").arg("100").env(MARK, &value).spawn().unwrap();
        wait_until(Duration::from_secs(5), || !marked(MARK, &value).is_empty());
        let found = marked(MARK, &value);
        assert_eq!(found.len(), 1);
        end(&found);
        assert!(!found[0].is_alive());
        child.wait().unwrap();
    }
}
