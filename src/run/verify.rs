//! Whether the audit trail and the journals of a project are as they were written.

use std::collections::BTreeSet;

use crate::secret::Error;

use super::audit::{Trail, What};
use super::journal::{self, End};
use super::record::Record;
use super::store::{Store, Stored};

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Verified {
    pub lines: usize,
    pub runs: usize,
    pub wrong: Vec<String>,
}

/// # Errors
/// Something can't be read.
pub fn verify(store: &Store) -> Result<Verified, Error> {
    let audit = store.audit();
    let trail = audit.read().map_err(|e| Error::io("read", audit.path(), &e))?;
    let mut verified = Verified { lines: trail.lines.len(), ..Verified::default() };
    for (line, why) in &trail.wrong {
        let whose =
            trail.lines[line - 1].as_ref().map(|l| format!(" (of run {})", l.run)).unwrap_or_default();
        verified.wrong.push(format!("the audit trail, line {line}{whose}: {why}"));
    }
    let mut here: BTreeSet<String> = BTreeSet::new();
    let mut longest: Option<(u64, String)> = None;
    for run in store.all() {
        verified.runs += 1;
        here.insert(run.id.clone());
        let (records, sums) = read(&run)?;
        if let End::Damaged { line, why } = &run.end {
            verified.wrong.push(format!("the journal of run {}, line {line}: {why}", run.id));
        }
        if run.taken_in {
            continue;
        }
        for record in &records {
            if let Record::Audited { lines, sum } = record {
                let known = usize::try_from(*lines).ok().and_then(|n| trail.sums.get(n.checked_sub(1)?));
                match known {
                    Some(known) if known == sum => {}
                    Some(_) => verified.wrong.push(format!(
                        "the audit trail, line {lines}: it is not the one that run {} wrote there",
                        run.id
                    )),
                    None if longest.as_ref().is_none_or(|(most, _)| most < lines) => {
                        longest = Some((*lines, run.id.clone()));
                    }
                    None => {}
                }
            }
        }
        cut_journal(&trail, &run, &sums, &mut verified.wrong);
    }
    if let Some((lines, run)) = longest {
        verified.wrong.push(format!(
            "the audit trail was cut off at its end: it has {} lines, run {run} wrote line {lines}",
            trail.lines.len()
        ));
    }
    gone(&trail, &here, &mut verified.wrong);
    Ok(verified)
}

/// Every record, and the sum of every line, as far as they can be believed.
fn read(run: &Stored) -> Result<(Vec<Record>, BTreeSet<String>), Error> {
    let bytes = run.bytes()?;
    let read = journal::read::<Record>(&bytes, &run.id);
    let sums = bytes.split(|b| *b == b'\n').take(read.records.len()).map(journal::sum_of).collect();
    Ok((read.records, sums))
}

/// The trail says how far a journal went.
fn cut_journal(trail: &Trail, run: &Stored, sums: &BTreeSet<String>, wrong: &mut Vec<String>) {
    if matches!(run.end, End::Damaged { .. }) {
        return;
    }
    let mut lines = trail.lines.iter().flatten().filter(|line| line.run == run.id);
    let lost = lines.rfind(|line| line.journal.as_ref().is_some_and(|sum| !sums.contains(sum)));
    if let Some(line) = lost {
        wrong.push(format!(
            "the journal of run {} was cut off or replaced: what it held at {} is not in it",
            run.id, line.at
        ));
    }
}

/// Runs that are away although nobody pruned them.
fn gone(trail: &Trail, here: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let of = |what: What| -> BTreeSet<&String> {
        trail.lines.iter().flatten().filter(|l| l.what == what).map(|l| &l.run).collect()
    };
    let pruned = of(What::Pruned);
    for run in of(What::Begun) {
        if !here.contains(run) && !pruned.contains(run) {
            wrong.push(format!("run {run} is gone, and nobody pruned it"));
        }
    }
}
