//! The DSL of the integration tests: files in, command line, expected output and host state.

#![allow(dead_code)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The folder of a test: a project, which leaves nothing where locks are kept either.
pub struct Folder(TempDir);

impl std::ops::Deref for Folder {
    type Target = TempDir;
    fn deref(&self) -> &TempDir {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let name = self.0.path().file_name().expect("a name").to_string_lossy().replacen('.', "_", 1);
        std::fs::remove_dir_all(Path::new("/var/tmp/seqn-play").join(name)).ok();
    }
}

/// One run of the program in a folder of its own.
pub struct Test {
    pub dir: Folder,
    args: Vec<String>,
    pub env: Vec<(String, String)>,
    name: String,
}

/// What a run came to.
pub struct Ran {
    pub dir: Folder,
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Test {
    pub fn new() -> Test {
        Test {
            dir: Folder(tempfile::tempdir().expect("a temporary folder")),
            args: Vec::new(),
            env: Vec::new(),
            name: "seqn-play".into(),
        }
    }

    /// Writes a file below the test's folder. `DIR` in the text stands for that folder.
    pub fn file(self, path: &str, text: &str) -> Test {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text.replace("DIR", &self.dir.path().display().to_string())).expect("a file");
        self
    }

    /// A playbook of one play on this machine, with these tasks (indented by two spaces or none).
    pub fn tasks(self, tasks: &str) -> Test {
        let tasks: String = tasks.trim_matches('\n').lines().map(|l| format!("    {l}\n")).collect();
        self.file(
            "play.yml",
            &format!("- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}"),
        )
    }

    pub fn arg(mut self, arg: &str) -> Test {
        self.args.push(arg.replace("DIR", &self.dir.path().display().to_string()));
        self
    }

    pub fn args(self, args: &[&str]) -> Test {
        args.iter().fold(self, |t, a| t.arg(a))
    }

    pub fn env(mut self, name: &str, value: &str) -> Test {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Calls the program by another of its names.
    pub fn called(mut self, name: &str) -> Test {
        self.name = name.into();
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The command, ready to be started by a test that does more with it.
    pub fn command(&self) -> Command {
        let bin = PathBuf::from(env!("CARGO_BIN_EXE_seqn-play"));
        let program = match self.name.as_str() {
            "seqn-play" => bin,
            name => {
                let link = self.dir.path().join(name);
                if !link.exists() {
                    std::os::unix::fs::symlink(bin, &link).expect("a link");
                }
                link
            }
        };
        let mut command = Command::new(program);
        command
            .args(&self.args)
            .current_dir(self.dir.path())
            .env_remove("ANSIBLE_INVENTORY")
            .env("NO_COLOR", "1")
            .env("HOME", self.dir.path())
            .env("SEQN_AGE_IDENTITY", identity())
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program in the same folder with other arguments, and more in its environment.
    pub fn again(&self, args: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
        let command = self.command();
        let mut other = Command::new(command.get_program());
        other.args(args).current_dir(self.path()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => other.env(name, value),
                None => other.env_remove(name),
            };
        }
        other.envs(environment.iter().copied()).output().expect("the program runs")
    }

    /// Path and text of the newest run's journal.
    pub fn journal(&self) -> (PathBuf, String) {
        let runs = std::fs::read_dir(self.path().join(".seqn-play/runs")).expect("runs");
        let newest = runs.flatten().map(|entry| entry.path().join("journal")).max().expect("a run");
        let text = std::fs::read_to_string(&newest).expect("a journal");
        (newest, text)
    }

    /// Runs it. With no arguments: `play.yml`.
    pub fn run(mut self) -> Ran {
        if self.args.is_empty() {
            self.args.push("play.yml".into());
        }
        let output = self.command().output().expect("the program runs");
        self.ran(output)
    }

    /// What a run that the test itself started came to.
    pub fn ran(self, output: std::process::Output) -> Ran {
        let dir = self.dir.path().display().to_string();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&dir, "DIR");
        Ran {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
            dir: self.dir,
        }
    }
}

impl Ran {
    /// The exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Exit code 0.
    #[track_caller]
    pub fn success(self) -> Ran {
        self.code(0)
    }

    /// Standard output, whole.
    #[track_caller]
    pub fn stdout(self, expected: &str) -> Ran {
        assert_same("stdout", &self.stdout, expected, &self.stderr);
        self
    }

    /// Standard error, whole.
    #[track_caller]
    pub fn stderr(self, expected: &str) -> Ran {
        assert_same("stderr", &self.stderr, expected, &self.stdout);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is missing\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub fn never_says(self, text: &str) -> Ran {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{text:?} was said");
        self
    }

    /// The content of a file below the test's folder.
    #[track_caller]
    pub fn holds(self, path: &str, expected: &str) -> Ran {
        let text = std::fs::read_to_string(self.dir.path().join(path)).expect(path);
        assert_eq!(text, expected, "content of {path}");
        self
    }

    #[track_caller]
    pub fn lacks(self, path: &str) -> Ran {
        assert!(!self.dir.path().join(path).exists(), "{path} exists");
        self
    }

    /// `localhost : ok=…` of the recap.
    #[track_caller]
    pub fn recap(self, numbers: &str) -> Ran {
        let recap = recap_of(&self.stdout);
        assert!(recap.contains(numbers), "recap is {recap:?}\n--- stdout\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// An age identity of the tests: the operator's, so that runs can be gone on with.
pub fn identity() -> &'static Path {
    static IDENTITY: OnceLock<PathBuf> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity.txt");
        if !path.exists() {
            let (secret, _) = seqn_play::secret::identities::generate();
            let own = path.with_extension(std::process::id().to_string());
            std::fs::write(&own, secret.expose_bytes()).expect("an identity");
            std::fs::set_permissions(&own, Permissions::from_mode(0o600)).expect("its mode");
            std::fs::rename(&own, &path).expect("in its place");
        }
        path
    })
}

/// The last host's line of the recap, with single spaces.
pub fn recap_of(said: &str) -> String {
    let line = said.lines().rev().find(|line| line.contains(": ok=")).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Both streams.
pub fn told(output: &std::process::Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn assert_same(what: &str, got: &str, expected: &str, other: &str) {
    let (got, expected) = (got.trim_matches('\n'), expected.trim_matches('\n'));
    if got != expected {
        let diff = similar::TextDiff::from_lines(expected, got);
        panic!("{what} differs (- expected, + got)\n{}\n--- the other stream\n{other}", diff.unified_diff());
    }
}
