//! The way back to the first state: the runs are rolled back newest first.

use crate::report::rehearsal::Rehearsal;

use super::managed;
use super::phase::phase;
use super::program::{Doing, Ended};
use super::runs::Ran;
use super::stages::{Memory, Outcome, counted, seen, wrong};
use super::{Rehearsing, StageName};

impl Rehearsing {
    pub(super) async fn rollback(&self, memory: &mut Memory, told: &mut Rehearsal) -> Outcome {
        if memory.ran.is_empty() {
            return Outcome::Skipped("there was no run".into());
        }
        let outcome = self.newest_first(&memory.ran, told).await;
        let is_back = matches!(&outcome, Outcome::Seen { findings, .. } if findings.is_empty());
        if self.wanted.stages.contains(&StageName::Leaks) {
            // Who restores the place may take its logs away.
            memory.searched.commands(self.place(), "after the runs", &self.redactor).await;
        }
        memory.returned = is_back && memory.ran.iter().all(|ran| ran.one_way.is_none());
        if !memory.returned && self.wanted.restore.is_some() {
            let runs: Vec<&str> = memory.ran.iter().map(|ran| ran.id.as_str()).collect();
            match self.restore(self.place(), &runs, memory.predicted.as_deref()).await {
                Ok(()) => memory.returned = true,
                Err(why) => return wrong("the place could not be restored", why),
            }
        }
        outcome
    }

    /// Until one of them must refuse: what came before stands under it.
    async fn newest_first(&self, ran: &[Ran], told: &mut Rehearsal) -> Outcome {
        let mut findings = Vec::new();
        // A run without Steps leaves nothing; the first one is asked all the same.
        for ran in ran.iter().rev().filter(|ran| ran.stage == StageName::Run || !ran.steps.is_empty()) {
            let ended = match self.taken_back(ran, told).await {
                Ok(ended) => ended,
                Err(why) => return wrong("it could not be tried", why),
            };
            match &ran.one_way {
                Some(why) => {
                    let told = must_refuse(ended.is_fine(), &ended.why(), why);
                    let said = told.as_ref().map_or("it must refuse, and say why", String::as_str);
                    let summary = match findings.is_empty() {
                        true => format!("of the {}: {said}", ran.word()),
                        false => format!("it is not the state before; of the {}: {said}", ran.word()),
                    };
                    findings.extend(told.err());
                    return seen(summary, findings);
                }
                None if !ended.is_fine() => {
                    return wrong(&format!("the {} can't be rolled back", ran.word()), ended.why());
                }
                None => findings.extend(self.otherwise_than_before(ran).await),
            }
        }
        if !findings.is_empty() {
            return seen("it is not the first state", findings);
        }
        let files = counted(ran.first().map_or(0, |first| first.first.len()), "file");
        seen(format!("{files} and all that check mode predicts are as in the first state"), findings)
    }

    async fn taken_back(&self, ran: &Ran, told: &mut Rehearsal) -> Result<Ended, String> {
        let name = match ran.stage {
            StageName::Run => "rollback".to_string(),
            stage => format!("rollback-{}", stage.name()),
        };
        let (ended, watched) = self.watched(&name, Doing::Rollback(&ran.id)).await?;
        let run = self.place().store().load(&ran.id).map_err(|why| why.message)?;
        told.phases.push(phase(&name, &ended, &run, watched));
        Ok(ended)
    }

    /// What isn't as it was before a run, now that it is taken back.
    async fn otherwise_than_before(&self, ran: &Ran) -> Vec<String> {
        let mut findings = match managed::otherwise(&ran.first).await {
            Ok(findings) => findings,
            Err(why) => vec![format!("the files can't be looked at: {why}")],
        };
        findings.extend(self.place().endpoints.not_well().await);
        let (name, more): (_, &[String]) = match ran.stage {
            StageName::Finish => ("rollback-finish-check", &self.wanted.finish),
            _ => ("rollback-check", &[]),
        };
        findings.extend(self.predicts_as_before(name, self.place(), more, ran.predicted.as_deref()).await);
        findings
    }
}

/// Whether a rollback refused because of a one-way Step, and said why.
///
/// # Errors
/// It didn't.
pub fn must_refuse(is_fine: bool, said: &str, why: &str) -> Result<String, String> {
    match !is_fine && said.contains("can't be taken back") {
        true => Ok(format!("rollback refuses, as it must: {}", why.lines().next().unwrap_or_default())),
        false => Err(format!("rollback must refuse ({why}): {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_one_way_step_it_must_refuse_and_say_so() {
        let why = "`send it` can't be taken back: it is sent\nmore";
        let refused = must_refuse(false, why, why);
        assert_eq!(
            refused,
            Ok("rollback refuses, as it must: `send it` can't be taken back: it is sent".into())
        );
        for (is_fine, said) in [(true, why), (true, ""), (false, "the host is away")] {
            let wrong = must_refuse(is_fine, said, why).expect_err("it must refuse");
            assert!(wrong.starts_with("rollback must refuse (`send it`"), "{wrong}");
        }
    }
}
