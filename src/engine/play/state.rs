//! What is known of the hosts: while a batch runs, and from one play to the next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::engine::undo::Applied;
use crate::inventory::HostName;
use crate::source::Map;

/// What changes while a batch runs.
#[derive(Default)]
pub struct State {
    pub failed: IndexSet<HostName>,
    pub unreachable: IndexSet<HostName>,
    /// By `meta: end_host` and its kin: neither failed nor taking part.
    pub ended: IndexSet<HostName>,
    pub batch_over: bool,
    pub play_over: bool,
    /// `any_errors_fatal` or `max_fail_percentage` struck.
    pub stopped: bool,
    /// An interrupt ended a list of tasks before its end.
    pub cut: bool,
    /// How often `meta: clear_host_errors` took effect: failures from before are forgotten.
    pub clears: usize,
    /// Handler (by its index) → hosts.
    pub notified: IndexMap<usize, IndexSet<HostName>>,
    /// Role identity and host, of roles that came to their end after a task of theirs ran.
    pub(super) roles_run: HashSet<(String, HostName)>,
    /// Of roles with a task that ran: not skipped, and on a reachable host.
    pub roles_begun: HashSet<(String, HostName)>,
    pub left_roles: HashSet<(String, HostName)>,
    /// Steps in the order applied, as far as a transaction may need them.
    pub applied: HashMap<HostName, Vec<Applied>>,
    pub(super) vars_files: HashMap<HostName, Arc<Map>>,
    /// How often handlers were flushed.
    pub(super) flushes: usize,
}

impl State {
    /// How many hosts failed or are out of reach.
    pub(super) fn gone(&self) -> usize {
        self.failed.union(&self.unreachable).count()
    }
}

/// What is remembered from one play to the next.
#[derive(Debug, Default)]
pub struct Progress {
    /// `--start-at-task` was reached.
    pub started: bool,
    /// `--step` was answered with "continue".
    pub step_over: bool,
    /// Hosts that take no part in later plays.
    pub(super) failed: IndexSet<HostName>,
    pub(super) unreachable: IndexSet<HostName>,
    /// A whole batch failed, or one failure was everyone's: there are no later plays.
    pub over: bool,
    /// How many plays have begun.
    pub(super) plays: usize,
}

impl Progress {
    /// What is known of the hosts of a batch before it runs.
    pub(super) fn of(&self, batch: &[HostName]) -> State {
        let among =
            |hosts: &IndexSet<HostName>| batch.iter().filter(|h| hosts.contains(*h)).cloned().collect();
        State { failed: among(&self.failed), unreachable: among(&self.unreachable), ..State::default() }
    }

    pub(super) fn learn(&mut self, batch: &[HostName], state: &State) {
        for (known, now) in [(&mut self.failed, &state.failed), (&mut self.unreachable, &state.unreachable)] {
            known.retain(|h| !batch.contains(h));
            known.extend(now.iter().cloned());
        }
    }
}
