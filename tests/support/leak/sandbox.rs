//! A staging VPS of local processes, and an operator's machine beside it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;

use super::cases::Case;
use super::search::{changed_files, files_in};

/// The program that raises a VPS; it is built if nobody did. Says why there is none.
pub fn staging() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_seqn-play")).with_file_name("staging");
    if !program.exists() {
        let built =
            Command::new(env!("CARGO")).args(["build", "--quiet", "--locked", "-p", "staging"]).status();
        assert!(built.is_ok_and(|status| status.success()) && program.exists(), "staging can't be built");
    }
    let Some(missing) = ["ssh", "age", "curl", "postgres"].into_iter().find(|name| !is_there(name)) else {
        return Some(program);
    };
    // As root, `up` installs what is missing.
    // SAFETY: it only tells a number.
    if unsafe { libc::getuid() } == 0 {
        return Some(program);
    }
    skipped(&format!("no {missing} on this machine"));
    None
}

/// The same, where a Docker engine answers. Says why there is none.
pub fn staging_with_docker() -> Option<PathBuf> {
    match staging::docker::engine() {
        Ok(_) => staging(),
        Err(why) => {
            skipped(&format!("no Docker engine: {why:#}"));
            None
        }
    }
}

/// Where nothing may be skipped that is a failure.
fn skipped(why: &str) {
    let all = ["SEQN_REQUIRE_ALL", "CI"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!all, "{why}, and nothing may be skipped here");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(servers.map(|version| version.path().join("bin")))
        .any(|dir| dir.join(program).is_file())
}

pub struct Sandbox {
    scratch: tempfile::TempDir,
    staging: PathBuf,
    raised: Value,
}

/// What one run came to.
pub struct Ran {
    pub said: String,
    pub code: i32,
    pub since: SystemTime,
}

impl Sandbox {
    pub fn raise(staging: &Path) -> Sandbox {
        Sandbox::of_kind("sandbox", staging)
    }

    /// With a Docker engine instead of processes.
    pub fn with_docker(staging: &Path) -> Sandbox {
        Sandbox::of_kind("docker", staging)
    }

    fn of_kind(kind: &str, staging: &Path) -> Sandbox {
        let scratch = tempfile::tempdir().expect("a folder");
        let mut sandbox = Sandbox { scratch, staging: staging.to_path_buf(), raised: Value::Null };
        let up = Command::new(staging)
            .args(["up", "--kind", kind, "--dir"])
            .arg(sandbox.place())
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        sandbox.raised = serde_json::from_slice(&up.stdout).expect("one JSON line");
        for dir in ["home", "tmp"] {
            fs::create_dir_all(sandbox.operator().join(dir)).expect("a folder");
        }
        sandbox
    }

    /// Where the VPS is.
    pub fn place(&self) -> PathBuf {
        self.scratch.path().join("vps")
    }

    /// The operator's machine: home, temporary files, and the project as it was cloned.
    pub fn operator(&self) -> PathBuf {
        self.scratch.path().join("operator")
    }

    pub fn number(&self, key: &str) -> u64 {
        self.raised[key].as_u64().unwrap_or_else(|| panic!("{key} is missing"))
    }

    pub fn raised(&self, key: &str) -> &str {
        self.raised[key].as_str().unwrap_or_else(|| panic!("{key} is missing"))
    }

    /// The shell command that strikes (or mends) a fault, where this machine can do it to the VPS.
    pub fn fault(&self, name: &str, doing: &str) -> Option<&str> {
        self.raised["faults"][name][doing].as_str()
    }

    /// All that `staging up` told of it.
    pub fn told(&self) -> Value {
        self.raised.clone()
    }

    pub fn env_file(&self) -> PathBuf {
        Path::new(self.raised("project_dir")).join(".env")
    }

    pub fn present_password(&self) -> String {
        let text = fs::read_to_string(self.env_file()).expect(".env");
        let line = text.lines().find_map(|line| line.strip_prefix("SILVER_POSTGRES_PASSWORD="));
        line.expect("the variable").trim_matches(['"', '\'']).to_string()
    }

    /// The project on the operator's machine, as it was cloned, with the host's variables.
    pub fn project(&self) -> PathBuf {
        // Locks are named after it.
        let project = self.operator().join(self.raised("name"));
        fs::remove_dir_all(&project).ok();
        clone(&project);
        let vars = project.join("inventory/staging/host_vars/vps/raised.yml");
        fs::copy(self.place().join("raised.yml"), vars).expect("host variables");
        project
    }

    pub fn rotate(&self, case: &Case, new: &str) -> Ran {
        let project = self.project();
        for (path, text) in &case.files {
            fs::write(project.join(path), text).expect("a file");
        }
        // The operator's own file holds the new password on purpose.
        let given = self.scratch.path().join("given.yml");
        fs::write(&given, format!("new_password: {new}\n")).expect("a file");
        let since = SystemTime::now();
        let ran = Command::new(env!("CARGO_BIN_EXE_seqn-play"))
            .args(["rotate-db-password.yml", "-i", "staging", "-e", "database=silver", "-vvv", "--diff"])
            // Otherwise the task that stops them would be skipped.
            .args(["-e", "stop_writes=true"])
            .arg("-e")
            .arg(format!("@{}", given.display()))
            .current_dir(&project)
            .env("HOME", self.operator().join("home"))
            .env("TMPDIR", self.operator().join("tmp"))
            .env("NO_COLOR", "1")
            .env("SEQN_AGE_IDENTITY", crate::support::identity())
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        Ran { said, code: ran.status.code().unwrap_or(-1), since }
    }

    /// Files written since then, on the host and on the operator's machine, but `.env` and what
    /// Docker keeps of a service's environment.
    pub fn files(&self, since: SystemTime) -> Vec<PathBuf> {
        let run = Path::new("/tmp").join(self.raised("name"));
        let anywhere = ["/tmp", "/var/tmp", "/dev/shm", "/run"].map(PathBuf::from);
        let mut files = changed_files(&[self.place(), self.operator(), run], since);
        files.extend(anywhere.iter().flat_map(|dir| files_in(dir, since)));
        let docker = |path: &Path| path.ends_with("container.json") && path.starts_with(self.place());
        files.retain(|path| *path != self.env_file() && !docker(path));
        files
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = Command::new(&self.staging)
            .args(["down", "--dir"])
            .arg(self.place())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        fs::remove_dir_all(Path::new("/var/tmp/seqn-play").join(self.raised("name"))).ok();
    }
}

/// The project as an operator cloned it.
pub fn clone(project: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["playbooks", "roles", "inventory"] {
        copy(&root.join(folder), &project.join(folder));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}
