//! The database rotation, killed at every place of every Step: `resume` ends in a verified login with
//! the new password, `rollback` in one with the old, and the other password is refused.
//!
//! The cases come from the journal of a whole run, so a new Step is covered as soon as it is there.

#[path = "support/leak/mod.rs"]
mod leak;
mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use leak::sandbox::Sandbox;

const PLACES: [&str; 5] = ["before-intent", "after-intent", "during", "after-effect", "after-record"];

/// As many as there are cores; each has a VPS of its own.
const SANDBOXES: usize = 2;

#[derive(Debug, Clone)]
struct Case {
    step: usize,
    /// Of the Step, for the table.
    label: String,
    place: &'static str,
    forward: bool,
}

struct Operator {
    sandbox: Sandbox,
    project: PathBuf,
}

impl Operator {
    fn new(staging: &Path) -> Operator {
        let sandbox = Sandbox::raise(staging);
        let project = sandbox.project();
        Operator { sandbox, project }
    }

    fn play(&self, args: &[&str], fault: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqn-play"));
        command
            .args(args)
            .current_dir(&self.project)
            .env("HOME", self.sandbox.operator().join("home"))
            .env("SEQN_AGE_IDENTITY", support::identity())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        if let Some(fault) = fault {
            command.env("SEQN_PLAY_FAULT", fault);
        }
        command.output().expect("the program runs")
    }

    fn rotate(&self, fault: Option<&str>) -> Output {
        let playbook = "rotate-db-password.yml";
        self.play(&[playbook, "-i", "staging", "-e", "database=silver", "-e", "stop_writes=true"], fault)
    }

    /// The labels of the Steps of the newest run, in the order in which they were applied.
    fn steps(&self) -> Vec<String> {
        let mut runs: Vec<PathBuf> = std::fs::read_dir(self.project.join(".seqn-play/runs"))
            .expect("runs")
            .flatten()
            .map(|e| e.path())
            .collect();
        runs.sort();
        let journal =
            std::fs::read_to_string(runs.last().expect("a run").join("journal")).expect("a journal");
        let records =
            journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        records.filter_map(|line| line["record"]["intent"]["label"].as_str().map(String::from)).collect()
    }

    /// Logs in to Postgres as the services do; what it said where it was refused.
    fn log_in(&self, password: &str) -> Result<(), String> {
        let port = self.sandbox.number("silver_pg_port").to_string();
        let tried = Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "silver", "-d", "silver", "-tAc", "SELECT 1"])
            .env("PGPASSWORD", password)
            .output()
            .expect("psql runs");
        match tried.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&tried.stderr).into_owned()),
        }
    }

    /// Whether the service works: its own login with the password of its environment.
    fn is_healthy(&self) -> bool {
        let url = format!("{}/healthz", self.sandbox.raised("api_url"));
        (0..50).any(|_| {
            let answer = Command::new("curl").args(["-sf", "-m", "2", &url]).output().expect("curl runs");
            answer.status.success() || {
                std::thread::sleep(std::time::Duration::from_millis(100));
                false
            }
        })
    }

    /// What is wrong after this case.
    fn case(&self, case: &Case) -> Result<(), String> {
        let old = self.sandbox.present_password();
        let fault = format!("{}:{}:kill", case.step, case.place);
        let killed = self.rotate(Some(&fault));
        if killed.status.code().is_some() {
            return Err(format!("it was not killed:\n{}", told(&killed)));
        }
        let how = if case.forward { "resume" } else { "rollback" };
        let ended = self.play(&[how, "last"], None);
        if !ended.status.success() {
            return Err(format!("{how} ended with {:?}:\n{}", ended.status.code(), told(&ended)));
        }
        let now = self.sandbox.present_password();
        if case.forward == (now == old) {
            return Err(format!("the password in .env is the wrong one:\n{}", told(&ended)));
        }
        self.log_in(&now)
            .map_err(|why| format!("the password in .env is refused: {why}\n{}", told(&ended)))?;
        if now != old {
            match self.log_in(&old) {
                Err(why) if why.contains("password authentication failed") => {}
                other => return Err(format!("the old password is not refused: {other:?}")),
            }
        }
        if self.is_healthy() { Ok(()) } else { Err(format!("the service is not healthy:\n{}", told(&ended))) }
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn whatever_dies_one_command_leads_to_a_working_login() {
    let Some(staging) = leak::sandbox::staging() else { return };
    let first = Operator::new(&staging);
    let whole = first.rotate(None);
    assert!(whole.status.success(), "{}", told(&whole));
    let steps = first.steps();
    assert!(steps.len() > 10, "only {steps:?}");
    let mut cases = VecDeque::new();
    for (index, label) in steps.iter().enumerate() {
        for place in PLACES {
            for forward in [true, false] {
                cases.push_back(Case { step: index + 1, label: label.clone(), place, forward });
            }
        }
    }
    let count = cases.len();
    let queue = Mutex::new(cases);
    let next = || queue.lock().expect("no panic").pop_front();
    let operators = std::iter::once(first).chain((1..SANDBOXES).map(|_| Operator::new(&staging)));
    let results: Vec<(Case, Result<(), String>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = operators
            .map(|operator| {
                scope.spawn(move || {
                    let mut done = Vec::new();
                    while let Some(case) = next() {
                        let result = operator.case(&case);
                        // After a failure nobody knows what is there.
                        let failed = result.is_err();
                        done.push((case, result));
                        if failed {
                            break;
                        }
                    }
                    done
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    println!("{}", table(&steps, &results));
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(case, result)| result.as_ref().err().map(|why| format!("{case:?}: {why}")))
        .collect();
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n\n"));
    assert_eq!(results.len(), count);
}

/// A row for each Step, a column for each place: how it went forward and back.
fn table(steps: &[String], results: &[(Case, Result<(), String>)]) -> String {
    let mut rows = vec![format!(
        "{:<44} {}",
        "killed at (resume/rollback)",
        PLACES.map(|p| format!("{p:<14}")).join("")
    )];
    for (index, label) in steps.iter().enumerate() {
        let cell = |place: &str| {
            let word = |forward: bool| {
                let is_it = |c: &Case| c.step == index + 1 && c.place == place && c.forward == forward;
                match results.iter().find(|(case, _)| is_it(case)) {
                    Some((_, Ok(()))) => "ok",
                    Some(_) => "FAILED",
                    None => "-",
                }
            };
            format!("{:<14}", format!("{}/{}", word(true), word(false)))
        };
        let short: String = label.chars().take(40).collect();
        rows.push(format!("{:>2} {short:<41} {}", index + 1, PLACES.map(cell).join("")));
    }
    rows.join("\n")
}
