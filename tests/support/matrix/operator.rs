//! Who rotates the password of a staging VPS, and looks whether the login works.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::leak::sandbox::Sandbox;

/// Nothing here takes as long; what does is hung.
const LIMIT: Duration = Duration::from_secs(120);

const TASKS: &str = "roles/database_password/tasks/rotate.yml";

/// The last task of a transaction that fails.
const FAILING: &str = "
    - name: Fail as long as something is broken
      ansible.builtin.command:
        argv: [test, \"!\", -e, \"{{ seqn_project_dir }}/broken\"]
      changed_when: false
";

pub struct Operator {
    pub sandbox: Sandbox,
    project: PathBuf,
}

/// What one command came to.
pub struct Ran {
    pub said: String,
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub took: Duration,
}

impl Operator {
    pub fn new(staging: &Path) -> Operator {
        let sandbox = Sandbox::raise(staging);
        let project = sandbox.project();
        Operator { sandbox, project }
    }

    /// # Errors
    /// It hangs.
    pub fn play(&self, args: &[&str], fault: Option<&str>) -> Result<Ran, String> {
        let said = self.sandbox.operator().join("said");
        let out = File::create(&said).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqn-play"));
        command
            .args(args)
            .current_dir(&self.project)
            .env("HOME", self.sandbox.operator().join("home"))
            // A program that is killed leaves its folder there.
            .env("TMPDIR", self.sandbox.operator().join("tmp"))
            .env("SEQN_AGE_IDENTITY", crate::support::identity())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file"))
            .stderr(out);
        if let Some(fault) = fault {
            command.env("SEQN_PLAY_FAULT", fault);
        }
        let began = Instant::now();
        let mut child = command.spawn().expect("the program runs");
        let ended = ended(&mut child);
        let said = std::fs::read(&said).expect("what it said");
        let said = String::from_utf8_lossy(&said).into_owned();
        match ended {
            Some(code) => Ok(Ran { said, code, took: began.elapsed() }),
            None => Err(format!("{args:?} hangs: it did not end within {} s:\n{said}", LIMIT.as_secs())),
        }
    }

    /// # Errors
    /// It hangs.
    pub fn rotate(&self, fault: Option<&str>) -> Result<Ran, String> {
        let playbook = "rotate-db-password.yml";
        self.play(&[playbook, "-i", "staging", "-e", "database=silver", "-e", "stop_writes=true"], fault)
    }

    /// A rotation whose transaction fails at its end, until [`Operator::mend`]ed.
    ///
    /// # Errors
    /// It hangs.
    pub fn rotate_and_fail(&self, fault: Option<&str>) -> Result<Ran, String> {
        let tasks = std::fs::read_to_string(self.project.join(TASKS)).expect("tasks");
        let (block, rescue) = tasks.split_once("\n  rescue:\n").expect("a rescue");
        std::fs::write(self.project.join(TASKS), format!("{block}{FAILING}\n  rescue:\n{rescue}"))
            .expect("tasks");
        std::fs::write(self.broken(), "").expect("a file");
        self.rotate(fault)
    }

    /// What made it fail is gone.
    pub fn mend(&self) {
        std::fs::remove_file(self.broken()).expect("a file");
    }

    /// The tasks are as they were before [`Operator::rotate_and_fail`].
    pub fn restore_tasks(&self) {
        let as_it_was = Path::new(env!("CARGO_MANIFEST_DIR")).join(TASKS);
        std::fs::copy(as_it_was, self.project.join(TASKS)).expect("tasks");
    }

    fn broken(&self) -> PathBuf {
        Path::new(self.sandbox.raised("project_dir")).join("broken")
    }

    /// What ended well.
    ///
    /// # Errors
    /// It ended otherwise, or hangs.
    pub fn well(&self, args: &[&str]) -> Result<Ran, String> {
        let ran = self.play(args, None)?;
        match ran.code {
            Some(0) => Ok(ran),
            code => Err(format!("{args:?} ended with {code:?}:\n{}", ran.said)),
        }
    }

    /// The labels of the Steps of the newest run, in the order in which they were applied.
    pub fn steps(&self) -> Vec<String> {
        let label = |record: &serde_json::Value| record["intent"]["label"].as_str().map(String::from);
        self.records().iter().filter_map(label).collect()
    }

    /// How many effects took something back in the newest run.
    pub fn undone(&self) -> usize {
        // What left nothing has no label.
        let is_effect = |record: &&serde_json::Value| record["undone"]["label"].as_str() > Some("");
        self.records().iter().filter(is_effect).count()
    }

    fn records(&self) -> Vec<serde_json::Value> {
        let runs = std::fs::read_dir(self.project.join(".seqn-play/runs")).expect("runs");
        let newest = runs.flatten().map(|e| e.path()).max().expect("a run");
        let journal = std::fs::read_to_string(newest.join("journal")).expect("a journal");
        let record = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["record"].take();
        journal.lines().map(record).collect()
    }

    /// Logs in to Postgres as the services do.
    ///
    /// # Errors
    /// What it said where it was refused.
    pub fn log_in(&self, password: &str) -> Result<(), String> {
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
    pub fn is_healthy(&self) -> bool {
        let url = format!("{}/healthz", self.sandbox.raised("api_url"));
        within(Duration::from_secs(5), || {
            let answer = Command::new("curl").args(["-sf", "-m", "2", &url]).output().expect("curl runs");
            answer.status.success()
        })
    }

    /// Whether the VPS works with a new password (`forward`) or still with the old one, and with no
    /// other.
    ///
    /// # Errors
    /// What is wrong.
    pub fn works(&self, forward: bool, old: &str) -> Result<(), String> {
        let now = self.sandbox.present_password();
        if forward == (now == old) {
            return Err("the password in .env is the wrong one".into());
        }
        self.log_in(&now).map_err(|why| format!("the password in .env is refused: {why}"))?;
        if now != old {
            match self.log_in(old) {
                Err(why) if why.contains("password authentication failed") => {}
                other => return Err(format!("the old password is not refused: {other:?}")),
            }
        }
        if self.is_healthy() { Ok(()) } else { Err("the service is not healthy".into()) }
    }

    /// A command line of Compose on the VPS.
    pub fn compose(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.sandbox.place().join("machine/bin/docker"));
        command.arg("compose").args(args).current_dir(self.sandbox.raised("project_dir"));
        command
    }
}

/// The exit code; `None` where it had to be killed.
fn ended(child: &mut Child) -> Option<Option<i32>> {
    let mut status = None;
    within(LIMIT, || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    if status.is_none() {
        child.kill().and_then(|()| child.wait()).ok();
    }
    status.map(|status| status.code())
}

pub fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    while !is_so() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
