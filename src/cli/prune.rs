//! `seqn-play runs prune`: removes runs, here and on the hosts that they changed.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::engine::prune::{self, Means};
use crate::module::Failure;
use crate::remote::Connections;
use crate::report::Paint;
use crate::run::audit::{Line, What};
use crate::run::history::State;
use crate::run::recorder::now;
use crate::run::store::{Store, Stored};
use crate::secret::{Error, Identities};
use crate::source::Diagnostics;

use super::run_log::{self, RunFlags};
use super::setup::{self, Outputs};

/// Which runs, and how.
#[derive(Debug, Args)]
pub struct Prune {
    /// Those older than so many days
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// All but so many of the newest
    #[arg(long, value_name = "NUMBER")]
    keep: Option<usize>,
    /// Only here: what they left on hosts stays there
    #[arg(long)]
    local: bool,
    /// Age identity that opens the runs
    #[arg(long, value_name = "FILE")]
    age_identity: Vec<PathBuf>,
    #[command(flatten)]
    pub flags: RunFlags,
}

impl Prune {
    /// Removes runs of which nothing is open any more; whether all of those could be.
    ///
    /// # Errors
    /// It isn't said which, or the store can't be written.
    pub fn run(&self, store: &Store, outputs: &Outputs) -> Result<bool, Diagnostics> {
        let wrong = |e: Error| setup::problem("run", &e);
        if self.older_than.is_none() && self.keep.is_none() {
            let unsaid = Error::refused("say which runs: --older-than DAYS, --keep NUMBER, or both");
            return Err(wrong(unsaid));
        }
        let mut runs = store.all();
        runs.reverse();
        let (mut removed, mut stay) = (0, 0);
        let identities = OnceCell::new();
        for run in runs.iter().skip(self.keep.unwrap_or(0)).filter(|run| self.is_meant(run)) {
            if !self.local
                && let Err(why) = self.on_hosts(store, run, &identities, outputs)
            {
                stay += 1;
                let message =
                    format!("[WARNING]: run {} stays: {}", run.id, outputs.redactor.redact(&why.message));
                outputs.screen.error_line(Paint::Warning, &message);
                if let Some(help) = why.help {
                    outputs.screen.error_line(Paint::Warning, &format!("  {help}"));
                }
                continue;
            }
            self.audit(store, run).map_err(wrong)?;
            store.remove(run).map_err(wrong)?;
            removed += 1;
        }
        let left = runs.len() - removed;
        outputs.screen.line(Paint::Plain, &format!("removed: {removed}; {left} are left"));
        if stay > 0 {
            let local = "`--local` removes a run here, and leaves on hosts what it left there.";
            outputs.screen.error_line(Paint::Warning, local);
        }
        Ok(stay == 0)
    }

    fn is_meant(&self, run: &Stored) -> bool {
        let settled = matches!(run.state(), State::Finished | State::RolledBack | State::Abandoned)
            || (run.state() == State::Failed && !run.history.is_open());
        let is_old = || {
            let Some(days) = self.older_than else { return true };
            chrono::DateTime::parse_from_rfc3339(&run.history.last_at)
                .is_ok_and(|at| chrono::Local::now().signed_duration_since(at).num_days() >= i64::from(days))
        };
        settled && !run.alive && is_old()
    }

    /// Takes away what it left on hosts.
    fn on_hosts(
        &self,
        store: &Store,
        run: &Stored,
        identities: &OnceCell<Result<Identities, Error>>,
        outputs: &Outputs,
    ) -> Result<(), Failure> {
        if !prune::is_left(&run.history) {
            return Ok(());
        }
        // Nobody takes it back meanwhile.
        let _held = store.hold(run)?;
        // Asked for once, and only where something must be opened.
        let identities = identities.get_or_init(|| setup::identities(&self.age_identity));
        let seal = run_log::seal_of(run, identities.as_ref().map_err(Clone::clone)?)?;
        let left = prune::left_by(&run.history, &seal)?;
        let cwd = std::env::current_dir()
            .map_err(|e| Failure::new(format!("the working directory can't be told: {e}")))?;
        let mut locking = self.flags.locking(&cwd, &run.id);
        locking.own = !run.taken_in;
        let connections = Arc::new(Connections::new());
        let journal = run.bytes()?;
        let means = Means { connections: &connections, sink: &outputs.sink, locking, journal: &journal };
        let runtime = setup::runtime().map_err(|problems| Failure::new(problems.messages()))?;
        let taken = runtime.block_on(async {
            let taken = prune::take_away(&means, &left).await;
            connections.close().await;
            taken
        });
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        taken
    }

    /// The trail goes on telling of a run that is away.
    fn audit(&self, store: &Store, run: &Stored) -> Result<(), Error> {
        let begun = run.history.begun.as_ref();
        let line = Line {
            at: now(),
            what: What::Pruned,
            run: run.id.clone(),
            by: self.flags.actor(),
            reason: self.flags.reason.clone(),
            playbooks: begun.map(|b| b.playbooks.clone()).unwrap_or_default(),
            inventory: begun.map(|b| b.inventory.clone()).unwrap_or_default(),
            hosts: run.history.hosts.clone(),
            changed: Default::default(),
            taken_back: 0,
            ending: None,
            journal: None,
        };
        let audit = store.audit();
        audit.append(&line).map(drop).map_err(|e| Error::io("write", audit.path(), &e))
    }
}
