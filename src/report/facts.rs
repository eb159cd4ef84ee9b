//! What a run did, gathered from its Events: for the note and for hooks.

mod interruption;
mod proof;

use serde::{Deserialize, Serialize};

use crate::engine::event::{AppliedStep, Ended, Event, HostStats, Outcome, Status, TaskLabel, WayBack};
use crate::module::control;
use crate::run::history::History;
use crate::run::recorder::now;
use crate::secret::Redactor;
use crate::source::Val;

use super::diff;

pub use interruption::Interruption;
pub use proof::{Backup, Check};

/// What a program did with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Run,
    Resume,
    Rollback,
    /// Somebody said that it stays as it is.
    Abandon,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Finished,
    Failed,
    Interrupted,
    /// By a second Ctrl-C, in the middle of what it did.
    Stopped,
    RolledBack,
    NotRolledBack,
    Abandoned,
}

/// Everything that is told of a run. Times are as in journals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    pub run: String,
    pub what: What,
    pub playbooks: Vec<String>,
    pub inventory: Vec<String>,
    pub hosts: Vec<String>,
    pub scope: Scope,
    pub actor: String,
    pub reason: Option<String>,
    pub begun: String,
    pub ended: Option<String>,
    pub how: Option<How>,
    pub changes: Vec<Change>,
    pub failures: Vec<Failed>,
    pub backups: Vec<Backup>,
    pub checks: Vec<Check>,
    pub interruptions: Vec<Interruption>,
    pub taken_back: Vec<TakenBack>,
    pub one_way: Vec<OneWay>,
    /// Begun, and nobody knows whether it happened.
    pub unfinished: Vec<Unfinished>,
    pub warnings: Vec<String>,
    /// What was wrong that is no task's failure, or more of one.
    pub problems: Vec<String>,
    pub recap: Vec<HostStats>,
    /// Something stands that a rollback would take back.
    pub stands: bool,
    /// What a rollback needs was kept.
    pub kept: bool,
}

/// What narrows a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub limit: Option<String>,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
}

/// A task that changed a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    pub task: String,
    pub host: String,
    pub item: Option<String>,
    pub at: String,
    pub steps: Vec<StepTold>,
    /// Unified, without secrets.
    pub diff: Option<String>,
    /// Before the run was gone on with.
    pub before: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepTold {
    pub label: String,
    pub taken_back: bool,
    /// A rollback leaves it, as its task says.
    pub stays: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failed {
    pub task: String,
    pub host: String,
    pub item: Option<String>,
    pub at: String,
    pub message: String,
    pub ignored: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakenBack {
    pub host: String,
    pub step: String,
    /// Why it couldn't be.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OneWay {
    pub task: String,
    pub host: String,
    pub step: String,
    pub why: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unfinished {
    pub task: String,
    pub host: String,
    pub step: String,
    pub at: String,
}

/// One Outcome, where it belongs.
struct Told<'a> {
    task: &'a TaskLabel,
    host: &'a str,
    item: Option<String>,
    outcome: &'a Outcome,
}

impl Facts {
    /// Of a run that begins now; what is known of it stands in its journal.
    pub fn begin(
        what: What,
        history: &History,
        scope: Scope,
        actor: String,
        reason: Option<String>,
    ) -> Facts {
        let begun = history.begun.as_ref();
        Facts {
            run: begun.map(|b| b.run.clone()).unwrap_or_default(),
            what,
            playbooks: begun.map(|b| b.playbooks.clone()).unwrap_or_default(),
            inventory: begun.map(|b| b.inventory.clone()).unwrap_or_default(),
            hosts: history.hosts.clone(),
            scope,
            actor,
            reason: reason.or_else(|| begun.and_then(|b| b.reason.clone())),
            begun: now(),
            ended: None,
            how: None,
            changes: Vec::new(),
            failures: Vec::new(),
            backups: Vec::new(),
            checks: Vec::new(),
            interruptions: Vec::new(),
            taken_back: Vec::new(),
            one_way: Vec::new(),
            unfinished: Vec::new(),
            warnings: Vec::new(),
            problems: Vec::new(),
            recap: Vec::new(),
            stands: false,
            kept: begun.is_some_and(|b| b.key.is_some()),
        }
    }

    /// Of a run that is abandoned: what it changed is known from its journal alone, since it may have
    /// died before it told anybody.
    pub fn abandoned(history: &History, actor: String, reason: String) -> Facts {
        let mut facts = Facts::begin(What::Abandon, history, Scope::default(), actor, Some(reason));
        facts.ended = Some(facts.begun.clone());
        facts.how = Some(How::Abandoned);
        let mut instance = "";
        for step in history.steps.iter().filter(|step| step.done.is_some()) {
            let intent = &step.intent;
            if intent.step.instance != instance {
                instance = &intent.step.instance;
                facts.changes.push(Change {
                    task: intent.task.clone(),
                    host: intent.host.clone(),
                    item: None,
                    at: intent.at.clone(),
                    steps: Vec::new(),
                    diff: None,
                    before: false,
                });
            }
            let told = StepTold { label: intent.label.clone(), taken_back: false, stays: false };
            facts.changes.last_mut().expect("one was just put there").steps.push(told);
        }
        facts
    }

    pub fn on(&mut self, event: &Event, redactor: &Redactor) {
        match event {
            Event::PlayStarted { hosts, .. } => {
                for host in hosts {
                    if !self.hosts.contains(host) {
                        self.hosts.push(host.clone());
                    }
                }
            }
            Event::ItemDone { task, host, label, outcome, ignored, .. } => {
                let item = redactor.redact_val(label);
                let item = Some(item.as_str().map_or_else(|| item.to_json().to_string(), String::from));
                self.told(&Told { task, host, item, outcome }, *ignored, redactor);
            }
            Event::InstanceDone { task, host, outcome, ignored, looped: false, .. } => {
                self.told(&Told { task, host, item: None, outcome }, *ignored, redactor);
            }
            // What an attempt did happened, whatever comes of the next one.
            Event::Retrying { host, outcome, .. } => self.interrupted_by(host, &outcome.steps),
            Event::Undone { host, label, error } => {
                if error.is_none() {
                    self.mark_taken_back(host, label);
                }
                let (host, step, error) = (host.clone(), label.clone(), error.clone());
                self.taken_back.push(TakenBack { host, step, error });
            }
            Event::Warning { message } => self.warnings.push(message.clone()),
            Event::Diagnostic(problem) => self.problems.push(problem.message.clone()),
            Event::Recap(stats) => self.recap = stats.clone(),
            Event::RunEnded { ending } => {
                self.ended = Some(now());
                self.how = Some(How::of(*ending));
            }
            _ => {}
        }
    }

    /// What the journal says at the end.
    pub fn settle(&mut self, history: &History) {
        let changed = |instance: &str| history.outcomes.get(instance).is_none_or(|o| o.changed);
        self.stands = history.steps.iter().any(|s| changed(&s.intent.step.instance));
        self.unfinished = history
            .unfinished()
            .iter()
            .map(|step| {
                let intent = &step.intent;
                Unfinished {
                    task: intent.task.clone(),
                    host: intent.host.clone(),
                    step: intent.label.clone(),
                    at: intent.at.clone(),
                }
            })
            .collect();
    }

    /// Without secrets: all of them are known by now.
    pub fn redacted(&self, redactor: &Redactor) -> Result<Facts, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        redact(&mut value, redactor);
        serde_json::from_value(value)
    }

    fn told(&mut self, told: &Told<'_>, ignored: bool, redactor: &Redactor) {
        let Told { task, host, item, outcome } = told;
        self.interrupted_by(host, &outcome.steps);
        self.proved(told);
        self.checked(told, redactor);
        if outcome.is_failed() {
            self.failures.push(Failed {
                task: task.name.clone(),
                host: host.to_string(),
                item: item.clone(),
                at: now(),
                message: text_of(outcome, "msg", redactor).unwrap_or_else(|| "its output is hidden".into()),
                ignored,
            });
        }
        let says_changed = outcome.get("changed").and_then(Val::as_bool) == Some(true);
        let acts_on_run = control::find(&task.action).is_some();
        if !(says_changed && (!outcome.steps.is_empty() || !acts_on_run)) {
            return;
        }
        let diff: Vec<String> = outcome.diff.iter().map(diff_text).collect();
        self.changes.push(Change {
            task: task.name.clone(),
            host: host.to_string(),
            item: item.clone(),
            at: now(),
            steps: outcome.steps.iter().map(StepTold::of).collect(),
            diff: (!diff.is_empty()).then(|| diff.join("\n")),
            before: outcome.recalled,
        });
        for step in &outcome.steps {
            if let WayBack::None(why) = &step.way_back {
                let (task, host) = (task.name.clone(), host.to_string());
                self.one_way.push(OneWay { task, host, step: step.label.clone(), why: why.clone() });
            }
        }
    }

    fn mark_taken_back(&mut self, host: &str, label: &str) {
        let of_host = self.changes.iter_mut().rev().filter(|c| c.host == host);
        let mut steps = of_host.flat_map(|c| c.steps.iter_mut().rev());
        if let Some(step) = steps.find(|s| s.label == label && !s.taken_back) {
            step.taken_back = true;
        }
    }
}

impl How {
    fn of(ending: Option<Ended>) -> How {
        match ending {
            Some(Ended::Fine) => How::Finished,
            Some(Ended::Failed) => How::Failed,
            Some(Ended::Interrupted) => How::Interrupted,
            Some(Ended::RolledBack) => How::RolledBack,
            Some(Ended::NotRolledBack) => How::NotRolledBack,
            None => How::Stopped,
        }
    }

    pub fn is_success(self) -> bool {
        matches!(self, How::Finished | How::RolledBack)
    }
}

impl StepTold {
    fn of(step: &AppliedStep) -> StepTold {
        StepTold { label: step.label.clone(), taken_back: false, stays: step.way_back == WayBack::Stays }
    }
}

/// Longer texts are neither compared nor shown. Bytes.
const SHOWN: usize = 1 << 16;

fn diff_text(diff: &crate::module::plan::Diff) -> String {
    if diff.before.len().max(diff.after.len()) > SHOWN {
        return format!("{}: (too large to be shown here)", diff.after_header);
    }
    if diff.before.is_secret() || diff.after.is_secret() {
        return format!("{}: (the content is secret)", diff.after_header);
    }
    let lines: Vec<String> = diff::unified(diff).into_iter().map(|(_, line)| line).collect();
    lines.join("\n")
}

/// A text of a result, as it may be shown.
fn text_of(outcome: &Outcome, key: &str, redactor: &Redactor) -> Option<String> {
    let val = redactor.redact_val(outcome.get(key)?);
    match val {
        Val::Null => None,
        other => Some(other.key_text()),
    }
}

/// Every text in what becomes facts again, whose numbers and keys are our own.
pub(super) fn redact(value: &mut serde_json::Value, redactor: &Redactor) {
    match value {
        serde_json::Value::String(text) => *text = redactor.redact(text).into_owned(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|v| redact(v, redactor)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|v| redact(v, redactor)),
        _ => {}
    }
}

fn is_ok(outcome: &Outcome) -> bool {
    matches!(outcome.status, Status::Ok | Status::Changed)
}

/// The module's own name, without its collection.
fn short(task: &TaskLabel) -> &str {
    task.action.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::Map;

    fn done(task: &str, action: &str, steps: Vec<AppliedStep>, values: &[(&str, Val)]) -> Event {
        let file = crate::source::SourceFile::typed("play.yml", String::new());
        let span = crate::source::yaml::span_at(&file, 0, 0);
        let label =
            TaskLabel { name: task.into(), action: action.into(), span, handler: false, again: false, id: 1 };
        let result: Map = values.iter().map(|(k, v)| (Val::from(*k), v.clone())).collect();
        let outcome = Outcome { steps, ..Outcome::new(Status::Ok, result) };
        let (task, host, outcome) = (Arc::new(label), "web1".to_string(), Arc::new(outcome));
        Event::InstanceDone { task, host, delegate: None, outcome, ignored: false, looped: false }
    }

    fn recreate(label: &str) -> Vec<AppliedStep> {
        let (began, way_back) = (chrono::Local::now(), WayBack::Known);
        vec![AppliedStep { label: label.into(), began, interrupts: true, way_back }]
    }

    #[test]
    fn an_interruption_lasts_from_the_first_step_to_the_first_check_that_is_well() {
        let mut facts =
            Facts::begin(What::Run, &History::default(), Scope::default(), "Ann".into(), Some("why".into()));
        let redactor = Redactor::new();
        let changed = ("changed", Val::Bool(true));
        for event in [
            done("Look first", "uri", vec![], &[]),
            done("Stop", "docker_compose_v2", recreate("stop"), std::slice::from_ref(&changed)),
            done("Recreate", "docker_compose_v2", recreate("recreate"), std::slice::from_ref(&changed)),
            done("The old one", "postgresql_login", vec![], &[("accepted", Val::Bool(false))]),
            done("Compare", "assert", vec![], &[]),
            done("Health", "ansible.builtin.uri", vec![], &[]),
            done("Again", "docker_compose_v2", recreate("again"), &[changed]),
        ] {
            facts.on(&event, &redactor);
        }
        let told: Vec<_> = facts
            .interruptions
            .iter()
            .map(|i| (i.step.as_str(), i.seen_by.as_deref(), i.seconds.is_some()))
            .collect();
        assert_eq!(told, [("stop", Some("Health"), true), ("again", None, false)]);
        let note = crate::report::note::section_of(&facts);
        assert!(note.contains("(`stop`) to ") && note.contains(" (Health): 0.0 s\n"), "{note}");
        assert!(
            note.contains("(`again`); no check of health came after it, so its end is not known"),
            "{note}"
        );
    }
}
