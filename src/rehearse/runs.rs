//! The runs of the first place: the run, what finishes it, and the run again. And what check mode said
//! before.

use std::time::Duration;

use crate::report::rehearsal::{Rehearsal, Watched};

use super::case::way_back;
use super::fault::Boundary;
use super::managed::{self, Managed};
use super::phase::phase;
use super::prediction::{self, Seen};
use super::program::{Doing, Ended};
use super::stages::{Memory, Outcome, counted, seen, wrong};
use super::{Rehearsing, StageName};

/// A run, and what is known of it.
pub struct Ran {
    /// What made it, and what it is called by.
    pub stage: StageName,
    pub id: String,
    pub seen: Vec<Seen>,
    pub fine: bool,
    /// Of one that isn't fine.
    pub why: String,
    pub took: Duration,
    /// Its Steps, in the order applied.
    pub steps: Vec<Boundary>,
    /// The files that it managed, as they were before it.
    pub first: Vec<Managed>,
    /// Why it can't be taken back.
    pub one_way: Option<String>,
    /// By check mode, right before it.
    pub predicted: Option<Vec<Seen>>,
}

impl Ran {
    /// What it is called in a sentence.
    pub fn word(&self) -> &'static str {
        match self.stage {
            StageName::Finish => "finishing run",
            StageName::Again => "second run",
            _ => "run",
        }
    }

    fn summary(&self) -> String {
        let changed = self.seen.iter().filter(|seen| seen.is_changed()).count();
        format!("{changed} of {} changed, by {}", self.seen.len(), counted(self.steps.len(), "Step"))
    }
}

impl Rehearsing {
    pub(super) async fn run(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if memory.predicted.is_none() && self.wanted.stages.contains(&StageName::Check) {
            return Outcome::Skipped("check mode failed".into());
        }
        let mut ran = match self.make(StageName::Run, memory, told).await {
            Ok(ran) => ran,
            Err(outcome) => return outcome,
        };
        ran.predicted = memory.predicted.clone();
        let outcome = seen(ran.summary(), self.not_well_after(&ran).await);
        memory.ran.push(ran);
        outcome
    }

    /// The playbook once more, with the flags that finish what the run began.
    pub(super) async fn finish(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if memory.ran_well(StageName::Run).is_none() {
            return Outcome::Skipped("there was no run that succeeded".into());
        }
        // What a second run would do can only be asked before: afterwards it may well begin anew.
        memory.idempotent = match self.start("finish-settled", Doing::Check(&[])).await {
            Ok(check) => {
                check.is_fine() && prediction::changed_again(&prediction::outcomes(&check.told)).is_empty()
            }
            Err(why) => return wrong("it could not be tried", why),
        };
        let predicted = match self.start("finish-check", Doing::Check(&self.wanted.finish)).await {
            Ok(check) if check.is_fine() => prediction::outcomes(&check.told),
            Ok(check) => return wrong("its check mode fails", check.why()),
            Err(why) => return wrong("it could not be tried", why),
        };
        let mut ran = match self.make(StageName::Finish, memory, told).await {
            Ok(ran) => ran,
            Err(outcome) => return outcome,
        };
        let compared = prediction::compare(&predicted, &ran.seen);
        let summary = format!("{}; of what was predicted {compared}", ran.summary());
        let mut findings = self.not_well_after(&ran).await;
        findings.extend(compared.wrong.iter().map(ToString::to_string));
        told.finish_prediction = Some(compared);
        ran.predicted = Some(predicted);
        memory.ran.push(ran);
        seen(summary, findings)
    }

    pub(super) async fn again(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if memory.ran.is_empty() || memory.ran.iter().any(|ran| !ran.fine) {
            return Outcome::Skipped("there was no run that succeeded".into());
        }
        let ran = match self.make(StageName::Again, memory, told).await {
            Ok(ran) => ran,
            Err(outcome) => return outcome,
        };
        let (fine, why) = (ran.fine, ran.why.clone());
        let meant = ran.seen.iter().filter(|seen| seen.is_changed() && seen.again).count();
        let mut findings = prediction::changed_again(&ran.seen);
        memory.ran.push(ran);
        if !fine {
            return wrong("a second run fails", why);
        }
        let number = findings.len();
        if number > 0 {
            findings.push(
                "a second run must change nothing: give the same values (-e @FILE) where they are made anew, \
                 or mark a task that is meant to change each time with `again: ok`"
                    .into(),
            );
        } else if self.wanted.finish.is_empty() {
            memory.idempotent = true;
        }
        seen(format!("{number} changed again, {meant} that are meant to"), findings)
    }

    /// Runs the playbook, watched, and opens what it kept.
    async fn make(&self, stage: StageName, memory: &Memory, told: &mut Rehearsal) -> Result<Ran, Outcome> {
        let more: &[String] = if stage == StageName::Finish { &self.wanted.finish } else { &[] };
        let name = stage.name();
        let untried = |why: String| wrong("it could not be tried", why);
        let (ended, watched) = self.watched(name, Doing::Run(more)).await.map_err(untried)?;
        let no_journal = |why: String| wrong("it kept no journal", format!("{why}\n{}", ended.why()));
        let run = self.newest(self.place()).map_err(no_journal)?;
        if memory.ran.iter().any(|earlier| earlier.id == run.id) {
            return Err(wrong("it never began", ended.why()));
        }
        told.phases.push(phase(name, &ended, &run, watched));
        let kept = self.learn(&run).and_then(|seal| {
            let first = managed::first_state(&run.history, &seal)?;
            Ok((first, way_back(&run.history, &seal).err()))
        });
        let (first, one_way) = kept.map_err(|why| wrong("its journal can't be opened", why))?;
        Ok(Ran {
            stage,
            id: run.id,
            seen: prediction::outcomes(&ended.told),
            fine: ended.is_fine(),
            why: ended.why(),
            took: ended.took,
            steps: run.history.steps.iter().map(|step| Boundary::of(&step.intent)).collect(),
            first,
            one_way,
            predicted: None,
        })
    }

    /// Why it failed; else which endpoints it left unwell.
    async fn not_well_after(&self, ran: &Ran) -> Vec<String> {
        if ran.fine { self.place().endpoints.not_well().await } else { vec![ran.why.clone()] }
    }

    /// The program, with the prober looking on.
    pub(super) async fn watched(
        &self,
        name: &str,
        doing: Doing<'_>,
    ) -> Result<(Ended, Vec<Watched>), String> {
        let prober = self.place().endpoints.watch();
        let ended = self.start(name, doing).await;
        let watched = prober.stop().await;
        Ok((ended?, watched?))
    }
}

pub(super) fn predicted(memory: &Memory, told: &mut Rehearsal) -> Outcome {
    let ran = memory.ran(StageName::Run);
    let Some((ran, predicted)) = ran.and_then(|ran| Some((ran, ran.predicted.as_ref()?))) else {
        return Outcome::Skipped("there is nothing to compare".into());
    };
    told.prediction = prediction::compare(predicted, &ran.seen);
    seen(told.prediction.to_string(), told.prediction.wrong.iter().map(ToString::to_string).collect())
}
