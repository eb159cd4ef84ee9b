//! What check mode sees coming, beside ok and changed: what could be taken back, and what not.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use crate::module::plan::Undo;
use crate::module::{Step, StepKind};
use crate::playbook::Task;

use super::event::{Outcome, Status};

/// A Step that would be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    pub host: String,
    pub task: String,
    pub label: String,
    pub way: Way,
}

/// What a rollback would do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Back,
    /// It interrupts, and would be done again.
    Again,
    /// Nothing; why, and what a person does instead.
    Forward(String),
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Prospects {
    steps: Mutex<Vec<Prospect>>,
    /// Hosts of which something is unknown: what fails there next may be for want of that.
    uncertain: Mutex<HashSet<String>>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Prospects {
    pub fn see(&self, host: &str, title: &str, task: &Task, step: &Step) {
        let way = match &step.kind {
            StepKind::Passing => return,
            StepKind::Derived => Way::Again,
            StepKind::Stateful(Undo::OneWay(why)) => {
                let accepted = task.accepts_one_way();
                match accepted || !task.undo.is_empty() {
                    true => Way::Back,
                    false => Way::Forward(task.only_forward().unwrap_or(why).to_string()),
                }
            }
            StepKind::Stateful(_) => Way::Back,
        };
        let (host, task, label) = (host.to_string(), title.to_string(), step.label.clone());
        let mut steps = locked(&self.steps);
        let prospect = Prospect { host, task, label, way };
        if !steps.contains(&prospect) {
            steps.push(prospect);
        }
    }

    pub fn steps(&self) -> Vec<Prospect> {
        locked(&self.steps).clone()
    }

    /// In a preview a failure that may come from something unknown is unknown too.
    pub fn doubt(&self, host: &str, outcome: &mut Outcome) {
        if outcome.unknown.is_some() {
            locked(&self.uncertain).insert(host.to_string());
        }
        if outcome.status == Status::Failed {
            let message = outcome.get("msg").map(|m| m.key_text()).unwrap_or_default();
            *outcome = self.doubted(host, &message).unwrap_or_else(|| outcome.clone());
        }
    }

    /// What becomes of a failure there, if it may come from something unknown.
    pub fn doubted(&self, host: &str, message: &str) -> Option<Outcome> {
        let is_uncertain = locked(&self.uncertain).contains(host);
        is_uncertain.then(|| unknown(format!("it depends on something unknown: {message}")))
    }
}

/// The Outcome of what a preview doesn't do.
pub fn unknown(cause: impl Into<String>) -> Outcome {
    let mut outcome = Outcome::new(Status::Ok, crate::source::Map::new());
    outcome.result.insert("changed".into(), false.into());
    outcome.unknown = Some(cause.into());
    outcome
}
