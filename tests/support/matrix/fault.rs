//! What can happen to a host in the middle of a run, and how it is well again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::operator::{Operator, within};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator's `ssh` dies.
    Cut,
    /// The database server is stopped.
    Postgres,
    /// One that the VPS knows of itself, by its name there: until it is mended.
    Vps(&'static str),
}

impl Fault {
    pub const ALL: [Fault; 5] =
        [Fault::Cut, Fault::Vps("refused"), Fault::Postgres, Fault::Vps("disk-full"), Fault::Vps("denied")];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Cut => "ssh killed",
            Fault::Postgres => "Postgres stopped",
            Fault::Vps(name) => name,
        }
    }

    /// Why this machine can't do it, if it can't.
    pub fn is_missing(self, operator: &Operator) -> Option<&'static str> {
        match self {
            Fault::Vps(name) if operator.sandbox.fault(name, "strike").is_none() => {
                Some("it takes root, and a file system that can do it")
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
            Fault::Postgres => {
                let stop = shell_line(&operator.compose(&["stop", "silver-postgres"]));
                format!("cd {} && {stop}", operator.sandbox.raised("project_dir"))
            }
            Fault::Vps(name) => operator.sandbox.fault(name, "strike").expect("it isn't missing").into(),
        }
    }

    /// The host is as it should be; what the run did to it stays.
    pub fn mend(self, operator: &Operator) {
        match self {
            Fault::Cut => {}
            Fault::Postgres => {
                succeeds(&mut operator.compose(&["start", "silver-postgres"]));
                let answers = || {
                    let why = operator.log_in("no password at all").expect_err("a wrong password");
                    why.contains("password authentication failed")
                };
                assert!(within(Duration::from_secs(20), answers), "Postgres does not come up again");
            }
            Fault::Vps(name) => {
                let mend = operator.sandbox.fault(name, "mend").expect("it isn't missing");
                succeeds(Command::new("sh").args(["-c", mend]));
            }
        }
    }
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
