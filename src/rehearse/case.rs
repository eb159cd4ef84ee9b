//! One fault at one boundary: what the run makes of it, and whether one command leads out.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::engine::fault::Point;
use crate::engine::rollback::{Wanted as Back, choose};
use crate::report::rehearsal::{Case as Told, FINE, Verdict};
use crate::run::history::History;
use crate::run::seal::Seal;
use crate::run::store::Stored;

use super::Rehearsing;
use super::back::must_refuse;
use super::fault::{Boundary, Case, Fault, cases, scattered, shard};
use super::leaks;
use super::managed;
use super::prediction::{self, Seen};
use super::program::{Doing, Ended, LONGEST, Place};
use super::progress::Cases;

/// A quick rehearsal begins no case that would end later. From its beginning.
pub const QUICK: Duration = Duration::from_secs(60);

/// What cases are measured by: the run that met no fault.
pub struct Baseline {
    pub steps: Vec<Boundary>,
    /// In the first state.
    pub predicted: Option<Vec<Seen>>,
    /// After it check mode finds nothing to do.
    pub idempotent: bool,
    /// What check mode says after it with the flags that finish it.
    pub to_finish: Option<Vec<Seen>>,
    /// What takes longer hangs.
    pub limit: Duration,
}

/// Whether a run can be taken back.
///
/// # Errors
/// Why it can't.
pub fn way_back(history: &History, seal: &Seal) -> Result<(), String> {
    choose(seal, history, &Back::default()).map(drop).map_err(|why| why.message)
}

impl Rehearsing {
    /// Every case of this shard, shared by the places; and how many there are in all shards.
    pub(super) async fn all_cases(&self, baseline: &Baseline) -> (Vec<Told>, usize) {
        let all = cases(&self.wanted.faults, &baseline.steps);
        let in_all = all.len();
        let chosen = shard(scattered(all), self.wanted.shard);
        let counted = Cases::new(chosen.len(), self.wanted.quick.then(|| self.began + QUICK));
        let queue: Mutex<VecDeque<(usize, Case)>> = Mutex::new(chosen.into());
        let workers = self.wanted.places.iter().map(|place| self.worker(place, &queue, &counted, baseline));
        let mut done: Vec<(usize, Told)> = futures::future::join_all(workers).await.concat();
        let left = queue.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !self.wanted.quick {
            // Who gave up left them.
            let why = match self.is_interrupted() {
                true => "not tried: the rehearsal was interrupted",
                false => "not tried: no place is in its first state any more",
            };
            done.extend(
                left.into_iter()
                    .map(|(n, case)| (n, told(&case, Verdict::Skipped, why.into(), Duration::ZERO))),
            );
        }
        done.sort_by_key(|(n, _)| *n);
        (done.into_iter().map(|(_, case)| case).collect(), in_all)
    }

    async fn worker(
        &self,
        place: &Place,
        queue: &Mutex<VecDeque<(usize, Case)>>,
        counted: &Cases,
        baseline: &Baseline,
    ) -> Vec<(usize, Told)> {
        let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop_front();
        let mut done = Vec::new();
        while counted.has_time() && !self.is_interrupted() {
            let Some((number, case)) = next() else { break };
            let began = Instant::now();
            let mut runs = Vec::new();
            let result = self.case(place, number, &case, baseline, &mut runs).await;
            let back = self.come_back(place, number, baseline, result.is_ok(), &runs).await;
            let (verdict, word) = match (result, &back) {
                (Ok(word), Ok(())) => (Verdict::Passed, word),
                (Ok(word), Err(why)) => {
                    (Verdict::Failed, format!("{word}, but the place does not come back: {why}"))
                }
                (Err(why), _) => (Verdict::Failed, why),
            };
            let text = format!("{case}: {}", word.lines().next().unwrap_or_default());
            self.progress.case(counted, &text, verdict);
            done.push((number, told(&case, verdict, word, began.elapsed())));
            if back.is_err() {
                break;
            }
        }
        done
    }

    /// How the run ended by itself, where all went well after it.
    async fn case(
        &self,
        place: &Place,
        number: usize,
        case: &Case,
        baseline: &Baseline,
        runs: &mut Vec<String>,
    ) -> Result<String, String> {
        let name = |what: &str| format!("fault-{number:04}-{what}");
        let program = &self.wanted.program;
        let spec = case.spec(&place.strikes);
        let before = place.store().all().last().map(|run| run.id.clone());
        let ran = program.start(&name("run"), place, Doing::Run(&[]), Some(&spec), baseline.limit).await;
        let mended = self.mend(place, case.fault).await;
        let run = self.newest(place).ok().filter(|run| before.as_ref() != Some(&run.id));
        runs.extend(run.as_ref().map(|run| run.id.clone()));
        let ran = ran.and_then(|ran| match &ran.struck {
            Ok(()) => Ok(ran),
            Err(why) => Err(format!("{why}\n{}", ran.why())),
        });
        let ran = match (ran, mended) {
            (Ok(ran), Ok(())) => ran,
            (ran, mended) => {
                let wrong: Vec<String> = [ran.err(), mended.err()].into_iter().flatten().collect();
                return Err(wrong.join("\n"));
            }
        };
        let Some(run) = run else { return Err(format!("it never began: {}", ran.why())) };
        let seal = self.learn(&run)?;
        let ended = ended(case.fault, &ran)?;
        match case.forward {
            true => self.forward(place, &name, &run.id, ended, baseline).await?,
            false => return self.back(place, &name, case, &run, &seal, ended, baseline).await,
        }
        Ok(ended.into())
    }

    /// What the place did by itself is over, whatever the run came to.
    async fn mend(&self, place: &Place, fault: Fault) -> Result<(), String> {
        let mut wrong = Vec::new();
        for own in place.strikes.get(&fault).into_iter().flatten() {
            wrong.extend(place.shell(&own.mend, &self.wanted.cwd).await.err());
        }
        all_well(wrong, "it can't be mended")
    }

    /// `resume` ends well, which the play's own checks of health say, and leaves nothing to do.
    async fn forward(
        &self,
        place: &Place,
        name: &dyn Fn(&str) -> String,
        run: &str,
        ended: &str,
        baseline: &Baseline,
    ) -> Result<(), String> {
        let program = &self.wanted.program;
        if ended != FINE {
            let resumed =
                program.start(&name("resume"), place, Doing::Resume(run), None, baseline.limit).await?;
            if !resumed.is_fine() {
                return Err(format!("resume fails: {}", resumed.why()));
            }
            let run = place.store().load(run).map_err(|e| e.message)?;
            self.learn(&run)?;
        }
        let mut wrong = place.endpoints.not_well().await;
        if baseline.idempotent {
            let check = program.start(&name("check"), place, Doing::Check(&[]), None, baseline.limit).await?;
            match check.is_fine() {
                true => wrong.extend(prediction::changed_again(&prediction::outcomes(&check.told))),
                false => wrong.push(format!("check mode fails: {}", check.why())),
            }
        }
        let (finish, to_finish) = (&self.wanted.finish, baseline.to_finish.as_deref());
        wrong.extend(self.predicts_as_before(&name("finish-check"), place, finish, to_finish).await);
        all_well(wrong, "not everything is as a whole run leaves it")
    }

    /// `rollback` leads to the first state, or refuses after a one-way Step and says why.
    #[allow(clippy::too_many_arguments)]
    async fn back(
        &self,
        place: &Place,
        name: &dyn Fn(&str) -> String,
        case: &Case,
        run: &Stored,
        seal: &Seal,
        ended: &str,
        baseline: &Baseline,
    ) -> Result<String, String> {
        let first = managed::first_state(&run.history, seal)?;
        let chosen = choose(seal, &run.history, &Back::default());
        let may_have_begun = chosen.iter().flatten().find_map(|chosen| chosen.if_begun());
        let one_way = match (&chosen, may_have_begun) {
            (Err(why), _) => Some(&why.message),
            (Ok(_), Some(why)) if case.point == Point::AfterEffect => Some(&why.message),
            (Ok(_), _) => None,
        };
        let program = &self.wanted.program;
        let back =
            program.start(&name("rollback"), place, Doing::Rollback(&run.id), None, baseline.limit).await?;
        let may_refuse = may_have_begun.filter(|_| !back.is_fine()).map(|why| &why.message);
        if let Some(why) = one_way.or(may_refuse) {
            let refuses = must_refuse(back.is_fine(), &back.why(), why)?;
            return Ok(format!("{ended}, {refuses}"));
        }
        if !back.is_fine() {
            return Err(format!("rollback fails: {}", back.why()));
        }
        let mut wrong = managed::otherwise(&first).await?;
        wrong.extend(place.endpoints.not_well().await);
        let predicted = baseline.predicted.as_deref();
        wrong.extend(self.predicts_as_before(&name("rollback-check"), place, &[], predicted).await);
        all_well(wrong, "rollback does not lead to the first state")?;
        Ok(ended.into())
    }

    /// The place is in its first state again, for the next case.
    async fn come_back(
        &self,
        place: &Place,
        number: usize,
        baseline: &Baseline,
        well: bool,
        runs: &[String],
    ) -> Result<(), String> {
        if self.wanted.restore.is_some() {
            let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
            return self.restore(place, &runs, baseline.predicted.as_deref()).await;
        }
        for run in runs.iter().rev() {
            let run = place.store().load(run).map_err(|e| e.message)?;
            if run.state() == crate::run::history::State::RolledBack {
                continue;
            }
            let name = format!("fault-{number:04}-return");
            let doing = Doing::Rollback(&run.id);
            let back = self.wanted.program.start(&name, place, doing, None, baseline.limit).await?;
            if !back.is_fine() {
                return Err(back.why());
            }
        }
        if well {
            return Ok(());
        }
        // Nobody knows what a case that failed left.
        let name = format!("fault-{number:04}-return-check");
        let mut wrong = self.predicts_as_before(&name, place, &[], baseline.predicted.as_deref()).await;
        wrong.extend(place.endpoints.not_well().await);
        all_well(wrong, "it is not in its first state")
    }

    /// Differences between what check mode predicts now, with these flags more, and what it predicted.
    pub(super) async fn predicts_as_before(
        &self,
        name: &str,
        place: &Place,
        more: &[String],
        predicted: Option<&[Seen]>,
    ) -> Vec<String> {
        let Some(predicted) = predicted else { return Vec::new() };
        match self.wanted.program.start(name, place, Doing::Check(more), None, LONGEST).await {
            Ok(check) if check.is_fine() => {
                prediction::differences(predicted, &prediction::outcomes(&check.told))
            }
            Ok(check) => vec![format!("check mode fails: {}", check.why())],
            Err(why) => vec![why],
        }
    }

    /// The place's own command brings it back; what runs left on it counts no more. The first time the place
    /// must look like it too: by what check mode predicts.
    pub(super) async fn restore(
        &self,
        place: &Place,
        runs: &[&str],
        predicted: Option<&[Seen]>,
    ) -> Result<(), String> {
        let Some(command) = &self.wanted.restore else { return Err("nobody said how".into()) };
        place.shell(command, &self.wanted.cwd).await?;
        let restored = runs.iter().map(ToString::to_string);
        self.restored.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(restored);
        for run in runs {
            let stored = place.store().load(run).map_err(|e| e.message)?;
            if stored.history.is_open() {
                let name = format!("abandon-{run}");
                let ended =
                    self.wanted.program.start(&name, place, Doing::Abandon(run), None, LONGEST).await?;
                if !ended.is_fine() {
                    return Err(ended.why());
                }
            }
        }
        let mut wrong = place.endpoints.not_well().await;
        let is_first = || {
            let mut looked = self.looked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            looked.insert(place.project.clone())
        };
        if is_first() {
            let name = format!("restored-{}-check", place.project);
            wrong.extend(self.predicts_as_before(&name, place, &[], predicted).await);
        }
        all_well(wrong, "the command that restores it does not lead to the first state")
    }

    /// The newest run on a place.
    pub(super) fn newest(&self, place: &Place) -> Result<Stored, String> {
        place.store().find("last").map_err(|e| e.message)
    }

    /// Opens a run; from now on the Redactor knows its secrets.
    pub(super) fn learn(&self, run: &Stored) -> Result<Seal, String> {
        let key = run.history.begun.as_ref().and_then(|begun| begun.key.as_ref()).ok_or_else(|| {
            format!("run {} kept nothing: make an age identity with `seqn-play secret keygen`", run.id)
        })?;
        let seal = Seal::open(key, &self.wanted.identities).map_err(|e| e.message)?;
        let hosts = leaks::learn(&run.history, &seal, &self.redactor)?;
        let mut known = self.hosts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for host in hosts {
            if !known.iter().any(|(name, to)| *name == host.0 && to.place() == host.1.place()) {
                known.push(host);
            }
        }
        Ok(seal)
    }
}

/// How a run ended by itself: `killed`, [`FINE`] or `failed`.
fn ended(fault: Fault, ran: &Ended) -> Result<&'static str, String> {
    if ran.panicked() {
        return Err(format!("it ended by an error of its own: {}", ran.why()));
    }
    match (fault, ran.code) {
        (Fault::Kill, None) => Ok("killed"),
        (Fault::Kill, Some(_)) => Err(format!("it was not killed: {}", ran.why())),
        (_, Some(0)) => Ok(FINE),
        (_, Some(2 | 4)) => Ok("failed"),
        _ => Err(ran.why()),
    }
}

fn all_well(wrong: Vec<String>, what: &str) -> Result<(), String> {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{what}:\n{}", wrong.join("\n"))) }
}

fn told(case: &Case, verdict: Verdict, word: String, took: Duration) -> Told {
    Told {
        fault: case.fault.name().into(),
        step: case.step,
        label: case.label.clone(),
        place: case.point.name().into(),
        then: case.then().into(),
        verdict,
        word,
        seconds: took.as_secs_f64(),
    }
}
