//! What a module found and the Steps that would bring the host to the wanted state.

use std::fmt;
use std::sync::Arc;

use crate::remote::{Command, Effect, Output, RemoteError, RemoteErrorKind};
use crate::source::{Map, Val};

/// What a module found, and what to do about it. No Steps: `ok`.
#[derive(Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Result values known before anything is applied (`path`, `dest`, `msg`).
    pub result: Map,
    /// From the Steps' outputs, in order, to more result values, more Steps, or a failure.
    pub finish: Option<Finish>,
    /// Observed after the Steps; one that fails fails the task.
    pub postconditions: Vec<Postcondition>,
    /// What check mode answers; by default `changed` exactly when there are Steps.
    pub check: CheckAnswer,
    /// `changed` when Steps were applied; a module whose effect isn't one (`ping`) says so.
    pub changed: Option<bool>,
    /// Shown as `[WARNING]`.
    pub warnings: Vec<String>,
    /// Before and after for `--diff`, where the Steps can't tell by themselves (SQL, API objects).
    /// File writes need none: the engine diffs them.
    pub diff: Vec<Diff>,
}

/// A pure continuation. It sees every output so far of this Plan.
pub type Finish = Box<dyn FnOnce(&[Output]) -> Result<Plan, Failure> + Send>;

/// Text before and after, under a heading such as a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    pub before_header: String,
    pub after_header: String,
    pub before: crate::source::Text,
    pub after: crate::source::Text,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum CheckAnswer {
    /// `changed` exactly when there are Steps; they go into the overlay.
    #[default]
    Steps,
    /// What Ansible's `command` does: skipped, with these result values.
    Skip(Map),
    /// Neither ok nor changed can be promised; why.
    Unknown(String),
}

/// One effect, as data.
#[derive(Clone)]
pub struct Step {
    pub effect: Effect,
    pub at: Where,
    pub kind: StepKind,
    /// For people and the journal: `write /etc/motd`, `alter role silver`. Never a secret.
    pub label: String,
    /// Whether the module can see afterwards that it happened: planned again, it finds nothing to do.
    pub observable: bool,
    /// A service may be away from its beginning on, until something shows that it is well again.
    pub interrupts: bool,
}

/// On which Target a Step is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Where {
    /// The task's host, as its become user.
    #[default]
    Host,
    /// The operator's machine.
    Operator,
}

#[derive(Clone)]
pub enum StepKind {
    /// Changes something that can be described before and after.
    Stateful(Undo),
    /// Only makes something read other state again (recreate, restart, daemon-reload). Undo runs it
    /// again.
    Derived,
    /// Changes nothing that stays (a health probe, a fetch): undo passes it by.
    Passing,
}

#[derive(Clone)]
pub enum Undo {
    /// The engine keeps what was there before and puts it back (all file effects).
    File,
    /// Apply this.
    Effect(Box<Effect>),
    /// From the effect's own output to its inverse.
    FromOutput(Inverse),
    /// There is none; the sentence says why and what a person does instead.
    OneWay(String),
}

/// From an effect's output to what undoes it.
pub type Inverse = Arc<dyn Fn(&Output) -> Option<Effect> + Send + Sync>;

/// What an output must be, or why it isn't.
pub type Check = Box<dyn FnOnce(&Output) -> Result<(), String> + Send>;

/// A command to observe after the Steps, and what its output must be.
pub struct Postcondition {
    /// `the role's verifier is the one that was sent`
    pub label: String,
    pub at: Where,
    pub command: Command,
    pub holds: Check,
}

impl Plan {
    /// The host is as wanted.
    pub fn ok() -> Plan {
        Plan::default()
    }

    pub fn step(mut self, step: Step) -> Plan {
        self.steps.push(step);
        self
    }

    /// Adds a result value.
    pub fn value(mut self, key: &str, value: impl Into<Val>) -> Plan {
        self.result.insert(Val::from(key), value.into());
        self
    }

    pub fn finish(
        mut self,
        finish: impl FnOnce(&[Output]) -> Result<Plan, Failure> + Send + 'static,
    ) -> Plan {
        self.finish = Some(Box::new(finish));
        self
    }
}

impl Step {
    /// On the task's host.
    pub fn new(label: impl Into<String>, effect: Effect, kind: StepKind) -> Step {
        let interrupts = matches!(kind, StepKind::Derived);
        Step { effect, at: Where::Host, kind, label: label.into(), observable: true, interrupts }
    }

    /// A file effect, which the engine knows how to undo.
    pub fn file(label: impl Into<String>, effect: Effect) -> Step {
        Step::new(label, effect, StepKind::Stateful(Undo::File))
    }

    pub fn derived(label: impl Into<String>, command: Command) -> Step {
        Step::new(label, Effect::Run(command), StepKind::Derived)
    }

    /// A look at the host that needs the Steps before it.
    pub fn passing(label: impl Into<String>, command: Command) -> Step {
        Step::new(label, Effect::Run(command), StepKind::Passing)
    }

    pub fn one_way(label: impl Into<String>, effect: Effect, why: impl Into<String>) -> Step {
        Step::new(label, effect, StepKind::Stateful(Undo::OneWay(why.into())))
    }

    pub fn with_inverse(label: impl Into<String>, effect: Effect, inverse: Effect) -> Step {
        Step::new(label, effect, StepKind::Stateful(Undo::Effect(Box::new(inverse))))
    }

    pub fn interrupting(self, interrupts: bool) -> Step {
        Step { interrupts, ..self }
    }

    /// Only who was there knows whether it happened: what a command did, what a server was asked.
    pub fn unobservable(self) -> Step {
        Step { observable: false, ..self }
    }
}

/// Why a module can't go on: the task fails (or the host is unreachable).
#[derive(Debug, Clone)]
pub struct Failure {
    pub message: String,
    pub help: Option<String>,
    pub unreachable: bool,
    /// Result values beside `msg` (`rc`, `stdout`, …).
    pub result: Map,
    /// The place in the source that is at fault, where one is.
    pub diagnostic: Option<Box<crate::source::Diagnostic>>,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            help: None,
            unreachable: false,
            result: Map::new(),
            diagnostic: None,
        }
    }

    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    pub fn value(mut self, key: &str, value: impl Into<Val>) -> Failure {
        self.result.insert(Val::from(key), value.into());
        self
    }
}

impl From<RemoteError> for Failure {
    fn from(e: RemoteError) -> Failure {
        Failure {
            unreachable: e.kind == RemoteErrorKind::Unreachable,
            message: e.message,
            help: e.help,
            result: Map::new(),
            diagnostic: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Failure {}

impl From<crate::secret::Error> for Failure {
    fn from(e: crate::secret::Error) -> Failure {
        let failure = Failure::new(e.message);
        match e.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}
