//! What every host did: the numbers of PLAY RECAP.

use std::sync::Mutex;

use indexmap::IndexMap;

use super::event::{HostStats, Outcome, Status};

/// What every host did.
#[derive(Debug, Default)]
pub struct Stats(Mutex<IndexMap<String, HostStats>>);

/// How a failure was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Stands,
    Ignored,
    Rescued,
}

impl Stats {
    pub fn count(&self, host: &str, outcome: &Outcome, taken: Taken) {
        let mut all = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let stats = all
            .entry(host.to_string())
            .or_insert_with(|| HostStats { host: host.into(), ..Default::default() });
        let changed = outcome.result.get("changed").and_then(crate::source::Val::as_bool) == Some(true);
        match (outcome.status, taken) {
            (Status::Ok, _) => stats.ok += 1,
            (Status::Changed, _) => {
                stats.ok += 1;
                stats.changed += 1;
            }
            (Status::Skipped, _) => stats.skipped += 1,
            (Status::Unreachable, Taken::Ignored) => {
                stats.skipped += 1;
                stats.ignored += 1;
            }
            (Status::Unreachable, _) => stats.unreachable += 1,
            (Status::Failed, Taken::Stands) => stats.failed += 1,
            (Status::Failed, Taken::Rescued) => stats.rescued += 1,
            (Status::Failed, Taken::Ignored) => {
                stats.ok += 1;
                stats.ignored += 1;
                stats.changed += u64::from(changed);
            }
        }
        stats.unknown += u64::from(outcome.unknown.is_some());
    }

    /// In the order in which the hosts first did something.
    pub fn all(&self) -> Vec<HostStats> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).values().cloned().collect()
    }
}
