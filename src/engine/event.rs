//! Something that happened in a run. Every reporter only consumes these.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local};

use crate::module::plan::Diff;
use crate::remote::Traffic;
use crate::source::{Diagnostic, Map, Span, Val};

pub use crate::run::record::{Ended, Status};

/// What an Instance did, with its result values.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub status: Status,
    /// As registered: `changed`, `failed`, `msg`, `rc`, …
    pub result: Map,
    pub diff: Vec<Diff>,
    /// What was applied; only of a run that keeps a journal.
    pub steps: Vec<AppliedStep>,
    pub duration: Duration,
    /// Check mode could promise neither ok nor changed; why.
    pub unknown: Option<String>,
    /// It came to this before the run was gone on with; nothing was done for it now.
    pub recalled: bool,
}

impl Outcome {
    pub fn new(status: Status, result: Map) -> Outcome {
        Outcome {
            status,
            result,
            diff: Vec::new(),
            steps: Vec::new(),
            duration: Duration::ZERO,
            unknown: None,
            recalled: false,
        }
    }

    pub fn failed(message: impl Into<Val>) -> Outcome {
        let mut result = Map::new();
        result.insert("msg".into(), message.into());
        Outcome::new(Status::Failed, result)
    }

    pub fn skipped(reason: &str) -> Outcome {
        let mut result = Map::new();
        result.insert("skip_reason".into(), reason.into());
        Outcome::new(Status::Skipped, result)
    }

    pub fn is_failed(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unreachable)
    }

    pub fn get(&self, key: &str) -> Option<&Val> {
        self.result.get(key)
    }
}

/// A Step that was applied, as people are told of it.
#[derive(Debug, Clone)]
pub struct AppliedStep {
    pub label: String,
    pub began: DateTime<Local>,
    /// A service may be away from then on.
    pub interrupts: bool,
    pub way_back: WayBack,
}

/// What `seqn-play rollback` will do about a Step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayBack {
    Known,
    /// Leave what it did, as its task says (`one_way: ok`).
    Stays,
    /// Refuse; the sentence says why.
    None(String),
}

/// A task as reporters speak of it.
#[derive(Debug, Clone)]
pub struct TaskLabel {
    /// `role : name`, templated as far as it can be.
    pub name: String,
    /// The module as it was written.
    pub action: String,
    pub span: Span,
    pub handler: bool,
    /// A second run may change it again (`again: ok`).
    pub again: bool,
    /// Shown as RUNNING HANDLER or TASK.
    pub id: usize,
}

#[derive(Debug, Clone)]
pub enum Event {
    RunStarted {
        playbooks: Vec<String>,
        /// Of all of them.
        plays: usize,
        check: bool,
    },
    /// Once more for each further batch.
    PlayStarted {
        name: String,
        /// Of all batches.
        hosts: Vec<String>,
    },
    /// `skipping: no hosts matched`
    NoHosts {
        pattern: String,
    },
    TaskStarted(Arc<TaskLabel>),
    /// An include took effect: `included: FILE for HOSTS`.
    Included {
        file: String,
        hosts: Vec<String>,
        item: Option<Val>,
    },
    InstanceStarted {
        task: Arc<TaskLabel>,
        host: String,
    },
    /// One item of a loop is done; the whole follows as `InstanceDone`.
    ItemDone {
        task: Arc<TaskLabel>,
        host: String,
        delegate: Option<String>,
        label: Val,
        outcome: Arc<Outcome>,
        ignored: bool,
    },
    /// A retry is coming: `FAILED - RETRYING: …`.
    Retrying {
        task: Arc<TaskLabel>,
        host: String,
        left: u64,
        outcome: Arc<Outcome>,
    },
    InstanceDone {
        task: Arc<TaskLabel>,
        host: String,
        delegate: Option<String>,
        outcome: Arc<Outcome>,
        ignored: bool,
        looped: bool,
    },
    /// Steps taken back by a failed transaction.
    Undone {
        host: String,
        label: String,
        /// `None`: it worked.
        error: Option<String>,
    },
    /// What `debug`-like modules and the engine say to the operator.
    Notice {
        message: String,
    },
    /// What a `meta` task came to, at -vv.
    Meta {
        message: String,
    },
    Warning {
        message: String,
    },
    Deprecated {
        message: String,
    },
    Diagnostic(Box<Diagnostic>),
    NoMoreHosts,
    /// One Ctrl-C was seen: the current effects finish, then the run stops.
    Interrupted,
    /// A second Ctrl-C: the run ends here, whatever has begun.
    Stopped,
    /// At the end, for each host that was spoken to: all that was said.
    Traffic {
        host: String,
        traffic: Traffic,
    },
    /// At the end: what every host did.
    Recap(Vec<HostStats>),
    /// The last of a run that keeps a journal. `None`: a second Ctrl-C ended it where it was.
    RunEnded {
        ending: Option<Ended>,
    },
    /// An exchange with a host, at -vvv.
    Exchange {
        host: String,
        text: String,
    },
}

/// The line of one host in PLAY RECAP.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostStats {
    pub host: String,
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failed: u64,
    pub skipped: u64,
    pub rescued: u64,
    pub ignored: u64,
    /// Check mode: neither ok nor changed could be promised.
    pub unknown: u64,
}

/// `diff` of a result. Most modules of Ansible give one mapping, some a list of them.
pub fn diff_value(module: &str, diffs: &[Diff]) -> Val {
    let one = |d: &Diff| {
        Val::map(Map::from_iter([
            (Val::from("before_header"), Val::from(d.before_header.as_str())),
            (Val::from("after_header"), Val::from(d.after_header.as_str())),
            (Val::from("before"), Val::Text(d.before.clone())),
            (Val::from("after"), Val::Text(d.after.clone())),
        ]))
    };
    match diffs {
        [only] if !matches!(module, "blockinfile" | "copy" | "lineinfile" | "template") => one(only),
        all => Val::list(all.iter().map(one).collect()),
    }
}

/// Where the engine sends Events. Order is the order of the run.
pub trait Sink: Send + Sync {
    fn send(&self, event: Event);
}
