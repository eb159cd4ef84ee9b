//! A run that needs a rehearsal first: `seqn_rehearsed_within_days`.

use std::path::Path;

use chrono::{DateTime, Local};

use crate::report::facts::Scope;
use crate::report::rehearsal::{FORMAT, RESULT, Rehearsal};
use crate::secret::Error;

/// Whether exactly this content, narrowed by the same flags, passed a whole (or quick) rehearsal within
/// so many days.
///
/// # Errors
/// It didn't; what to type.
pub fn demand(folder: &Path, content: &str, playbook: &str, scope: &Scope, days: f64) -> Result<(), Error> {
    let all = results(folder);
    let counts = |r: &&Rehearsal| r.passed && r.format == FORMAT && is_whole(r);
    let passed = all.iter().filter(|r| counts(r) && covers(&r.scope, scope));
    let age = |r: &&Rehearsal| {
        let begun = DateTime::parse_from_rfc3339(&r.begun).ok()?;
        Some(Local::now().signed_duration_since(begun).num_seconds() as f64 / 86400.0)
    };
    let of_this: Vec<f64> = passed.filter(|r| r.content == content).filter_map(|r| age(&r)).collect();
    if of_this.iter().any(|age| (-1.0..=days).contains(age)) {
        return Ok(());
    }
    let why = match of_this.iter().copied().reduce(f64::min) {
        Some(age) => format!("the last one that passed is {age:.1} days old"),
        None if all.iter().any(|r| r.content == content && counts(&r)) => {
            "the last one that passed had other --tags, --skip-tags or --limit".into()
        }
        None if all.iter().any(|r| r.playbook == playbook && r.content != content && counts(&r)) => {
            "since the last one that passed, the playbook or one of its roles was changed".into()
        }
        None if all.iter().any(|r| r.content == content) => "none of its rehearsals passed as a whole".into(),
        None => "there is none".into(),
    };
    Err(Error::refused(format!(
        "{playbook} must have passed a rehearsal within {days} days (seqn_rehearsed_within_days), and {why}"
    ))
    .help(format!(
        "seqn-play rehearse {playbook} -i INVENTORY, on a place that may break, with the same kind of values; \
         its result goes to {}",
        folder.display()
    )))
}

/// All stages, and every fault had its chance: at some Step, or there was none to strike at.
fn is_whole(told: &Rehearsal) -> bool {
    let tried = told.cases_in_all == 0 || !told.cases.is_empty();
    told.whole && told.shard.is_none() && told.only_faults.is_empty() && tried
}

/// Whether one that was narrowed so has proven a run that is narrowed so. Hosts are other ones there: what
/// went well with all of them goes well with some.
fn covers(rehearsed: &Scope, run: &Scope) -> bool {
    let sorted = |words: &[String]| std::collections::BTreeSet::from_iter(words.iter().cloned());
    let same = |of: fn(&Scope) -> &[String]| sorted(of(rehearsed)) == sorted(of(run));
    let limit = rehearsed.limit.is_none() || rehearsed.limit == run.limit;
    same(|scope| &scope.tags) && same(|scope| &scope.skip_tags) && limit
}

fn results(folder: &Path) -> Vec<Rehearsal> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let read =
        |path: std::path::PathBuf| serde_json::from_slice(&std::fs::read(path.join(RESULT)).ok()?).ok();
    entries.filter_map(|entry| read(entry.path())).collect()
}
