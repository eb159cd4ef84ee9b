//! The program itself, started as an operator would start it: a run that can really be killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::engine::fault::{FAULT, STRUCK, succeeded};
use crate::remote::{Connection, TransportKind};
use crate::run::store::Store;

use super::fault::Strikes;
use super::outage::Endpoints;

/// Nothing that is rehearsed may take longer; what does is hung.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Nor may a command that brings a place back.
const LONGEST_SHELL: Duration = Duration::from_secs(900);

/// A place that may break, and what is kept of the runs on it.
pub struct Place {
    /// As given to `-i`.
    pub inventory: Vec<String>,
    /// Hosts of the playbook.
    pub hosts: Vec<String>,
    pub runs: PathBuf,
    /// Faults that it does by itself.
    pub strikes: Strikes,
    /// Shell commands, each with its host: what they print is searched for secrets.
    pub searched: Vec<(String, String)>,
    /// What locks on hosts are named after.
    pub project: String,
    /// How the hosts of the playbook are reached, and those that endpoints are asked from.
    pub reach: Vec<(String, Connection)>,
    /// What tells whether it is well.
    pub endpoints: Endpoints,
}

/// Tells a shell command which place it is about.
const INVENTORY: &str = "SEQN_PLAY_INVENTORY";

impl Place {
    pub fn inventory(&self) -> String {
        self.inventory.join(",")
    }

    /// A host that both are about: whoever breaks one breaks the other. This machine may be many places.
    pub fn shares(&self, other: &Place) -> Option<String> {
        let far = |place: &Place| -> Vec<String> {
            let reach = place.reach.iter().filter(|(name, _)| place.hosts.contains(name));
            reach.filter(|(_, to)| to.transport != TransportKind::Local).map(|(_, to)| to.place()).collect()
        };
        let others = far(other);
        far(self).into_iter().find(|host| others.contains(host))
    }

    /// A shell command of this machine, about this place. Ctrl-C doesn't reach it: whoever stops a
    /// rehearsal gets a place that is well.
    ///
    /// # Errors
    /// It can't be run, or fails.
    pub async fn shell(&self, command: &str, cwd: &Path) -> Result<(), String> {
        let mut sh = Command::new("sh");
        sh.args(["-c", command]).current_dir(cwd).env(INVENTORY, self.inventory());
        succeeded(command, by_itself(&mut sh, LONGEST_SHELL).await)
    }

    pub fn store(&self) -> Store {
        Store::of(Path::new("/"), Some(&self.runs))
    }
}

/// How the program is started.
#[derive(Debug, Clone)]
pub struct Program {
    pub executable: PathBuf,
    /// The playbook with its flags, without those about inventories and runs.
    pub playbook: Vec<String>,
    pub age_identities: Vec<PathBuf>,
    pub reason: String,
    /// What is said goes here, a file each.
    pub output: PathBuf,
    /// Somebody wants the rehearsal to stop.
    pub interrupted: Arc<AtomicBool>,
}

/// What the program does.
#[derive(Debug, Clone)]
pub enum Doing<'a> {
    /// With flags beside those of the playbook.
    Check(&'a [String]),
    Run(&'a [String]),
    Resume(&'a str),
    Rollback(&'a str),
    /// What it left is of no interest any more.
    Abandon(&'a str),
}

/// An event, and when it was told: seconds since the program was started.
#[derive(Debug, Clone)]
pub struct Told {
    pub at: f64,
    pub event: Value,
}

/// What it came to.
#[derive(Debug)]
pub struct Ended {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub told: Vec<Told>,
    pub errors: String,
    /// When it was started, as in journals.
    pub begun: chrono::DateTime<chrono::Local>,
    pub took: Duration,
    /// Why nothing happened to it, where nothing did.
    pub struck: Result<(), String>,
    /// What it said is here.
    pub output: PathBuf,
}

impl Ended {
    pub fn is_fine(&self) -> bool {
        self.code == Some(0)
    }

    /// Why it isn't fine: its status, and what failed.
    pub fn why(&self) -> String {
        let status = match self.code {
            Some(code) => format!("it ended with status {code}"),
            None => "it was ended by a signal".into(),
        };
        let failed = self.told.iter().filter_map(|told| failure(&told.event));
        let errors = self.errors.lines().filter(|line| !line.trim().is_empty()).map(str::to_string);
        let mut lines: Vec<String> = failed.chain(errors).collect();
        lines.dedup();
        lines.truncate(20);
        format!("{status} (all of it: {})\n{}", self.output.display(), lines.join("\n"))
            .trim_end()
            .to_string()
    }

    /// It ended by an error of its own.
    pub fn panicked(&self) -> bool {
        self.errors.contains("This is a bug in seqn-play")
    }
}

/// What an event tells of a failure.
fn failure(event: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(String::from);
    match event["event"].as_str()? {
        "instance_done" if matches!(event["status"].as_str(), Some("failed" | "unreachable")) => {
            if event["ignored"] == true {
                return None;
            }
            let (host, task) = (text(&event["host"])?, text(&event["task"]["name"])?);
            let message = text(&event["result"]["msg"]).unwrap_or_default();
            Some(format!("[{host}] {task}: {message}"))
        }
        "diagnostic" => {
            let help = text(&event["help"]).map(|help| format!(" ({help})")).unwrap_or_default();
            Some(format!("error[{}]: {}{help}", text(&event["code"])?, text(&event["message"])?))
        }
        "undone" => Some(format!("not undone: {}: {}", text(&event["step"])?, text(&event["error"])?)),
        _ => None,
    }
}

/// Runs a command in a process group of its own, all of which is ended where it hangs.
async fn by_itself(command: &mut Command, limit: Duration) -> std::io::Result<std::process::Output> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let group = child.id().and_then(|id| libc::pid_t::try_from(id).ok());
    let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
        if let Some(group) = group {
            // SAFETY: one system call; the group is that of our own child, which nobody waited for yet.
            unsafe { libc::killpg(group, libc::SIGKILL) };
        }
        let why = format!("it hangs: it did not end within {} s", limit.as_secs_f64());
        return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, why));
    };
    output
}

/// A run that nobody waits for any more stops as at Ctrl-C.
fn interrupted_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec it makes one system call.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}

impl Program {
    fn args(&self, place: &Place, doing: &Doing<'_>) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        match doing {
            Doing::Check(more) | Doing::Run(more) => {
                args.push("run".into());
                args.extend(self.playbook.iter().chain(*more).cloned());
                for inventory in &place.inventory {
                    args.extend(["-i".into(), inventory.clone()]);
                }
                if matches!(doing, Doing::Check(_)) {
                    args.push("--check".into());
                }
                args.extend(["--reason".into(), self.reason.clone()]);
                args.extend(["--note-dir".into(), place.runs.join("notes").display().to_string()]);
            }
            Doing::Resume(run) => args.extend(["resume".into(), run.to_string()]),
            Doing::Rollback(run) => args.extend(["rollback".into(), run.to_string()]),
            Doing::Abandon(run) => {
                args.extend(["runs".into(), "abandon".into(), run.to_string()]);
                args.extend(["--reason".into(), self.reason.clone()]);
            }
        }
        if matches!(doing, Doing::Resume(_) | Doing::Rollback(_)) {
            for identity in &self.age_identities {
                args.extend(["--age-identity".into(), identity.display().to_string()]);
            }
        }
        args.extend(["--run-dir".into(), place.runs.display().to_string()]);
        args.extend(["--project".into(), place.project.clone()]);
        if !matches!(doing, Doing::Abandon(_)) {
            args.extend(["--output".into(), "json".into()]);
        }
        args
    }

    /// Starts it and waits for its end.
    ///
    /// # Errors
    /// It can't be started, or hangs.
    pub async fn start(
        &self,
        name: &str,
        place: &Place,
        doing: Doing<'_>,
        fault: Option<&str>,
        limit: Duration,
    ) -> Result<Ended, String> {
        let wrong = |e: std::io::Error| format!("{name}: {e}");
        let output = self.output.join(format!("{name}.jsonl"));
        let errors = self.output.join(format!("{name}.err"));
        let mark = self.output.join(format!("{name}.struck"));
        let mut command = Command::new(&self.executable);
        command
            .args(self.args(place, &doing))
            .env_remove(FAULT)
            .env(INVENTORY, place.inventory())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).map_err(wrong)?)
            .kill_on_drop(true);
        if let Some(fault) = fault {
            command.env(FAULT, fault).env(STRUCK, &mark);
        }
        interrupted_with_us(&mut command);
        let (began, begun) = (Instant::now(), chrono::Local::now());
        let mut child = command.spawn().map_err(wrong)?;
        let stdout = child.stdout.take().ok_or_else(|| format!("{name}: no output"))?;
        let mut kept = tokio::fs::File::create(&output).await.map_err(wrong)?;
        let mut told = Vec::new();
        let waiting = async {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                kept.write_all(format!("{line}\n").as_bytes()).await?;
                if let Ok(event) = serde_json::from_str(&line) {
                    told.push(Told { at: began.elapsed().as_secs_f64(), event });
                }
            }
            kept.flush().await?;
            child.wait().await
        };
        let waited = tokio::time::timeout(limit, waiting).await;
        let status = match waited {
            Ok(status) => status.map_err(wrong)?,
            Err(_) => {
                child.kill().await.ok();
                let what = format!("{name} hangs: it did not end within {} s", limit.as_secs());
                return Err(format!("{what} (all of it: {})", output.display()));
            }
        };
        if self.interrupted.load(Ordering::Relaxed) {
            return Err("the rehearsal was interrupted".into());
        }
        let errors = std::fs::read_to_string(&errors).unwrap_or_default();
        let struck = match std::fs::read_to_string(&mark) {
            Ok(why) if why.is_empty() => Ok(()),
            Ok(why) => Err(format!("the fault could not strike: {why}")),
            Err(_) => Err("nothing happened to it".into()),
        };
        let (code, took) = (status.code(), began.elapsed());
        Ok(Ended { code, told, errors, begun, took, struck, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_is_ended_with_all_that_it_started() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "sleep 86399 & echo $!; wait"]);
        let began = Instant::now();
        let why = by_itself(&mut sh, Duration::from_millis(200)).await.expect_err("it hangs").to_string();
        assert!(why.contains("did not end within 0.2 s"), "{why}");
        assert!(began.elapsed() < Duration::from_secs(60));
        let sleeps = || {
            let all = std::fs::read_dir("/proc").expect("processes").flatten();
            all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
                .any(|words| words == b"sleep\086399\0")
        };
        while sleeps() && began.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!sleeps());
    }
}
