//! Taking a whole run back from its journal alone: neither playbook nor inventory is needed, but for
//! tasks that have `undo:` of their own.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::module::Failure;
use crate::remote::{
    CONFLICT, Connection, Connections, Effect, EffectState, Expect, RemoteError, RemoteErrorKind, Target,
};
use crate::run::history::{History, State, Step};
use crate::run::journal::Sync;
use crate::run::record::{Back, Ended, Kept, Record, Recorded, Status, StepId};
use crate::run::recorder::{Recorder, now};
use crate::run::seal::Seal;
use crate::secret::Redactor;
use crate::source::diagnostic::nearest;

use super::event::{Event, Sink};
use super::locks::{Locking, Locks, Taker};
use super::log::{effect_id, kept_of};
use super::undo::{self, Applied, RunTasks, Undone};

/// How far, and how.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only what came after this task.
    pub to: Option<String>,
    /// Also files that somebody else changed since.
    pub overwrite: bool,
}

/// A Step that will be taken back.
pub struct Chosen {
    step: Step,
    kept: Kept,
    /// Why it can't be taken back if it began, which only its host knows.
    if_begun: Option<Failure>,
    /// Its host noted what became of it. What a host noted goes when the run is over.
    noted: bool,
}

impl Chosen {
    /// Why nothing is taken back if this began: it can't be, and only its host knows.
    pub fn if_begun(&self) -> Option<&Failure> {
        self.if_begun.as_ref()
    }

    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether it changed something that can be described before and after.
    pub fn is_change(&self) -> bool {
        self.if_begun.is_some() || !matches!(self.kept.back, Back::Nothing | Back::Again(_))
    }
}

/// The Steps that will be taken back, in the order in which they were applied.
///
/// # Errors
/// One of them can't be: why, and what is left to do.
pub fn choose(seal: &Seal, past: &History, wanted: &Wanted) -> Result<Vec<Chosen>, Failure> {
    let from = match &wanted.to {
        None => 0,
        Some(task) => after(past, task)?,
    };
    let mut chosen = Vec::new();
    for step in &past.steps {
        let outcome = past.outcomes.get_full(&step.intent.step.instance);
        if outcome.as_ref().is_some_and(|(index, ..)| *index < from) {
            continue;
        }
        let mut kept = kept_of(seal, step)?;
        let mut if_begun = None;
        let noted = step.done.is_none() && step.intent.is_noted() && past.state() != State::Finished;
        if let Back::OneWay(why) = &kept.back {
            let refusal = one_way(past, step, why);
            match outcome.map(|(_, _, recorded)| recorded) {
                Some(recorded) if recorded.changed => return Err(refusal),
                // Whoever lost the connection doesn't know whether it happened.
                Some(Recorded { status: Status::Unreachable, .. }) | None => match noted {
                    true => if_begun = Some(refusal),
                    false => return Err(refusal),
                },
                Some(_) => {}
            }
            kept.back = Back::Nothing;
        }
        if let Back::Effects(effects) = &mut kept.back
            && wanted.overwrite
        {
            effects.iter_mut().for_each(overwriting);
        }
        chosen.push(Chosen { step: step.clone(), kept, if_begun, noted });
    }
    Ok(chosen)
}

/// Whether a task among them has `undo:` of its own.
pub fn needs_playbook(chosen: &[Chosen]) -> bool {
    chosen.iter().any(|c| matches!(c.kept.back, Back::Tasks(_)))
}

/// The first Outcome after the task.
fn after(past: &History, task: &str) -> Result<usize, Failure> {
    let is_it = |name: &str| name == task || name.rsplit_once(" : ").is_some_and(|(_, own)| own == task);
    let last = past.outcomes.values().rposition(|o| is_it(&o.task));
    last.map(|index| index + 1).ok_or_else(|| {
        let names = past.outcomes.values().map(|o| o.task.as_str());
        let failure = Failure::new(format!("the run has no task {task:?}"));
        match nearest(task, names) {
            Some(near) => failure.help(format!("did you mean {near:?}?")),
            None => failure.help("`seqn-play runs show` lists its tasks"),
        }
    })
}

fn one_way(past: &History, step: &Step, why: &str) -> Failure {
    let run = past.begun.as_ref().map_or("RUN", |b| &b.run);
    let intent = &step.intent;
    Failure::new(format!("`{}` on {} can't be taken back: {why}", intent.label, intent.host)).help(format!(
        "nothing was changed. Go on with `seqn-play resume {run}`, or back to just after it with \
         `seqn-play rollback {run} --to {:?}`; where it changed nothing, its task can say `changed_when: false` or `one_way: ok`",
        intent.task
    ))
}

fn overwriting(effect: &mut Effect) {
    match effect {
        Effect::Write { expect, .. } | Effect::Unmake { expect, .. } | Effect::Restore { expect, .. } => {
            *expect = Expect::Anything;
        }
        Effect::Link { force, .. } => *force = true,
        _ => {}
    }
}

/// Tells what would be taken back, in that order.
pub fn predict(chosen: &[Chosen], sink: &dyn Sink) {
    let is_again = |c: &&Chosen| matches!(c.kept.back, Back::Again(_));
    let stateful = chosen.iter().rev().filter(|c| !is_again(c) && !matches!(c.kept.back, Back::Nothing));
    let mut said = Vec::new();
    for Chosen { step, kept, .. } in stateful {
        let message = format!("would undo: [{}] => {}", step.intent.host, told_as(step, kept));
        // A task with more than one Step has one `undo:`.
        let whose = (step.intent.step.instance.as_str(), message.clone());
        if !matches!(kept.back, Back::Tasks(_)) || !said.contains(&whose) {
            sink.send(Event::Notice { message });
        }
        said.push(whose);
    }
    for Chosen { step, .. } in chosen.iter().filter(|c| c.if_begun.is_some()) {
        let (host, label) = (&step.intent.host, &step.intent.label);
        let message = format!("would look: [{host}] => {label}: if it began, nothing is taken back");
        sink.send(Event::Notice { message });
    }
    for Chosen { step, .. } in chosen.iter().filter(is_again) {
        let message = format!("would do again: [{}] => {}", step.intent.host, step.intent.label);
        sink.send(Event::Notice { message });
    }
}

/// What a rollback works with.
pub struct Means<'a> {
    pub recorder: &'a Recorder,
    pub connections: &'a Connections,
    pub redactor: &'a Redactor,
    pub sink: &'a Arc<dyn Sink>,
    /// Runs `undo:` tasks.
    pub runner: &'a dyn RunTasks,
}

/// Takes them back for `by`; whether all of them could be.
///
/// # Errors
/// The journal can't be written, or this machine has no `sh`.
pub async fn run(
    means: &Means<'_>,
    chosen: Vec<Chosen>,
    locking: Locking,
    by: String,
) -> Result<Ended, Failure> {
    let Means { recorder, connections, sink, .. } = *means;
    let locks = Locks::new(Some(locking));
    let taker = Taker { connections, sink, recorder: Some(recorder), forks: 5 };
    let ended = async {
        locks.take(&taker, hosts_of(&chosen)).await?;
        let untouched = wait_for_cut(recorder, &chosen, &locks).await?;
        let operator = connections.operator().await?;
        look_at_files(&recorder.run, &chosen, &untouched, connections, &operator).await?;
        recorder.write(&Record::Continued { at: now(), by, back: true }, Sync::Now)?;
        go_back(means, chosen, &operator).await
    }
    .await;
    let over = matches!(ended, Ok(Ended::RolledBack));
    locks.release(Some(recorder), over).await;
    ended
}

/// What was cut may go on on its host; it must be at its end before it is taken back. Which of them changed
/// nothing there.
///
/// # Errors
/// Something began that can't be taken back.
async fn wait_for_cut(
    recorder: &Recorder,
    chosen: &[Chosen],
    locks: &Locks,
) -> Result<HashSet<StepId>, Failure> {
    let mut untouched = HashSet::new();
    for Chosen { step, kept, if_begun, noted } in chosen.iter().filter(|c| c.step.done.is_none()) {
        let mut became = None;
        if let (Some(name), Some(connection)) = (&step.intent.target, &kept.connection) {
            let id = effect_id(&recorder.run, &step.intent.step, connection);
            became = locks.became_of(name, &id).await?;
        }
        if let Some(refusal) = if_begun.as_ref().filter(|_| became != Some(EffectState::NeverBegan)) {
            return Err(refusal.clone());
        }
        let conflict = EffectState::Ended { status: CONFLICT };
        if *noted && became.is_some_and(|state| state == EffectState::NeverBegan || state == conflict) {
            untouched.insert(step.intent.step.clone());
        }
    }
    Ok(untouched)
}

/// Half of a run is worse than all of it and none of it: where a file can't go back because somebody changed
/// it since, nothing does. Of the Steps that wrote a file the last one tells what the run left.
///
/// # Errors
/// Which file it is.
async fn look_at_files(
    run: &str,
    chosen: &[Chosen],
    untouched: &HashSet<StepId>,
    connections: &Connections,
    operator: &Target,
) -> Result<(), Failure> {
    let (mut paths, mut files, mut beyond) = (HashSet::new(), HashSet::new(), HashSet::new());
    for Chosen { step, kept, .. } in chosen.iter().rev() {
        let (on, host) = (step.intent.target.as_deref(), &step.intent.host);
        let effects = match &kept.back {
            _ if beyond.contains(&on) || untouched.contains(&step.intent.step) => continue,
            Back::Effects(effects) => effects,
            Back::Tasks(_) => {
                beyond.insert(on);
                continue;
            }
            Back::Again(_) | Back::OneWay(_) | Back::Nothing => continue,
        };
        for effect in effects {
            let path = match (effect.writes(), effect) {
                (Some((path, _)), _) => path,
                (
                    None,
                    Effect::Attributes { .. }
                    | Effect::Directory { .. }
                    | Effect::Touch { .. }
                    | Effect::Remove { .. }
                    | Effect::Keep { .. }
                    | Effect::Close { .. },
                ) => continue,
                // What goes back before an older one, and where that is then found, nobody can tell from here.
                (None, _) => {
                    beyond.insert(on);
                    break;
                }
            };
            if !paths.insert((on, path)) {
                continue;
            }
            let Ok(target) = target_of(step, kept, connections, operator).await else { continue };
            let found = match undo::would_find(&target, effect).await {
                Ok(Some(found)) => found,
                // A later Step may have closed what is around it.
                Ok(None) | Err(RemoteError { kind: RemoteErrorKind::Refused, .. }) => continue,
                // Whoever can't be reached is told with each Step.
                Err(_) => {
                    beyond.insert(on);
                    break;
                }
            };
            let is_other = found.file.is_none_or(|file| files.insert((on, file)));
            if let Some(why) = found.changed.filter(|_| is_other) {
                return Err(Failure::new(format!("{path} on {host} {why}, so nothing was taken back")).help(format!(
                    "see `seqn-play runs` for what came after it, and roll that back first. `seqn-play rollback {run} \
                     --overwrite` puts the whole file back as it was before this run: what was changed in it \
                     since is lost"
                )));
            }
        }
    }
    Ok(())
}

/// The files that Steps put back: how their host is reached, and their path.
pub fn files_of<'a>(kept: impl IntoIterator<Item = &'a Kept>) -> BTreeSet<(String, String)> {
    let mut files = BTreeSet::new();
    for kept in kept {
        let place = kept.connection.as_ref().map(Connection::place).unwrap_or_default();
        if let Back::Effects(effects) = &kept.back {
            files.extend(
                effects.iter().filter_map(Effect::writes).map(|(path, _)| (place.clone(), path.into())),
            );
        }
    }
    files
}

/// Every host that is acted on, and how it is reached; once each.
fn hosts_of(chosen: &[Chosen]) -> Vec<(String, Connection)> {
    let mut hosts: Vec<(String, Connection)> = Vec::new();
    for Chosen { step, kept, .. } in chosen {
        if let (Some(name), Some(connection)) = (&step.intent.target, &kept.connection)
            && !hosts.iter().any(|(known, _)| known == name)
            && name != "localhost"
        {
            hosts.push((name.clone(), connection.clone()));
        }
    }
    hosts
}

async fn go_back(means: &Means<'_>, chosen: Vec<Chosen>, operator: &Target) -> Result<Ended, Failure> {
    let Means { recorder, connections, redactor, sink, runner } = *means;
    let mut complete = true;
    let mut told = |host: &str, step: Undone| {
        complete &= step.error.is_none();
        let error = step.error.map(|why| redactor.redact(&why).into_owned());
        for id in step.steps {
            let (label, error) = (step.label.clone(), error.clone());
            if let Err(why) = recorder.write(&Record::Undone { step: id, label, error }, Sync::Now) {
                sink.send(Event::Warning { message: why.message });
            }
        }
        if !step.label.is_empty() {
            sink.send(Event::Undone { host: host.to_string(), label: step.label, error });
        }
    };
    let mut hosts: Vec<String> = Vec::new();
    for one in &chosen {
        if !hosts.contains(&one.step.intent.host) {
            hosts.push(one.step.intent.host.clone());
        }
    }
    for host in hosts {
        let mut applied: Vec<Applied> = Vec::new();
        for Chosen { step, kept, .. } in chosen.iter().filter(|c| c.step.intent.host == host) {
            let (label, steps) = (told_as(step, kept), vec![step.intent.step.clone()]);
            redactor.register_val(&kept.args);
            // One `undo:` answers for all that its Instance did.
            let is_its = |a: &&mut Applied| {
                matches!((&a.back, &kept.back), (Back::Tasks(_), Back::Tasks(_)))
                    && a.steps[0].instance == step.intent.step.instance
            };
            if let Some(known) = applied.last_mut().filter(is_its) {
                known.steps.extend(steps);
                continue;
            }
            match target_of(step, kept, connections, operator).await {
                Ok(target) => {
                    let (back, unsettled) = (kept.back.clone(), None);
                    applied.push(Applied { label, target, back, steps, unsettled });
                }
                Err(why) => told(&host, Undone { label, error: Some(why.message), steps }),
            }
        }
        undo::undo(applied, runner, &mut |step| told(&host, step)).await;
    }
    let ending = if complete { Ended::RolledBack } else { Ended::NotRolledBack };
    recorder.write(&Record::Ended { at: now(), ending }, Sync::Now)?;
    Ok(ending)
}

fn told_as(step: &Step, kept: &Kept) -> String {
    match kept.back {
        Back::Tasks(_) => format!("{} (by its `undo:`)", step.intent.task),
        _ => step.intent.label.clone(),
    }
}

async fn target_of(
    step: &Step,
    kept: &Kept,
    connections: &Connections,
    operator: &Target,
) -> Result<Target, Failure> {
    match (&step.intent.target, &kept.connection) {
        (Some(name), Some(connection)) => Ok(connections.target(name, connection).await?),
        _ => Ok(operator.clone()),
    }
}
