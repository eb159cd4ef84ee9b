//! What a journal tells, record by record. Docs: docs/journal.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::playbook::Item;
use crate::remote::{Connection, Effect, Output};
use crate::source::{Map, Text, Val};

use super::seal::Sealed;

/// The version of the format. Raised when an older program would misread a record.
pub const FORMAT: u32 = 2;

/// What an Instance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Changed,
    Skipped,
    Failed,
    Unreachable,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Changed => "changed",
            Status::Skipped => "skipped",
            Status::Failed => "failed",
            Status::Unreachable => "unreachable",
        }
    }
}

/// One line of a journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first.
    Begun(Box<Begun>),
    /// What the operator was asked before the run: the answer, by the name of the question.
    Answered { name: String, value: Option<Sealed> },
    /// The playbook takes hosts on; what is written here says which the run may touch.
    Play { name: String, hosts: Vec<String> },
    /// A host is locked for the run, and the journal is kept there.
    Locked {
        host: String,
        /// What the lock is named after.
        project: String,
        /// How the host is reached: a [`Connection`].
        reached: Option<Sealed>,
    },
    /// A Step is about to be applied. On disk before it is.
    Intent(Box<Intent>),
    /// A Step was applied. On disk before the next one.
    Done(Done),
    /// What an Instance came to.
    Outcome(Box<Recorded>),
    /// A transaction begins to take back what a host did below a path.
    Undoing { below: String, host: String },
    /// A Step was taken back, or couldn't be.
    Undone { step: StepId, label: String, error: Option<String> },
    /// All of it is taken back: nothing that this host did below the path stands.
    Void { below: String, host: String },
    /// Somebody goes on with the run (`resume`) or back (`rollback`).
    Continued { at: String, by: String, back: bool },
    /// The program came to its end.
    Ended { at: String, ending: Ended },
    /// Somebody decided that it stays as it is.
    Abandoned { at: String, by: String, reason: String },
    /// How far the audit trail went when it was told of the record before.
    Audited { lines: u64, sum: String },
}

/// How the program came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Fine,
    Failed,
    Interrupted,
    RolledBack,
    /// Something could not be taken back.
    NotRolledBack,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begun {
    pub format: u32,
    /// The program's version.
    pub version: String,
    pub run: String,
    pub at: String,
    pub by: String,
    pub reason: Option<String>,
    pub playbooks: Vec<String>,
    pub inventory: Vec<String>,
    /// The folder that it was typed in.
    pub cwd: String,
    /// The command line, which may hold values.
    pub command: Option<Sealed>,
    /// The key of the run, encrypted to the recipients; without one nothing secret is kept, and the
    /// run can't be gone on with or back.
    pub key: Option<String>,
    pub recipients: Vec<String>,
    /// What was read: file and SHA-256.
    pub sources: BTreeMap<String, String>,
    /// Hosts that its plays name.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Who else is told of it: folders of notes and hooks.
    #[serde(default)]
    pub told: Option<Sealed>,
}

/// Which Step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepId {
    /// The Instance's id.
    pub instance: String,
    /// From 1; an Instance that is retried or gone on with makes another attempt.
    pub attempt: u32,
    /// From 0, over the Plan and its continuations.
    pub part: u32,
}

/// A Step that is about to be applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intent {
    pub step: StepId,
    pub at: String,
    pub host: String,
    /// The host that it is applied to; `None`: the operator's machine.
    pub target: Option<String>,
    pub task: String,
    pub label: String,
    pub nature: Nature,
    /// It changes nothing, as its task says.
    #[serde(default)]
    pub looks: bool,
    /// Its host notes what becomes of it.
    #[serde(default)]
    pub noted: bool,
    /// The content that it replaces or removes stays beside the file, since it is too large for `kept`.
    #[serde(default)]
    pub beside: bool,
    pub kept: Option<Sealed>,
}

/// How long what hosts noted is believed in: they clean /var/tmp after 30 days (tmpfiles.d(5)), and
/// nothing noted would look like never begun.
const NOTES_LAST: chrono::TimeDelta = chrono::TimeDelta::days(14);

impl Intent {
    /// Whether its host can tell what became of it.
    pub fn is_noted(&self) -> bool {
        let at = chrono::DateTime::parse_from_rfc3339(&self.at).ok();
        self.noted && at.is_some_and(|at| chrono::Local::now().signed_duration_since(at) < NOTES_LAST)
    }
}

/// What can be said about a Step of which only the intent is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// Whether it happened can be seen on the host: its module finds nothing left to do.
    Observable,
    /// Doing it again does no harm (recreate, restart).
    Repeatable,
    /// Only who was there knows (a command, a request).
    Unobservable,
}

/// What a Step needs to be gone on with or taken back; sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The Instance's arguments as they were rendered.
    #[serde(with = "crate::source::stored")]
    pub args: Val,
    /// What a file effect expects to find.
    pub expects: Option<crate::remote::Expect>,
    pub back: Back,
    /// How the host was reached; `None`: the operator's machine.
    pub connection: Option<Connection>,
}

/// How a Step is taken back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Back {
    /// In this order.
    Effects(Vec<Effect>),
    /// A derived Step: runs again once the state it reads is restored.
    Again(Box<Effect>),
    /// It can't be; the sentence says what a person does.
    OneWay(String),
    /// The task's own `undo:`, which is in the playbook.
    Tasks(#[serde(skip)] Vec<Item>),
    /// It left nothing.
    Nothing,
}

impl Back {
    /// The files that hold what is put back, beside those that they belong to.
    pub fn beside(&self) -> impl Iterator<Item = &str> {
        let effects = match self {
            Back::Effects(effects) => effects.as_slice(),
            _ => &[],
        };
        effects.iter().filter_map(|effect| match effect {
            Effect::Restore { kept, .. } => Some(kept.as_str()),
            _ => None,
        })
    }
}

/// A Step was applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    pub step: StepId,
    pub at: String,
    pub status: i32,
    /// What it said, as a [`Said`].
    pub kept: Option<Sealed>,
}

/// What an applied Step said, and what only that tells; sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Said {
    /// Not of a Step whose effect can be seen on the host.
    pub output: Option<Output>,
    /// Where only the output tells how it is taken back.
    pub back: Option<Back>,
}

/// What an Instance came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    pub instance: String,
    pub at: String,
    pub host: String,
    pub task: String,
    pub status: Status,
    /// Something was changed; also where it failed after that.
    pub changed: bool,
    /// The failure is the run's: neither ignored nor met by a rescue.
    pub stands: bool,
    /// It set variables to something secret.
    pub sets_secret: bool,
    /// Milliseconds.
    pub took: u64,
    /// A sentence for people, without secrets.
    pub message: Option<String>,
    /// A [`Remembered`].
    pub kept: Option<Sealed>,
}

/// What later tasks see of an Instance; sealed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Remembered {
    #[serde(with = "crate::source::stored")]
    pub result: Map,
    /// Secrets in it that nothing marks: only their values were known.
    #[serde(default, with = "crate::source::stored")]
    pub hidden: Vec<Text>,
    /// What of it is never hidden: names of public keys.
    #[serde(default)]
    pub public: Vec<String>,
    /// Of a module that acts on the run: its arguments, to be run again with.
    #[serde(with = "crate::source::stored")]
    pub args: Option<Val>,
}
