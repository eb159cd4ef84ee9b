//! What the journal learns of an Instance, and recalls of it when the run is gone on with.

use crate::module::control;
use crate::module::{Failure, registry};
use crate::playbook::{Action, ModuleCall};
use crate::source::stored::Stored;
use crate::source::{Map, Val};

use super::{Instance, Work, put};
use crate::engine::event::{Outcome, Status};
use crate::engine::log::OfInstance;
use crate::engine::undo::Applied;

/// Modules that set what later tasks see: recalled by running them again with what they had.
const SETTERS: [&str; 5] = ["add_host", "group_by", "include_vars", "set_fact", "set_stats"];

/// What may have changed since is asked for again.
const GATHERERS: [&str; 2] = ["setup", "gather_facts"];

impl Instance<'_> {
    /// The id of a loop item: its number, and what it is, so that another list is noticed.
    pub(super) fn item_id(&self, index: usize, item: &Val) -> String {
        let fingerprint = match &self.run.engine.log {
            Some(log) => log.recorder.fingerprint(item.store().to_string().as_bytes()),
            None => String::new(),
        };
        format!("{}#{index}-{fingerprint}", self.id)
    }

    /// One item, written down.
    pub(super) async fn recorded_item(&self, work: &mut Work) -> Result<Outcome, Failure> {
        work.args = None;
        let began = std::time::Instant::now();
        let mut outcome = match self.item(work).await {
            Ok(outcome) => outcome,
            Err(failure) => self.failed(failure),
        };
        if self.run.engine.options.preview {
            self.run.engine.prospects.doubt(&self.host, &mut outcome);
        }
        let Some(log) = &self.run.engine.log else { return Ok(outcome) };
        let Action::Module(call) = &self.task.action else { return Ok(outcome) };
        if outcome.recalled || self.gathers() {
            return Ok(outcome);
        }
        outcome.duration = began.elapsed();
        let keywords = &self.task.keywords;
        let flag = |setting| self.boolean(&work.scope, setting, false).unwrap_or(false);
        let stands = match outcome.status {
            Status::Failed => !self.frame.rescuable && !flag(&keywords.ignore_errors),
            Status::Unreachable => !flag(&keywords.ignore_unreachable),
            _ => false,
        };
        let keeps =
            self.task.register.is_some() || outcome.is_failed() || outcome.get("ansible_facts").is_some();
        let of = OfInstance {
            id: &work.id,
            host: &self.host,
            task: &self.label.name,
            no_log: work.no_log,
            stands,
        };
        let args = work.args.as_ref().filter(|_| SETTERS.contains(&short(call)));
        log.outcome(&of, &outcome, keeps, args)?;
        Ok(outcome)
    }

    fn gathers(&self) -> bool {
        matches!(&self.task.action, Action::Module(call) if GATHERERS.contains(&short(call)))
    }

    /// On the way to the `undo:` of a task nothing is done that isn't recorded. What includes only
    /// brings tasks, and is no record of its own.
    pub(super) fn passed_by(&self) -> Option<Outcome> {
        let includes = !matches!(self.task.action, Action::Module(_));
        if self.run.engine.own_undo.is_none() || self.frame.undoing || self.gathers() || includes {
            return None;
        }
        let mut outcome =
            self.failed(Failure::new(format!("'{}' has no end in the journal", self.label.name)));
        outcome.recalled = true;
        Some(outcome)
    }

    /// What it came to when the run was here before.
    pub(super) async fn recalled(&self, work: &mut Work) -> Result<Option<Outcome>, Failure> {
        let Some(log) = &self.run.engine.log else { return Ok(None) };
        let Action::Module(call) = &self.task.action else { return Ok(None) };
        let Some((recorded, remembered)) = log.recall(&work.id, &self.label.name)? else { return Ok(None) };
        if self.frame.transaction {
            let mut applied = Vec::new();
            for step in log.earlier(&work.id) {
                let kept = log.kept(&step)?;
                let target = match (&step.intent.target, &kept.connection) {
                    (Some(name), Some(connection)) => self.run.engine.target(name, connection, false).await?,
                    _ => self.run.engine.operator.clone(),
                };
                let (label, steps) = (step.intent.label, vec![step.intent.step]);
                applied.push(Applied { label, target, back: kept.back, steps, unsettled: None });
            }
            let at = applied.first().map(|a| a.target.clone());
            if let Some(at) = at {
                work.applied.extend(self.answered_for(applied, &at));
            }
        }
        let mut result = remembered.result;
        if let (Some(args), Some(module)) = (&remembered.args, control::find(&call.canonical))
            && recorded.status != Status::Skipped
            && recorded.status != Status::Failed
        {
            result = self.control_with(work, args, module, false).await?.result;
        }
        if result.is_empty() {
            result = bare(recorded.status);
        }
        let mut outcome = Outcome::new(recorded.status, result);
        outcome.recalled = true;
        Ok(Some(outcome))
    }
}

/// What every result has, where nobody asked for more.
fn bare(status: Status) -> Map {
    let mut result = Map::new();
    put(&mut result, "changed", status == Status::Changed);
    match status {
        Status::Skipped => put(&mut result, "skipped", true),
        Status::Failed => put(&mut result, "failed", true),
        Status::Unreachable => put(&mut result, "unreachable", true),
        Status::Ok | Status::Changed => {}
    }
    result
}

fn short(call: &ModuleCall) -> &str {
    registry::find(&call.canonical)
        .map(|m| m.name)
        .or_else(|| control::find(&call.canonical).map(|c| c.name()))
        .unwrap_or(&call.canonical)
}
