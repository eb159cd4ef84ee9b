//! What each stage does.

use std::time::Duration;

use crate::lint::lint;
use crate::report::rehearsal::{Phase, Rehearsal, Verdict, Watched};
use crate::source::Severity;

use super::case::{Baseline, way_back};
use super::leaks::Searched;
use super::managed::{self, Managed};
use super::phase::phase;
use super::prediction::{self, Seen};
use super::program::{Doing, Ended, LONGEST, Place};
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
    predicted: Option<Vec<Seen>>,
    check_took: Duration,
    ran: Option<Ran>,
    /// The second run.
    second: Option<String>,
    /// The place is in its first state again, as far as that can be seen.
    returned: bool,
}

/// The run that everything is about.
struct Ran {
    id: String,
    seen: Vec<Seen>,
    fine: bool,
    took: Duration,
    /// Labels of its Steps, in the order applied.
    steps: Vec<String>,
    first: Vec<Managed>,
    /// Why it can't be taken back.
    one_way: Option<String>,
}

impl Memory {
    fn has_passed(&self, stage: StageName) -> bool {
        self.verdicts.contains(&(stage, Verdict::Passed))
    }

    /// How long what is left will take, once that can be guessed.
    pub fn expected(&self, from: StageName) -> Option<Duration> {
        let took = self.ran.as_ref()?.took;
        Some(match from {
            StageName::Again => took * 2 + self.check_took,
            StageName::Rollback => took + self.check_took,
            _ => return None,
        })
    }
}

fn seen(summary: impl Into<String>, findings: Vec<String>) -> Outcome {
    Outcome::Seen { summary: summary.into(), findings }
}

fn wrong(summary: &str, finding: impl Into<String>) -> Outcome {
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
            StageName::Again => self.again(memory, told).await,
            StageName::Rollback => self.rollback(memory, told).await,
            StageName::Outage => self.outage(told).await,
            StageName::Faults => self.faults(memory, told).await,
            StageName::Leaks => self.leaks(told).await,
        }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.wanted.program.interrupted.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn place(&self) -> &Place {
        &self.wanted.places[0]
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
        let ended = match self.wanted.program.start("check", self.place(), Doing::Check, None, LONGEST).await
        {
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
        memory.predicted = Some(predicted);
        memory.check_took = ended.took;
        seen(format!("{changed} of {all} would change, {unknown} unknown"), Vec::new())
    }

    async fn run(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if memory.predicted.is_none() && self.wanted.stages.contains(&StageName::Check) {
            return Outcome::Skipped("check mode failed".into());
        }
        let (ended, watched) = match self.watched("run", Doing::Run).await {
            Ok(done) => done,
            Err(why) => return wrong("it could not be tried", why),
        };
        let run = match self.newest(self.place()) {
            Ok(run) => run,
            Err(why) => return wrong("it kept no journal", format!("{why}\n{}", ended.why())),
        };
        told.phases.push(phase("run", &ended, &run, watched));
        let kept = self.learn(&run).and_then(|seal| {
            let first = managed::first_state(&run.history, &seal)?;
            Ok((first, way_back(&run.history, &seal).err()))
        });
        let (first, one_way) = match kept {
            Ok(kept) => kept,
            Err(why) => return wrong("its journal can't be opened", why),
        };
        let steps: Vec<String> = run.history.steps.iter().map(|step| step.intent.label.clone()).collect();
        let seen_of_it = prediction::outcomes(&ended.told);
        let changed = seen_of_it.iter().filter(|seen| seen.is_changed()).count();
        let summary =
            format!("{changed} of {} changed, by {}", seen_of_it.len(), counted(steps.len(), "Step"));
        let fine = ended.is_fine();
        let mut findings = if fine { Vec::new() } else { vec![ended.why()] };
        if fine {
            findings.extend(self.endpoints.not_well().await);
        }
        memory.ran =
            Some(Ran { id: run.id, seen: seen_of_it, fine, took: ended.took, steps, first, one_way });
        seen(summary, findings)
    }

    async fn again(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if !memory.ran.as_ref().is_some_and(|ran| ran.fine) {
            return Outcome::Skipped("there was no run that succeeded".into());
        }
        let (ended, watched) = match self.watched("again", Doing::Run).await {
            Ok(done) => done,
            Err(why) => return wrong("it could not be tried", why),
        };
        match self.newest(self.place()) {
            Ok(run) => {
                told.phases.push(phase("again", &ended, &run, watched));
                if let Err(why) = self.learn(&run) {
                    return wrong("its journal can't be opened", why);
                }
                memory.second = Some(run.id).filter(|_| !run.history.steps.is_empty());
            }
            Err(why) => return wrong("it kept no journal", why),
        }
        if !ended.is_fine() {
            return wrong("a second run fails", ended.why());
        }
        let outcomes = prediction::outcomes(&ended.told);
        let meant = outcomes.iter().filter(|seen| seen.is_changed() && seen.again).count();
        let mut findings = prediction::changed_again(&outcomes);
        let number = findings.len();
        if number > 0 {
            findings.push(
                "a second run must change nothing: give the same values (-e @FILE) where they are made anew, \
                 or mark a task that is meant to change each time with `again: ok`"
                    .into(),
            );
        }
        seen(format!("{number} changed again, {meant} that are meant to"), findings)
    }

    async fn rollback(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        let Some(ran) = &memory.ran else { return Outcome::Skipped("there was no run".into()) };
        // The second run first: it was made on top of the other one.
        if let Some(second) = &memory.second
            && ran.one_way.is_none()
        {
            let ended = self.start("rollback-again", Doing::Rollback(second)).await;
            match ended {
                Ok(ended) if ended.is_fine() => {}
                Ok(ended) => return wrong("the second run can't be rolled back", ended.why()),
                Err(why) => return wrong("it could not be tried", why),
            }
        }
        let (ended, watched) = match self.watched("rollback", Doing::Rollback(&ran.id)).await {
            Ok(done) => done,
            Err(why) => return wrong("it could not be tried", why),
        };
        match self.wanted.places[0].store().load(&ran.id) {
            Ok(run) => told.phases.push(phase("rollback", &ended, &run, watched)),
            Err(why) => return wrong("its journal can't be read", why.message),
        }
        let outcome = match &ran.one_way {
            Some(why) => refused(&ended, why),
            None if !ended.is_fine() => wrong("it can't be rolled back", ended.why()),
            None => self.is_first_state(ran, memory.predicted.as_deref()).await,
        };
        let is_back = matches!(&outcome, Outcome::Seen { findings, .. } if findings.is_empty());
        memory.returned = is_back && ran.one_way.is_none();
        let id = ran.id.clone();
        if !memory.returned && self.wanted.restore.is_some() {
            let runs: Vec<&str> = [id.as_str()].into_iter().chain(memory.second.as_deref()).collect();
            match self.restore(self.place(), &runs).await {
                Ok(()) => memory.returned = true,
                Err(why) => return wrong("the place could not be restored", why),
            }
        }
        outcome
    }

    async fn is_first_state(&self, ran: &Ran, predicted: Option<&[Seen]>) -> Outcome {
        let mut findings = match managed::otherwise(&ran.first).await {
            Ok(findings) => findings,
            Err(why) => vec![format!("the files can't be looked at: {why}")],
        };
        findings.extend(self.endpoints.not_well().await);
        findings.extend(self.predicts_as_before("rollback-check", self.place(), predicted).await);
        let files = counted(ran.first.len(), "file");
        seen(format!("{files} and all that check mode predicts are as in the first state"), findings)
            .named_if_wrong("it is not the first state")
    }

    async fn outage(&self, told: &Rehearsal) -> Outcome {
        if self.endpoints.is_empty() {
            return seen("seqn_probe_endpoints names no endpoint", Vec::new());
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
        let Some(ran) = memory.ran.as_ref().filter(|ran| ran.fine) else {
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
            idempotent: memory.has_passed(StageName::Again),
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
        seen(format!("{well} of {done} led to a place that is well ({in_all} cases in all)"), findings)
    }

    async fn leaks(&self, told: &Rehearsal) -> Outcome {
        let mut searched = Searched::default();
        searched.folder(&self.wanted.folder, &self.redactor);
        let hosts = self.hosts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        for place in self.used() {
            for (name, connection) in &hosts {
                searched.host(name, connection, &place.project, &self.redactor).await;
            }
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

    /// The program, with the prober looking on.
    async fn watched(&self, name: &str, doing: Doing<'_>) -> Result<(Ended, Vec<Watched>), String> {
        let prober = self.endpoints.watch();
        let ended = self.start(name, doing).await;
        let watched = prober.stop().await;
        Ok((ended?, watched))
    }

    async fn start(&self, name: &str, doing: Doing<'_>) -> Result<Ended, String> {
        self.wanted.program.start(name, self.place(), doing, None, LONGEST).await
    }
}

impl Outcome {
    fn named_if_wrong(self, summary: &str) -> Outcome {
        match self {
            Outcome::Seen { findings, .. } if !findings.is_empty() => seen(summary, findings),
            other => other,
        }
    }
}

fn predicted(memory: &Memory, told: &mut Rehearsal) -> Outcome {
    let (Some(predicted), Some(ran)) = (&memory.predicted, &memory.ran) else {
        return Outcome::Skipped("there is nothing to compare".into());
    };
    told.prediction = prediction::compare(predicted, &ran.seen);
    let prediction = &told.prediction;
    let summary = format!(
        "{} right, {} wrong, {} unknown",
        prediction.right,
        prediction.wrong.len(),
        prediction.unknown.len()
    );
    seen(summary, prediction.wrong.iter().map(ToString::to_string).collect())
}

/// Whether a rollback refused because of a one-way Step, and said why.
fn refused(ended: &Ended, why: &str) -> Outcome {
    let says = ended.why().contains("can't be taken back");
    match ended.is_fine() || !says {
        true => wrong("it must refuse, and say why", format!("{why}\n{}", ended.why())),
        false => {
            seen(format!("it refuses, as it must: {}", why.lines().next().unwrap_or_default()), Vec::new())
        }
    }
}

/// `1 file`, `2 files`
fn counted(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

fn told_problem(problem: &crate::source::Diagnostic) -> String {
    let at = problem.span.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("error[{}]: {}{at}", problem.code, problem.message)
}
