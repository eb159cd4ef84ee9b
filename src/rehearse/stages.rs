//! What each stage does.

use std::time::Duration;

use crate::lint::lint;
use crate::report::rehearsal::{Phase, Rehearsal, Verdict, Watched};
use crate::source::Severity;

use super::case::{Baseline, QUICK};
use super::fault::{cases, shard};
use super::leaks::Searched;
use super::prediction::{self, Seen};
use super::program::{Doing, Ended, LONGEST, Place};
use super::runs::{Ran, predicted};
use super::{Rehearsing, StageName};

/// What a stage came to.
pub enum Outcome {
    /// No findings: it passed.
    Seen {
        summary: String,
        findings: Vec<String>,
    },
    Skipped(String),
}

/// What stages know of earlier ones.
#[derive(Default)]
pub struct Memory {
    pub verdicts: Vec<(StageName, Verdict)>,
    pub predicted: Option<Vec<Seen>>,
    pub check_took: Duration,
    /// In the order in which they were made.
    pub ran: Vec<Ran>,
    /// After the run check mode finds nothing to do.
    pub idempotent: bool,
    /// The place is in its first state again, as far as that can be seen.
    pub returned: bool,
    /// What hosts kept of the runs, before anything was restored.
    pub searched: Searched,
}

impl Memory {
    /// The run of a stage.
    pub fn ran(&self, stage: StageName) -> Option<&Ran> {
        self.ran.iter().find(|ran| ran.stage == stage)
    }

    /// The run of a stage, if it succeeded.
    pub fn ran_well(&self, stage: StageName) -> Option<&Ran> {
        self.ran(stage).filter(|ran| ran.fine)
    }
}

/// How long these stages will take, by how long one run and one check took: whatever is run is rolled back
/// too. A case is a run that meets a fault, what leads out of it, a look, and the way back to the first
/// state; `cases` are those that one place takes.
fn expected(stages: &[StageName], run: Duration, check: Duration, cases: u32) -> Duration {
    let under = u32::from(stages.contains(&StageName::Finish));
    let of = |stage: &StageName| match stage {
        StageName::Finish => run + check * 2,
        StageName::Again => run,
        StageName::Rollback => run * (1 + under) + check,
        StageName::Faults => (run * 2 + check) * cases,
        _ => Duration::ZERO,
    };
    stages.iter().map(of).sum()
}

pub(super) fn seen(summary: impl Into<String>, findings: Vec<String>) -> Outcome {
    Outcome::Seen { summary: summary.into(), findings }
}

pub(super) fn wrong(summary: &str, finding: impl Into<String>) -> Outcome {
    seen(summary, vec![finding.into()])
}

impl Rehearsing {
    pub(super) async fn stage(&self, stage: StageName, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if self.is_interrupted() && stage != StageName::Leaks {
            return Outcome::Skipped("the rehearsal was interrupted".into());
        }
        match stage {
            StageName::Lint => self.lint(),
            StageName::Check => self.check(memory).await,
            StageName::Run => self.run(memory, told).await,
            StageName::Prediction => predicted(memory, told),
            StageName::Finish => self.finish(memory, told).await,
            StageName::Again => self.again(memory, told).await,
            StageName::Rollback => self.rollback(memory, told).await,
            StageName::Outage => self.outage(told).await,
            StageName::Faults => self.faults(memory, told).await,
            StageName::Leaks => self.leaks(memory, told).await,
        }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.wanted.program.interrupted.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn place(&self) -> &Place {
        &self.wanted.places[0]
    }

    /// How long it will take from this stage on, once that can be guessed.
    pub(super) fn expected(&self, from: StageName, memory: &Memory) -> Option<Duration> {
        let ran = memory.ran(StageName::Run)?;
        let left: Vec<StageName> =
            self.wanted.stages.iter().copied().filter(|stage| *stage >= from).collect();
        let cases = shard(cases(&self.wanted.faults, &ran.steps), self.wanted.shard).len();
        let each = u32::try_from(cases.div_ceil(self.wanted.places.len())).unwrap_or(u32::MAX);
        let without = expected(&left, ran.took, memory.check_took, 0);
        let with = expected(&left, ran.took, memory.check_took, each);
        let most = QUICK.saturating_sub(self.began.elapsed()).max(without);
        Some(if self.wanted.quick { with.min(most) } else { with })
    }

    fn lint(&self) -> Outcome {
        let report = match lint(&self.wanted.cwd, &self.wanted.lint) {
            Ok(report) => report,
            Err(problems) => return seen("it could not look", problems.0.iter().map(told_problem).collect()),
        };
        for secret in &report.secrets {
            self.redactor.register(secret);
        }
        let errors = report.findings.iter().filter(|f| f.severity == Severity::Error);
        let findings: Vec<String> = errors.map(told_problem).collect();
        let warnings = report.count(Severity::Warning);
        let files = report.files;
        seen(
            format!(
                "{}, {}, {}",
                counted(files, "file"),
                counted(findings.len(), "error"),
                counted(warnings, "warning")
            ),
            findings,
        )
    }

    async fn check(&self, memory: &mut Memory) -> Outcome {
        let ended = match self.start("check", Doing::Check(&[])).await {
            Ok(ended) => ended,
            Err(why) => return wrong("it could not be tried", why),
        };
        if !ended.is_fine() {
            return wrong("check mode fails", ended.why());
        }
        let predicted = prediction::outcomes(&ended.told);
        let changed = predicted.iter().filter(|seen| seen.is_changed()).count();
        let unknown = predicted.iter().filter(|seen| seen.unknown.is_some()).count();
        let all = predicted.len();
        if all == 0 {
            return wrong(
                "nothing is rehearsed",
                "no task of it is run: look at --tags, --skip-tags and --limit",
            );
        }
        memory.predicted = Some(predicted);
        memory.check_took = ended.took;
        seen(format!("{changed} of {all} would change, {unknown} unknown"), Vec::new())
    }

    async fn outage(&self, told: &Rehearsal) -> Outcome {
        if self.place().endpoints.is_empty() {
            return seen("seqn_probe_endpoints names no endpoint", Vec::new());
        }
        if told.phases.is_empty() {
            return Outcome::Skipped("there was no run".into());
        }
        let mut findings = Vec::new();
        let mut longest: Option<(&Phase, &Watched)> = None;
        for (phase, watched) in told.phases.iter().flat_map(|p| p.endpoints.iter().map(move |w| (p, w))) {
            if longest.is_none_or(|(_, other)| watched.away() > other.away()) {
                longest = Some((phase, watched));
            }
            let too_long =
                watched.outages.iter().filter(|o| watched.max_outage.is_some_and(|m| o.to - o.from > m));
            findings.extend(too_long.map(|o| {
                let most = watched.max_outage.unwrap_or_default();
                let away = o.to - o.from;
                format!(
                    "{} was away for {away:.1} s in the {}, more than {most} s: {}",
                    watched.name, phase.name, o.why
                )
            }));
        }
        let summary = match longest {
            Some((phase, watched)) if !watched.outages.is_empty() => {
                format!("at most {:.1} s: {} in the {}", watched.away(), watched.name, phase.name)
            }
            _ => "no endpoint was ever away".into(),
        };
        seen(summary, findings)
    }

    async fn faults(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        let Some(ran) = memory.ran_well(StageName::Run) else {
            return Outcome::Skipped("there was no run that succeeded".into());
        };
        if !memory.returned && self.wanted.stages.contains(&StageName::Rollback) {
            return wrong(
                "the place is not in its first state",
                "faults need a place that comes back: say how with --restore COMMAND or the variable seqn_restore",
            );
        }
        if ran.one_way.is_some() && self.wanted.restore.is_none() {
            return wrong(
                "the run can't be taken back",
                "after a one-way Step only --restore COMMAND or the variable seqn_restore brings the place back",
            );
        }
        if ran.steps.is_empty() {
            return seen("the run applied no Step, so there is no boundary", Vec::new());
        }
        let baseline = Baseline {
            steps: ran.steps.clone(),
            predicted: memory.predicted.clone(),
            idempotent: memory.idempotent,
            to_finish: memory.ran_well(StageName::Finish).and_then(|finish| finish.predicted.clone()),
            // A slow host makes it longer; waiting for what is away too.
            limit: (ran.took * 20 + Duration::from_secs(180)).min(LONGEST),
        };
        let (cases, in_all) = self.all_cases(&baseline).await;
        told.cases_in_all = in_all;
        let failed = cases.iter().filter(|case| case.verdict != Verdict::Passed);
        let findings: Vec<String> = failed.map(|case| format!("{case}: {}", case.word)).collect();
        let well = cases.len() - findings.len();
        let done = cases.len();
        told.cases = cases;
        if done == 0 {
            return Outcome::Skipped(format!("none of the {} was tried", counted(in_all, "case")));
        }
        seen(format!("{well} of {done} led to a place that is well ({in_all} cases in all)"), findings)
    }

    async fn leaks(&self, memory: &mut Memory, told: &Rehearsal) -> Outcome {
        let mut searched = std::mem::take(&mut memory.searched);
        searched.folder(&self.wanted.folder, &self.redactor);
        let hosts = self.hosts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        for place in self.used() {
            for (name, connection) in &hosts {
                searched.host(name, connection, &place.project, &self.redactor).await;
            }
            searched.commands(place, "at the end", &self.redactor).await;
        }
        // What is about to be written of this rehearsal passes the Redactor, and is looked at all the same.
        match told.redacted(&self.redactor) {
            Ok(shown) => {
                for form in &crate::report::rehearsal::FORMS {
                    searched.look(form.file, (form.write)(&shown).as_bytes(), &self.redactor);
                }
            }
            Err(why) => searched.found.push(format!("the result can't be searched: {why}")),
        }
        let mib = searched.bytes as f64 / f64::from(1 << 20);
        let summary = format!("{} ({mib:.1} MiB) searched", counted(searched.files, "file"));
        seen(summary, searched.found)
    }

    pub(super) async fn start(&self, name: &str, doing: Doing<'_>) -> Result<Ended, String> {
        self.wanted.program.start(name, self.place(), doing, None, LONGEST).await
    }
}

/// `1 file`, `2 files`
pub(super) fn counted(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

fn told_problem(problem: &crate::source::Diagnostic) -> String {
    let at = problem.span.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("error[{}]: {}{at}", problem.code, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_mostly_cases() {
        let (run, check) = (Duration::from_secs(4), Duration::from_secs(1));
        let left = |from, cases| {
            let stages: Vec<StageName> = StageName::ALL.into_iter().filter(|stage| *stage >= from).collect();
            expected(&stages, run, check, cases).as_secs()
        };
        assert_eq!(left(StageName::Again, 0), 4 + 5);
        assert_eq!(left(StageName::Again, 300), 4 + 5 + 9 * 300);
        assert_eq!(left(StageName::Finish, 0), 6 + 4 + 9);
        assert_eq!((left(StageName::Faults, 300), left(StageName::Leaks, 300)), (2700, 0));
    }
}
