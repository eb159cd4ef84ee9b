//! Runs playbooks: strategy, blocks, handlers, loops, retries, serial, applying Steps.
//!
//! `play` walks the plays; `strategy` takes lists of tasks over hosts in Ansible's order; `task`
//! runs one task on all its hosts; `instance` is one task on one host; `apply` is the only code
//! that changes a host.

pub mod apply;
mod connect;
pub mod event;
pub mod fault;
mod handlers;
mod include;
mod instance;
pub mod language;
pub mod locks;
pub mod log;
mod loops;
mod meta;
pub mod own_undo;
mod play;
mod prompts;
pub mod prospects;
pub mod prune;
pub mod rollback;
mod services;
mod stats;
mod strategy;
pub mod tags;
mod task;
pub mod undo;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use crate::inventory::Limit;
use crate::module::control::Console;
use crate::playbook::{Loader, Playbook};
use crate::remote::{Connection, Connections, RemoteError, Target};
use crate::secret::{Keys, Redactor};
use crate::source::Text;
use crate::template::Templar;
use crate::vars::{Variables, Vault};

use event::{Event, Sink};
use locks::{Locking, Locks};
use log::Log;
use own_undo::OwnUndo;
use prospects::{Prospects, Way};
use undo::Undone;

use crate::run::journal::Sync;
use crate::run::record::Record;

pub use stats::Stats;

/// What the command line says about how to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub check: bool,
    /// Check mode that does nothing at all: what would really run there is unknown.
    pub preview: bool,
    /// All plays have `check_mode: true`; a task that would change a host nevertheless is refused.
    pub only_looks: bool,
    pub diff: bool,
    /// Every task is as if it said `no_log`.
    pub no_log: bool,
    /// Most hosts at once; at least 1.
    pub forks: usize,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub start_at_task: Option<String>,
    pub step: bool,
    pub force_handlers: bool,
    pub flush_cache: bool,
    pub gathering: Gathering,
    /// The number of `-v`.
    pub verbosity: u8,
    pub limit: Option<Limit>,
    pub connection: connect::Defaults,
}

pub use connect::Defaults as ConnectionDefaults;

/// When plays gather facts that don't say whether they want them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gathering {
    #[default]
    Implicit,
    /// Only plays that say `gather_facts: true`.
    Explicit,
    /// Once for each host.
    Smart,
}

/// How a run ended; Ansible's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Fine,
    Failed,
    Unreachable,
    Interrupted,
    /// An error that is no task's, such as a handler that doesn't exist.
    Error,
}

impl Ending {
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Fine => 0,
            Ending::Error => 1,
            Ending::Failed => 2,
            Ending::Unreachable => 4,
            Ending::Interrupted => 130,
        }
    }
}

/// Raised once by Ctrl-C: the current effects finish, nothing new begins.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// Everything a run needs. One per command.
pub struct Engine {
    pub options: Options,
    pub variables: Arc<Variables>,
    pub templar: Arc<Templar>,
    pub loader: Arc<Loader>,
    pub connections: Arc<Connections>,
    /// The operator's machine.
    pub operator: Target,
    pub redactor: Arc<Redactor>,
    pub vault: Vault,
    pub keys: Keys,
    /// Age identities of the operator, as text; they never go to a host.
    pub identities: Vec<Text>,
    pub sink: Arc<dyn Sink>,
    pub console: Arc<dyn Console>,
    pub interrupt: Interrupt,
    pub stats: Stats,
    /// The journal; a run in check mode has none.
    pub log: Option<Log>,
    pub locks: Locks,
    /// Where only the `undo:` of one task is run.
    own_undo: Option<OwnUndo>,
    /// What check mode saw coming.
    pub prospects: Prospects,
    /// What was asked before (`vars_prompt`), by its variable.
    pub answers: Answers,
    progress: std::sync::Mutex<play::Progress>,
    overlays: std::sync::Mutex<std::collections::HashMap<String, Target>>,
    task_ids: AtomicUsize,
}

/// The parts of an [`Engine`] that its maker gives.
pub struct Parts {
    pub options: Options,
    pub variables: Arc<Variables>,
    pub templar: Arc<Templar>,
    pub loader: Arc<Loader>,
    pub connections: Arc<Connections>,
    pub operator: Target,
    pub redactor: Arc<Redactor>,
    pub vault: Vault,
    pub keys: Keys,
    pub identities: Vec<Text>,
    pub sink: Arc<dyn Sink>,
    pub console: Arc<dyn Console>,
    pub interrupt: Interrupt,
    pub log: Option<Log>,
    pub locking: Option<Locking>,
    pub own_undo: Option<OwnUndo>,
    pub answers: Answers,
}

/// What the operator answered, by variable: asked once a command.
pub type Answers = Arc<std::sync::Mutex<std::collections::HashMap<String, crate::source::Val>>>;

impl Engine {
    pub fn new(parts: Parts) -> Engine {
        Engine {
            options: parts.options,
            variables: parts.variables,
            templar: parts.templar,
            loader: parts.loader,
            connections: parts.connections,
            operator: parts.operator,
            redactor: parts.redactor,
            vault: parts.vault,
            keys: parts.keys,
            identities: parts.identities,
            sink: parts.sink,
            console: parts.console,
            interrupt: parts.interrupt,
            stats: Stats::default(),
            log: parts.log,
            locks: Locks::new(parts.locking),
            own_undo: parts.own_undo,
            prospects: Prospects::default(),
            answers: parts.answers,
            progress: Default::default(),
            overlays: Default::default(),
            task_ids: AtomicUsize::new(0),
        }
    }

    /// Runs the plays of one playbook.
    pub async fn run(&self, playbook: &Playbook, file: &Path) -> Ending {
        self.sink.send(Event::RunStarted {
            playbooks: vec![file.file_name().unwrap_or_default().to_string_lossy().into_owned()],
            plays: playbook.plays.len(),
            check: self.options.check,
        });
        let mut ending = Ending::Fine;
        for play in &playbook.plays {
            // A host that failed is left out of later plays; the others go on.
            ending = play::worse(ending, play::run(self, play).await);
            if self.progress().over || matches!(ending, Ending::Error | Ending::Interrupted) {
                break;
            }
        }
        ending
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, play::Progress> {
        self.progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How a host is reached outside of plays.
    ///
    /// # Errors
    /// Its variables can't be rendered.
    pub fn reach(&self, host: &str) -> Result<Connection, crate::module::Failure> {
        let scope = self.variables.scope(host, &crate::vars::Layers::new());
        let hooks = services::RunHooks { engine: self };
        let cx = crate::template::RenderCx {
            names: &scope,
            search: &[],
            playbook_dir: Path::new("."),
            check_mode: false,
            hooks: &hooks,
            impure: None,
        };
        let render = |val: &crate::source::Val| Ok(self.templar.render(val, &cx)?);
        connect::settings(self, host, &scope, &Default::default(), &render)
    }

    /// Tells the reporters what every host did, and what was said to it; in check mode also what
    /// could not be taken back.
    pub async fn recap(&self) {
        for step in self.prospects.steps() {
            if let Way::Forward(why) = step.way {
                let message =
                    format!("can't be taken back: [{}] {} ({}): {why}", step.host, step.label, step.task);
                self.sink.send(Event::Notice { message });
            }
        }
        let mut hosts: Vec<_> = self.connections.traffic().await.into_iter().collect();
        hosts.retain(|(_, traffic)| traffic.round_trips > 0);
        hosts.sort_by(|a, b| a.0.cmp(&b.0));
        for (host, traffic) in hosts {
            self.sink.send(Event::Traffic { host, traffic });
        }
        self.sink.send(Event::Recap(self.stats.all()));
    }

    /// A host as one user; in check mode behind the overlay of this run.
    async fn target(&self, name: &str, connection: &Connection, check: bool) -> Result<Target, RemoteError> {
        let target = self.connections.target(name, connection).await?;
        if !check {
            return Ok(target);
        }
        Ok(self.overlaid(format!("{name}\0{}", target.user()), target))
    }

    fn operator_for(&self, check: bool) -> Target {
        match check {
            true => self.overlaid("\0operator".into(), self.operator.clone()),
            false => self.operator.clone(),
        }
    }

    fn overlaid(&self, key: String, target: Target) -> Target {
        // Where only some tasks have `check_mode: true`, others really change what they see.
        if !self.options.check {
            return crate::remote::overlay(target);
        }
        let mut overlays = self.overlays.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        overlays.entry(key).or_insert_with(|| crate::remote::overlay(target)).clone()
    }

    /// Writes a record that no effect depends on. That the journal can't be written stops the run at
    /// the next effect.
    fn note(&self, record: &Record) {
        if let Some(log) = &self.log
            && let Err(why) = log.write(record, Sync::Now)
        {
            self.warn(why.message);
        }
    }

    /// Tells and writes down that a Step was taken back; what went wrong, if it did.
    fn undone(&self, host: &str, step: Undone) -> Option<String> {
        for id in step.steps {
            let (label, error) = (step.label.clone(), step.error.clone());
            let error = error.map(|why| self.redactor.redact(&why).into_owned());
            self.note(&Record::Undone { step: id, label, error });
        }
        let wrong = step.error.as_ref().map(|why| format!("{}: {why}", step.label));
        if !step.label.is_empty() {
            self.sink.send(Event::Undone { host: host.to_string(), label: step.label, error: step.error });
        }
        wrong
    }

    fn next_task_id(&self) -> usize {
        self.task_ids.fetch_add(1, Ordering::Relaxed)
    }

    fn warn(&self, message: impl Into<String>) {
        self.sink.send(Event::Warning { message: message.into() });
    }
}
