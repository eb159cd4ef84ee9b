//! The journal as the engine uses it: what is written before and after each Step, and what is
//! recalled when a run is gone on with.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::module::{Failure, Step, StepKind, Where};
use crate::playbook::{Probe, Task};
use crate::remote::{Connection, Effect, EffectId, Expect, Output};
use crate::run::history::{self, History};
use crate::run::journal::Sync;
use crate::run::record::{
    Back, Done, Ended, Intent, Kept, Nature, Record, Recorded, Remembered, Said, StepId,
};
use crate::run::recorder::{Recorder, now};
use crate::run::seal::Seal;
use crate::secret::Redactor;
use crate::source::Val;

use super::event::{Outcome, WayBack};
use super::undo::{Beside, MAYBE_SECRET};

/// Output of an effect that is kept: more than that nobody reads back. Bytes.
const KEPT_OUTPUT: usize = 1 << 20;

/// What to do with an effect that was cut and that nobody can observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtCut {
    /// Ask the operator; where nobody can be asked, stop.
    #[default]
    Ask,
    /// It happened.
    Happened,
    /// It didn't, or doing it twice is harmless.
    Repeat,
}

/// The journal of the run that is going on.
pub struct Log {
    pub recorder: Arc<Recorder>,
    /// What stood when this program began.
    past: Mutex<History>,
    pub at_cut: AtCut,
    pub resumed: bool,
    /// A Step was applied, or may have been.
    touched: AtomicBool,
    redactor: Arc<Redactor>,
}

impl Log {
    pub fn new(
        recorder: impl Into<Arc<Recorder>>,
        past: Option<History>,
        at_cut: AtCut,
        redactor: Arc<Redactor>,
    ) -> Log {
        let recorder = recorder.into();
        let resumed = past.is_some();
        let past = past.unwrap_or_default();
        let touched = AtomicBool::new(!past.steps.is_empty());
        Log { recorder, past: Mutex::new(past), at_cut, resumed, touched, redactor }
    }

    /// Whether the run made secrets, which somebody may refuse.
    pub fn has_made_secrets(&self) -> bool {
        self.past().outcomes.values().any(|outcome| outcome.sets_secret)
    }

    /// Whether a host may be in another state than before the run.
    pub fn has_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    fn past(&self) -> MutexGuard<'_, History> {
        self.past.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn write(&self, record: &Record, sync: Sync) -> Result<(), Failure> {
        Ok(self.recorder.write(record, sync)?)
    }

    /// What an Instance came to when the run was here before.
    ///
    /// # Errors
    /// It was another task then, or what is kept can't be opened.
    pub fn recall(&self, instance: &str, task: &str) -> Result<Option<(Recorded, Remembered)>, Failure> {
        if !self.resumed {
            return Ok(None);
        }
        let Some(recorded) = self.past().outcomes.get(instance).cloned() else { return Ok(None) };
        if recorded.task != task {
            return Err(Failure::new(format!(
                "the playbook is not the one that this run began with: here stood the task '{}'",
                recorded.task
            ))
            .help("bring the playbook back to what it was, or settle the run with `seqn-play rollback` or `seqn-play runs abandon`"));
        }
        let remembered = match (&recorded.kept, self.recorder.key()) {
            (Some(sealed), Some(key)) => key.unseal(sealed)?,
            _ => Remembered::default(),
        };
        remembered.public.iter().for_each(|name| self.redactor.never_hide(name));
        self.redactor.register_val(&Val::map(remembered.result.clone()));
        for text in &remembered.hidden {
            self.redactor.register(text);
        }
        Ok(Some((recorded, remembered)))
    }

    /// Steps of an Instance that stand from before.
    pub fn earlier(&self, instance: &str) -> Vec<history::Step> {
        match self.resumed {
            true => self.past().steps_of(instance).cloned().collect(),
            false => Vec::new(),
        }
    }

    /// What a Step needs to be taken back.
    ///
    /// # Errors
    /// It wasn't kept, or can't be opened.
    pub fn kept(&self, step: &history::Step) -> Result<Kept, Failure> {
        kept_of(self.recorder.key().ok_or_else(|| not_kept(step))?, step)
    }

    /// An answer that the operator gave when the run began.
    pub fn answer(&self, name: &str) -> Result<Option<Val>, Failure> {
        match self.recorder.key() {
            Some(key) => answer_of(key, &self.past(), name),
            None => Ok(None),
        }
    }

    pub fn keep_answer(&self, name: &str, value: &Val) -> Result<(), Failure> {
        let value = self.recorder.seal(&Answer(value.clone()))?;
        self.write(&Record::Answered { name: name.to_string(), value }, Sync::Later)
    }

    /// Writes what an Instance came to. `keeps`: later tasks, or a rescue, may read its result.
    pub fn outcome(
        &self,
        of: &OfInstance<'_>,
        outcome: &Outcome,
        keeps: bool,
        args: Option<&Val>,
    ) -> Result<(), Failure> {
        let kept = match keeps || args.is_some() {
            true => {
                let result = outcome.result.clone();
                let all = Val::map(result.clone());
                let (hidden, public) = (self.redactor.found_in(&all), self.redactor.public_in(&all));
                self.recorder.seal(&Remembered { result, hidden, public, args: args.cloned() })?
            }
            false => None,
        };
        let message = outcome.get("msg").filter(|_| outcome.is_failed() && !of.no_log).map(Val::key_text);
        let recorded = Recorded {
            instance: of.id.to_string(),
            at: now(),
            host: of.host.to_string(),
            task: of.task.to_string(),
            status: outcome.status,
            changed: outcome.get("changed").and_then(Val::as_bool) == Some(true),
            stands: of.stands,
            sets_secret: args.is_some_and(Val::has_secret),
            took: outcome.duration.min(Duration::from_secs(u64::from(u32::MAX))).as_millis() as u64,
            message: message.map(|m| self.redactor.redact(&m).into_owned()),
            kept,
        };
        self.write(&Record::Outcome(Box::new(recorded)), Sync::Later)
    }

    pub fn ended(&self, ending: Ended) -> Result<(), Failure> {
        self.write(&Record::Ended { at: now(), ending }, Sync::Now)
    }
}

/// An answer that the operator gave when a run began.
///
/// # Errors
/// It can't be opened.
pub fn answer_of(key: &Seal, past: &History, name: &str) -> Result<Option<Val>, Failure> {
    match past.answers.get(name).and_then(Option::as_ref) {
        Some(sealed) => Ok(Some(key.unseal::<Answer>(sealed)?.0)),
        None => Ok(None),
    }
}

/// What a Step of a journal needs to be taken back.
///
/// # Errors
/// It wasn't kept, or can't be opened.
pub fn kept_of(key: &Seal, step: &history::Step) -> Result<Kept, Failure> {
    let mut kept: Kept = key.unseal(step.intent.kept.as_ref().ok_or_else(|| not_kept(step))?)?;
    if let Some(sealed) = step.done.as_ref().and_then(|d| d.kept.as_ref())
        && let Some(back) = key.unseal::<Said>(sealed)?.back
    {
        kept.back = back;
    }
    Ok(kept)
}

/// Under which a host notes what becomes of a Step of a run.
pub fn effect_id(run: &str, step: &StepId, connection: &Connection) -> EffectId {
    EffectId {
        run: run.to_string(),
        effect: format!("{} {} {}", step.instance, step.attempt, step.part),
        user: connection.become_.as_ref().map(|b| b.user.clone()),
    }
}

fn not_kept(step: &history::Step) -> Failure {
    Failure::new(format!("nothing was kept of `{}`", step.intent.label))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Answer(#[serde(with = "crate::source::stored")] Val);

/// An Instance, for its record.
pub struct OfInstance<'a> {
    pub id: &'a str,
    pub host: &'a str,
    pub task: &'a str,
    pub no_log: bool,
    pub stands: bool,
}

/// Writes down the Steps of one attempt of an Instance.
pub struct StepLog<'a> {
    pub log: &'a Log,
    pub of: &'a Task,
    pub instance: String,
    pub host: &'a str,
    pub task: &'a str,
    pub args: &'a Val,
    pub connection: &'a Connection,
    /// The name of the host that is acted on.
    pub target: &'a str,
    /// What stands from before.
    pub earlier: Vec<history::Step>,
    pub attempt: u32,
    /// The task's `probe:`, rendered.
    pub probe: Option<Probe>,
    /// What the task handles may be secret.
    pub no_log: bool,
    part: AtomicU32,
}

impl<'a> StepLog<'a> {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        log: &'a Log,
        of: &'a Task,
        instance: String,
        attempt: u32,
        host: &'a str,
        task: &'a str,
        args: &'a Val,
        target: &'a str,
        connection: &'a Connection,
    ) -> StepLog<'a> {
        let earlier = log.earlier(&instance);
        let before = earlier.iter().map(|s| s.intent.step.attempt).max().unwrap_or(0);
        let attempt = before + attempt;
        StepLog {
            log,
            of,
            instance,
            host,
            task,
            args,
            connection,
            target,
            earlier,
            attempt,
            probe: None,
            no_log: false,
            part: AtomicU32::new(0),
        }
    }

    /// Under which its host notes what becomes of a Step.
    pub fn effect_id(&self, step: &StepId) -> EffectId {
        effect_id(&self.log.recorder.run, step, self.connection)
    }

    /// By what name the content that the next Step replaces stays beside the file, where it is too
    /// large for the journal; else why not.
    pub fn beside(&self) -> Beside {
        let run = &self.log.recorder.run;
        match self.log.recorder.key() {
            _ if self.no_log => Err(MAYBE_SECRET),
            None => Err("was not kept, since nobody could open the journal"),
            // Nobody puts it back.
            Some(_)
                if !self.of.undo.is_empty()
                    || self.of.accepts_one_way()
                    || history::is_undo(&self.instance) =>
            {
                Err("was not kept")
            }
            Some(_) => Ok(format!("seqn-play-{run}-{}", &self.effect_id(&self.next()).hash()[..8])),
        }
    }

    fn next(&self) -> StepId {
        StepId {
            instance: self.instance.clone(),
            attempt: self.attempt,
            part: self.part.load(Ordering::Relaxed),
        }
    }

    /// What takes the Step back, as far as a journal can hold it: a task can say it by itself.
    fn answered(&self, back: &Back) -> Back {
        match back {
            _ if !self.of.undo.is_empty() => Back::Tasks(Vec::new()),
            Back::OneWay(_) if self.of.accepts_one_way() => Back::Nothing,
            Back::OneWay(why) => Back::OneWay(self.of.only_forward().unwrap_or(why).to_string()),
            Back::Again(effect) if matches!(**effect, Effect::Http(_)) => {
                Back::OneWay("a request can't be kept to be sent again".into())
            }
            other => other.clone(),
        }
    }

    /// What a rollback will do about a Step.
    pub fn way_back(&self, back: &Back) -> WayBack {
        match (back, self.answered(back)) {
            (_, Back::OneWay(why)) => WayBack::None(why),
            (Back::OneWay(_), Back::Nothing) if !self.of.changes_nothing() => WayBack::Stays,
            _ => WayBack::Known,
        }
    }

    /// Writes that a Step is about to be applied.
    pub fn intend(&self, step: &Step, back: &Back) -> Result<StepId, Failure> {
        let id = self.next();
        self.part.fetch_add(1, Ordering::Relaxed);
        self.log.touched.store(true, Ordering::Relaxed);
        let on_host = step.at == Where::Host;
        let kept = Kept {
            args: self.args.clone(),
            expects: expects(&step.effect).cloned(),
            back: self.answered(back),
            connection: on_host.then(|| self.connection.clone()),
        };
        let intent = Intent {
            step: id.clone(),
            at: now(),
            host: self.host.to_string(),
            target: on_host.then(|| self.target.to_string()),
            task: self.task.to_string(),
            label: step.label.clone(),
            nature: self.nature(step),
            looks: self.of.changes_nothing(),
            noted: on_host && step.effect.is_noted(),
            beside: kept.back.beside().next().is_some(),
            kept: self.log.recorder.seal(&kept)?,
        };
        self.log.write(&Record::Intent(Box::new(intent)), Sync::Now)?;
        Ok(id)
    }

    fn nature(&self, step: &Step) -> Nature {
        match (&step.kind, step.observable) {
            // So its author says.
            (_, false) if self.of.changes_nothing() => Nature::Repeatable,
            (_, false) => Nature::Unobservable,
            (StepKind::Derived | StepKind::Passing, true) => Nature::Repeatable,
            (StepKind::Stateful(_), true) => Nature::Observable,
        }
    }

    /// Writes that it was applied.
    pub fn done(&self, id: &StepId, step: &Step, output: &Output, back: &Back) -> Result<(), Failure> {
        let told_by_output =
            matches!(step.kind, StepKind::Stateful(crate::module::plan::Undo::FromOutput(_)));
        let small = output.stdout.len() + output.stderr.len() <= KEPT_OUTPUT;
        let said = Said {
            output: (self.nature(step) == Nature::Unobservable && small).then(|| output.clone()),
            back: told_by_output.then(|| self.answered(back)),
        };
        let kept = match said.output.is_some() || said.back.is_some() {
            true => self.log.recorder.seal(&said)?,
            false => None,
        };
        self.log.write(
            &Record::Done(Done { step: id.clone(), at: now(), status: output.status, kept }),
            Sync::Now,
        )
    }

    /// Writes how a Step ended that an earlier program began.
    pub fn ended(&self, id: &StepId, status: i32) -> Result<(), Failure> {
        self.log.write(&Record::Done(Done { step: id.clone(), at: now(), status, kept: None }), Sync::Now)
    }

    /// What the same Step said before the program died between it and the Outcome: it isn't done
    /// again.
    pub fn said_before(&self, step: &Step) -> Result<Option<Output>, Failure> {
        if self.nature(step) != Nature::Unobservable {
            return Ok(None);
        }
        let Some(last) = self.cut().filter(|last| last.intent.label == step.label) else { return Ok(None) };
        let (Some(done), Some(key)) = (&last.done, self.log.recorder.key()) else { return Ok(None) };
        let Some(sealed) = &done.kept else { return Ok(None) };
        Ok(key.unseal::<Said>(sealed)?.output)
    }

    /// The Step whose end isn't known, if it is this one.
    pub fn cut_at(&self, step: &Step) -> Option<&history::Step> {
        self.cut().filter(|last| last.done.is_none() && last.intent.label == step.label)
    }

    fn cut(&self) -> Option<&history::Step> {
        // Only the first Step of the first attempt can be the one that was cut.
        let first = self.part.load(Ordering::Relaxed) == 0
            && self.attempt == self.earlier.last()?.intent.step.attempt + 1;
        // What it said and came to is known: now it is tried again.
        self.earlier.last().filter(|last| first && (last.done.is_none() || !last.told))
    }

    /// A file that was cut must be as it was, or as the cut Step or this one makes it: else somebody
    /// changed it.
    pub fn check_unchanged(&self, step: &Step) -> Result<(), Failure> {
        let Some(cut) = self.cut_at(step) else { return Ok(()) };
        let kept = self.log.kept(cut)?;
        let (Some(now), Some(then)) = (expects(&step.effect), kept.expects) else { return Ok(()) };
        // What takes a write back expects what it wrote.
        let written = match &kept.back {
            Back::Effects(effects) => effects.iter().find_map(expects),
            _ => None,
        };
        if *now == then || Some(now) == written {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the run was cut at `{}`, and since then somebody else changed what it is about: it was {}, now it is {}",
            step.label,
            told(&then),
            told(now)
        ))
        .help("look at it; then `seqn-play rollback`, or `seqn-play runs abandon` and a new run"))
    }
}

fn told(expect: &Expect) -> String {
    match expect {
        Expect::Anything => "anything".into(),
        Expect::Absent => "not there".into(),
        Expect::Sha256(hash) => format!("a file with the SHA-256 {}…", &hash[..hash.len().min(12)]),
    }
}

fn expects(effect: &Effect) -> Option<&Expect> {
    match effect {
        Effect::Write { expect, .. } | Effect::Unmake { expect, .. } | Effect::Restore { expect, .. } => {
            Some(expect)
        }
        _ => None,
    }
}
