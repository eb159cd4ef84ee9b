//! What can happen to a host in the middle of a run, and how it is well again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::operator::{Operator, within};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator's `ssh` dies.
    Cut,
    /// The host's SSH server dies, and is away for the rest of the run.
    Sshd,
    /// The database server is stopped.
    Postgres,
    DiskFull,
    /// Nobody can change `.env`.
    ReadOnly,
}

impl Fault {
    pub const ALL: [Fault; 5] = [Fault::Cut, Fault::Sshd, Fault::Postgres, Fault::DiskFull, Fault::ReadOnly];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Cut => "connection cut",
            Fault::Sshd => "sshd killed",
            Fault::Postgres => "Postgres stopped",
            Fault::DiskFull => "disk full",
            Fault::ReadOnly => ".env read-only",
        }
    }

    /// Why this machine can't do it, if it can't.
    pub fn is_missing(self, operator: &Operator) -> Option<&'static str> {
        match self {
            Fault::DiskFull if operator.disk.is_none() => Some("only root can mount a small disk"),
            Fault::ReadOnly if !(immutable("+i", operator) && immutable("-i", operator)) => {
                Some("chattr +i is not possible here")
            }
            _ => None,
        }
    }

    /// The shell command that does it, as a child of the program.
    pub fn command(self, operator: &Operator) -> String {
        match self {
            Fault::Cut => "for p in $(cat /proc/$PPID/task/*/children); do \
                 [ \"$(cat /proc/$p/comm)\" != ssh ] || { kill -9 $p && struck=1; }; done; [ $struck ]"
                .into(),
            Fault::Sshd => shell_line(&operator.staging(&["sshd", "kill"])),
            Fault::Postgres => {
                let stop = shell_line(&operator.compose(&["stop", "silver-postgres"]));
                format!("cd {} && {stop}", operator.sandbox.raised("project_dir"))
            }
            Fault::DiskFull => operator.disk.as_ref().expect("a disk").fill(),
            Fault::ReadOnly => format!("chattr +i {}", operator.sandbox.env_file().display()),
        }
    }

    /// The host is as it should be; what the run did to it stays.
    pub fn mend(self, operator: &Operator) {
        match self {
            Fault::Cut => {}
            Fault::Sshd => succeeds(&mut operator.staging(&["sshd", "start"])),
            Fault::Postgres => {
                succeeds(&mut operator.compose(&["start", "silver-postgres"]));
                let answers = || {
                    let why = operator.log_in("no password at all").expect_err("a wrong password");
                    why.contains("password authentication failed")
                };
                assert!(within(Duration::from_secs(20), answers), "Postgres does not come up again");
            }
            Fault::DiskFull => operator.disk.as_ref().expect("a disk").free(),
            Fault::ReadOnly => assert!(immutable("-i", operator), "chattr -i"),
        }
    }
}

fn immutable(how: &str, operator: &Operator) -> bool {
    let changed = Command::new("chattr").arg(how).arg(operator.sandbox.env_file()).output();
    changed.is_ok_and(|output| output.status.success())
}

/// None of its words needs quoting.
fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| Path::new(word).display().to_string()).collect();
    words.join(" ")
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
