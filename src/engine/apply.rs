//! Applies a Plan: the only code that changes a host.

use std::time::Duration;

use chrono::Local;

use crate::module::control::Console;
use crate::module::plan::{CheckAnswer, Diff, Finish, Postcondition, Undo};
use crate::module::{Failure, Plan, Step, StepKind, Where};
use crate::playbook::Probe;
use crate::remote::{
    Command, Content, Effect, EffectId, EffectState, Output, RemoteError, RemoteErrorKind, Target,
};
use crate::run::record::Nature;
use crate::source::{Map, Text, Val};

use super::event::AppliedStep;
use super::fault::{self, Point};
use super::locks::Locks;
use super::log::{AtCut, StepLog};
use super::undo::{Applied, Back, inverse_of};

/// Larger files are neither diffed nor kept for undo in memory. Bytes.
pub const KEPT_CONTENT: u64 = 1 << 20;

/// Where a Plan is applied, and how.
pub struct Applier<'a> {
    pub host: &'a Target,
    pub operator: &'a Target,
    pub check: bool,
    pub diff: bool,
    /// Diffs of files are wanted where they cost no question: for the note.
    pub noted_diff: bool,
    /// Inverses are wanted: the task stands in a transaction.
    pub keep_undo: bool,
    /// The task is a handler: it makes something read other state again, so undo runs it again.
    pub handler: bool,
    /// Where Steps are written down.
    pub log: Option<StepLog<'a>>,
    /// Decides about an effect that was cut and can't be observed.
    pub console: &'a dyn Console,
    pub locks: &'a Locks,
    /// Whether a change of the host is refused: its playbook says that it only looks.
    pub only_looks: bool,
    /// Hears in check mode of each Step that would be applied.
    pub foreseen: &'a (dyn Fn(&Step) + Sync),
}

/// What applying a Plan came to.
#[derive(Default)]
pub struct Done {
    pub changed: bool,
    pub skipped: bool,
    pub unknown: Option<String>,
    pub result: Map,
    pub diff: Vec<Diff>,
    pub applied: Vec<Applied>,
    /// For people; only where a journal is kept.
    pub steps: Vec<AppliedStep>,
    pub warnings: Vec<String>,
}

impl Applier<'_> {
    /// Applies every Step of `plan` and of its continuations, then observes the postconditions.
    ///
    /// # Errors
    /// The failure, together with what had been applied by then.
    pub async fn apply(&self, plan: Plan) -> (Done, Result<(), Failure>) {
        let mut done = Done::default();
        let result = self.run(plan, &mut done).await;
        // What happened before the run was cut is this Instance's change all the same.
        let happened = self.log.as_ref().is_some_and(|log| !log.earlier.is_empty());
        done.changed |= happened && result.is_ok();
        (done, result)
    }

    async fn run(&self, plan: Plan, done: &mut Done) -> Result<(), Failure> {
        let mut outputs: Vec<Output> = Vec::new();
        let mut next = Some(plan);
        let mut declared = None;
        let mut effective = false;
        while let Some(plan) = next.take() {
            done.warnings.extend(plan.warnings);
            done.diff.extend(plan.diff);
            if self.check {
                plan.steps.iter().for_each(|step| (self.foreseen)(step));
                match plan.check {
                    CheckAnswer::Steps => {}
                    CheckAnswer::Skip(result) => {
                        done.result.extend(plan.result);
                        done.result.extend(result);
                        done.skipped = true;
                        return Ok(());
                    }
                    CheckAnswer::Unknown(cause) => done.unknown = Some(cause),
                }
            }
            for step in plan.steps {
                effective |= !matches!(step.kind, StepKind::Passing);
                outputs.push(self.step(step, done).await?);
            }
            done.result.extend(plan.result);
            declared = plan.changed.or(declared);
            done.changed = declared.unwrap_or(effective);
            if !self.check {
                for postcondition in plan.postconditions {
                    self.observe(postcondition).await?;
                }
            }
            next = self.go_on(plan.finish, &outputs)?;
        }
        Ok(())
    }

    /// What comes after the effects is known only from their outputs; check mode has none.
    fn go_on(&self, finish: Option<Finish>, outputs: &[Output]) -> Result<Option<Plan>, Failure> {
        match finish {
            Some(finish) if !self.check => finish(outputs).map(Some),
            Some(_) => Ok(None),
            None => match outputs.last() {
                Some(output) if !output.success() && !self.check => Err(Failure::new(format!(
                    "the effect ended with status {}: {}",
                    output.status,
                    output.stderr_text().trim()
                ))),
                _ => Ok(None),
            },
        }
    }

    fn target(&self, at: Where) -> &Target {
        match at {
            Where::Host => self.host,
            Where::Operator => self.operator,
        }
    }

    async fn step(&self, mut step: Step, done: &mut Done) -> Result<Output, Failure> {
        if self.handler
            && let (StepKind::Stateful(Undo::OneWay(_)), Effect::Run(_)) = (&step.kind, &step.effect)
        {
            step.kind = StepKind::Derived;
            step.interrupts = true;
        }
        let target = self.target(step.at);
        if self.diff
            && let Effect::Write { path, content, .. } = &step.effect
            // Of what holds secrets a module can tell more than that.
            && !done.diff.iter().any(|d| d.before_header == *path)
            && let Some(diff) = file_diff(target, path, content, true).await
        {
            done.diff.push(diff);
        }
        if self.check {
            target.assume(&step.effect);
            return Ok(Output::default());
        }
        if self.only_looks && step.at == Where::Host && !matches!(step.kind, StepKind::Passing) {
            return Err(changes_what_is_looked_at(&step));
        }
        let log = self.log.as_ref();
        if matches!(step.kind, StepKind::Passing) || (!self.keep_undo && log.is_none()) {
            return target.apply(&step.effect).await.map_err(|e| could_not(&step, e));
        }
        if let Some(log) = log
            && let Some(output) = self.before_the_cut(log, &step).await?
        {
            return Ok(output);
        }
        let beside = log.map_or(Err("was not kept"), StepLog::beside);
        if let Some(log) = log {
            self.locks.check(log.target)?;
        }
        let back = inverse_of(&step, target, &beside).await.map_err(|why| not_begun(&step, why))?;
        if self.noted_diff
            && !self.diff
            && let Effect::Write { path, content, .. } = &step.effect
            && !done.diff.iter().any(|d| d.before_header == *path)
            && let Some(diff) = file_diff(target, path, content, false).await
        {
            done.diff.push(diff);
        }
        let began = Local::now();
        fault::at(Point::BeforeIntent);
        let id = log.map(|log| log.intend(&step, &back)).transpose()?;
        fault::at(Point::AfterIntent);
        let applied = match (log, &id) {
            (Some(log), Some(id)) => {
                self.locks.check(log.target)?;
                self.applied(target, &step.effect, Some((log.target, &log.effect_id(id)))).await
            }
            _ => self.applied(target, &step.effect, None).await,
        };
        fault::at(Point::AfterEffect);
        if applied.is_ok() {
            for kept in back.beside() {
                if let Err(e) = target.apply(&Effect::Close { kept: kept.into() }).await {
                    done.warnings.push(format!("{kept} is as readable as the file was: {e}"));
                }
            }
        }
        let back = match (&step.kind, &applied) {
            (StepKind::Stateful(Undo::FromOutput(inverse)), Ok(output)) => {
                inverse(output).map_or(Back::Nothing, |effect| Back::Effects(vec![effect]))
            }
            _ => back,
        };
        if let (Some(log), Some(id), Ok(output)) = (log, &id, &applied) {
            log.done(id, &step, output, &back)?;
            fault::at(Point::AfterRecord);
        }
        if let Some(log) = log {
            let (label, interrupts) = (step.label.clone(), step.interrupts);
            done.steps.push(AppliedStep { label, began, interrupts, way_back: log.way_back(&back) });
        }
        // Whoever lost the connection doesn't know whether it happened.
        let maybe = matches!(&applied, Err(e) if matches!(e.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Limit));
        done.changed |= maybe && matches!(back, Back::OneWay(_));
        let mut unsettled = None;
        if let (true, true, Some(log), Some(id)) = (self.keep_undo, maybe, log, &id) {
            // It may go on there, and must be at its end before it is taken back.
            let settled = self.locks.settle(log.target, &log.effect_id(id)).await;
            unsettled = settled.err().map(|why| why.message);
        }
        if self.keep_undo && (applied.is_ok() || maybe) {
            let (label, steps) = (step.label.clone(), id.into_iter().collect());
            done.applied.push(Applied { label, target: target.clone(), back, steps, unsettled });
        }
        applied.map_err(|e| could_not(&step, e))
    }

    /// What a Step said before the run was cut, if it must not be applied again.
    async fn before_the_cut(&self, log: &StepLog<'_>, step: &Step) -> Result<Option<Output>, Failure> {
        if let Some(output) = log.said_before(step)? {
            return Ok(Some(output));
        }
        log.check_unchanged(step)?;
        let Some(cut) = log.cut_at(step).filter(|cut| cut.intent.nature == Nature::Unobservable) else {
            return Ok(None);
        };
        let became = match cut.intent.is_noted() {
            true => self.locks.became_of(log.target, &log.effect_id(&cut.intent.step)).await?,
            false => None,
        };
        let happened = match (&log.probe, log.log.at_cut) {
            (_, AtCut::Happened) => true,
            _ if became == Some(EffectState::NeverBegan) => false,
            (Some(Probe::Never), _) | (_, AtCut::Repeat) => false,
            (Some(Probe::Command(command)), _) => {
                let probe = Command::shell(command.clone());
                self.target(step.at).probe(probe).await?.success()
            }
            (None, AtCut::Ask) => match became {
                // What it said is lost; how it ended is not.
                Some(EffectState::Ended { status }) => {
                    log.ended(&cut.intent.step, status)?;
                    return Ok(Some(Output { status, ..Output::default() }));
                }
                _ => self.ask_whether_happened(log, step).await?,
            },
        };
        Ok(happened.then(Output::default))
    }

    async fn ask_whether_happened(&self, log: &StepLog<'_>, step: &Step) -> Result<bool, Failure> {
        let question = format!(
            "The run was cut while `{}` ran on {} (task '{}'), and nothing on the host tells whether it happened.\n\
             (h)appened, go on after it / (r)epeat it / (s)top here: ",
            step.label, log.target, log.task
        );
        match self.console.ask(&question, true).await.as_deref().map(str::trim) {
            Some("h" | "happened") => Ok(true),
            Some("r" | "repeat") => Ok(false),
            _ => Err(Failure::new(format!(
                "the run was cut while `{}` ran, and nothing on the host tells whether it happened",
                step.label
            ))
            .help(
                "look there, then resume with --cut=happened (go on after it) or --cut=repeat (do it again)",
            )),
        }
    }

    /// `noted`: the host that notes what becomes of it, and under what.
    async fn applied(
        &self,
        target: &Target,
        effect: &Effect,
        noted: Option<(&str, &EffectId)>,
    ) -> Result<Output, RemoteError> {
        if let Some(refused) = fault::instead(effect) {
            return refused;
        }
        let applying = async {
            match noted {
                Some((_, id)) => target.apply_as(effect, id).await,
                None => target.apply(effect).await,
            }
        };
        let begun = async {
            match noted.filter(|_| effect.is_noted()) {
                Some((host, id)) => self.locks.begun(host, id).await,
                None => tokio::time::sleep(fault::MOMENT).await,
            }
        };
        fault::during(Point::During, begun, applying).await
    }

    async fn observe(&self, postcondition: Postcondition) -> Result<(), Failure> {
        let output = self.target(postcondition.at).probe(postcondition.command).await?;
        (postcondition.holds)(&output).map_err(|why| {
            Failure::new(format!("applied, but not so afterwards: {}: {why}", postcondition.label))
        })
    }
}

fn changes_what_is_looked_at(step: &Step) -> Failure {
    Failure::new(format!(
        "`{}` would change something, and its playbook only looks (`check_mode: true` on each play), so nobody confirmed it",
        step.label
    ))
    .help("`changed_when: false` says that it changes nothing; a playbook that changes something has no such plays")
}

fn could_not(step: &Step, why: RemoteError) -> Failure {
    not_begun(step, why.into())
}

fn not_begun(step: &Step, mut failure: Failure) -> Failure {
    failure.message = format!("could not {}: {}", step.label, failure.message);
    failure
}

/// Before and after of a file write. What is Secret is not shown at all; what merely holds known
/// secrets is masked by the Redactor on its way out. Unless it `may_ask`, only of what is known already.
async fn file_diff(target: &Target, path: &str, content: &Content, may_ask: bool) -> Option<Diff> {
    let note = |what: &str| {
        Some(Diff {
            before_header: path.to_string(),
            after_header: path.to_string(),
            before: Text::new(""),
            after: Text::new(format!("({what})\n")),
        })
    };
    let after = match content {
        Content::Text(text) if text.is_secret() => return note("the content is secret"),
        Content::Text(text) => text.clone(),
        Content::Bytes(bytes) if bytes.len() as u64 > KEPT_CONTENT => return note("too large for a diff"),
        Content::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Text::new(text),
            Err(_) => return note("the new file appears to be binary"),
        },
        Content::Operator { size, .. } if *size > KEPT_CONTENT => return note("too large for a diff"),
        Content::Operator { path, .. } => match tokio::fs::read_to_string(path).await {
            Ok(text) => Text::new(text),
            Err(_) => return note("the new file appears to be binary"),
        },
        Content::Host { .. } => return note("copied on the host"),
    };
    let known = target.remembered_file(path).filter(|file| file.content.len() as u64 <= KEPT_CONTENT);
    let read = match known {
        Some(file) => Ok(file),
        None if may_ask => target.read(path, KEPT_CONTENT).await,
        None => return None,
    };
    let before = match read {
        Ok(file) => match String::from_utf8(file.content.clone()) {
            Ok(text) => Text::new(text),
            Err(_) => return note("the present file appears to be binary"),
        },
        Err(_) => return note("the present file can't be shown"),
    };
    (before != after).then(|| Diff {
        before_header: path.to_string(),
        after_header: path.to_string(),
        before,
        after,
    })
}

/// A duration as Ansible's `delta`: `0:00:01.234567`.
pub fn delta(duration: Duration) -> Val {
    let seconds = duration.as_secs();
    Val::from(format!(
        "{}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        duration.subsec_micros()
    ))
}
