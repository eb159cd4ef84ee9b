//! What can be done to a host, as data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HttpRequest, Stat};
use crate::secret::archive::KeyAt;
use crate::source::Text;

/// One change of a host. Each carries the state that it expects and checks it where it applies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {
    /// Replace the content of a file atomically: temporary file beside it, attributes set before
    /// content is visible, synced, renamed. An existing file's mode and owner are kept where
    /// `attributes` doesn't say otherwise.
    Write {
        path: String,
        content: Content,
        attributes: Attributes,
        expect: Expect,
        /// A shell command with `%s` for the temporary file; non-zero keeps the old file.
        #[serde(with = "crate::source::stored")]
        validate: Option<Text>,
        /// Keep the previous file as `PATH.PID.DATE~`; the output's `stdout` is its path.
        backup: bool,
    },
    /// Mode, owner, group, times of what is there.
    Attributes { path: String, attributes: Attributes, recurse: bool, follow: bool },
    /// A directory and its missing parents; existing ones keep what they have.
    Directory { path: String, attributes: Attributes },
    /// A symbolic link, or a hard one.
    Link { path: String, target: String, hard: bool, force: bool },
    /// An empty file if nothing is there, and new times.
    Touch { path: String, attributes: Attributes },
    /// Remove; a directory only with `recurse`. Nothing there is fine.
    Remove { path: String, recurse: bool },
    /// Remove the file that a [`Effect::Write`] made, wherever links led it. Nothing there is fine.
    Unmake { path: String, expect: Expect },
    /// Give the content of the file at `path` (not followed) a second name in the same folder, before
    /// something replaces or removes it: a hard link, or a synced copy where the file system has none.
    /// What is at `kept` is replaced. The output's `stdout` is what [`Effect::Restore`] wants to know:
    /// `inode mtime mode`.
    Keep { path: String, kept: String },
    /// Mode 0600 for a kept file, where it is the only name of its content by now.
    Close { kept: String },
    /// Put a kept file back over `path` (not followed), with the attributes that it had. What was put
    /// back before is fine, and so is a file that nothing replaced.
    Restore {
        kept: String,
        path: String,
        inode: u64,
        /// Seconds since the epoch.
        mtime: i64,
        /// Octal.
        mode: String,
        expect: Expect,
    },
    /// Move `from` over `path` on the same host.
    Rename { from: String, path: String },
    /// Run a command; a non-zero status is an output, not an error.
    Run(Command),
    /// Send a request as the host's network sees it. The output's `stdout` is the response
    /// ([`HttpResponse::from_output`](super::HttpResponse::from_output)). Applied by
    /// [`Target::apply`](super::Target::apply), the same way for every transport.
    /// It can't be kept: what a request did has no inverse.
    #[serde(skip)]
    Http(Arc<HttpRequest>),
    /// Stream a file of the host to `to` on the operator's machine, atomically; missing folders are
    /// made. The output's `stdout` is the SHA-256 of what was written. Applied by
    /// [`Target::apply`](super::Target::apply).
    Fetch { from: String, to: PathBuf },
    /// Decrypt an archive of the host on the operator's machine and give the plaintext to a command of
    /// the host on its standard input. The output is the command's; nothing but the command keeps the
    /// plaintext. Applied by [`Target::apply`](super::Target::apply).
    Feed {
        archive: String,
        /// On the operator's machine.
        key: KeyAt,
        /// For `/bin/sh`; it must hold no secret.
        script: String,
    },
}

impl Effect {
    /// Whether its host notes what becomes of it
    /// ([`Target::apply_as`](super::Target::apply_as)): it does it by itself.
    pub fn is_noted(&self) -> bool {
        !matches!(self, Effect::Http(_) | Effect::Fetch { .. } | Effect::Feed { .. })
    }

    /// The file whose content it decides, and what it wants to find there.
    pub fn writes(&self) -> Option<(&str, &Expect)> {
        match self {
            Effect::Write { path, expect, .. }
            | Effect::Unmake { path, expect }
            | Effect::Restore { path, expect, .. } => Some((path, expect)),
            _ => None,
        }
    }
}

/// How an effect on a file ends on its host that doesn't find what it expects, and touches nothing.
pub const CONFLICT: i32 = 9;

/// What a stateful effect wants to find; anything else fails without touching it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    Anything,
    Absent,
    /// SHA-256 of the content, lower-case hex.
    Sha256(String),
}

/// Where bytes come from. Never a big buffer held in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Content {
    Text(#[serde(with = "crate::source::stored")] Text),
    Bytes(#[serde(with = "crate::source::stored")] Arc<[u8]>),
    /// A file of the operator's machine, streamed.
    Operator {
        path: PathBuf,
        size: u64,
    },
    /// A file of the same host, copied there.
    Host {
        path: String,
    },
}

/// What is not given stays as it is (a new file: as the umask says).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// Octal or symbolic, as `chmod` takes it.
    pub mode: Option<String>,
    pub owner: Option<String>,
    pub group: Option<String>,
    /// Seconds since the epoch.
    pub mtime: Option<f64>,
    pub atime: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Command {
    pub program: Program,
    pub chdir: Option<String>,
    #[serde(with = "crate::source::stored")]
    pub env: Vec<(String, Text)>,
    /// Given on the command's standard input; otherwise that is /dev/null.
    #[serde(with = "crate::source::stored")]
    pub stdin: Option<Text>,
    /// Octal.
    pub umask: Option<String>,
    /// The command's whole process group is ended after this.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Program {
    /// No shell sees it.
    Argv(#[serde(with = "crate::source::stored")] Vec<Text>),
    /// A script for `executable` (`/bin/sh`).
    Shell {
        #[serde(with = "crate::source::stored")]
        script: Text,
        executable: String,
    },
}

impl Command {
    pub fn argv<T: Into<Text>>(argv: impl IntoIterator<Item = T>) -> Command {
        Command::new(Program::Argv(argv.into_iter().map(Into::into).collect()))
    }

    /// A script for `/bin/sh`.
    pub fn shell(script: impl Into<Text>) -> Command {
        Command::new(Program::Shell { script: script.into(), executable: "/bin/sh".into() })
    }

    pub fn new(program: Program) -> Command {
        Command { program, chdir: None, env: Vec::new(), stdin: None, umask: None, timeout: None }
    }

    pub fn stdin(mut self, text: impl Into<Text>) -> Command {
        self.stdin = Some(text.into());
        self
    }

    pub fn chdir(mut self, dir: impl Into<String>) -> Command {
        self.chdir = Some(dir.into());
        self
    }

    pub fn timeout(mut self, limit: Duration) -> Command {
        self.timeout = Some(limit);
        self
    }
}

/// What a command (or the shell behind another effect) said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Exit status, 128 + N for a signal.
    pub status: i32,
    #[serde(with = "crate::source::stored")]
    pub stdout: Vec<u8>,
    #[serde(with = "crate::source::stored")]
    pub stderr: Vec<u8>,
    pub duration: Duration,
    /// The host's clock when it began, seconds since the epoch, where measured.
    pub started: Option<f64>,
    /// What is at the effect's `path` (not followed) after a file effect; `None` where nothing is.
    #[serde(skip)]
    pub stat: Option<Arc<Stat>>,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status == 0
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}
