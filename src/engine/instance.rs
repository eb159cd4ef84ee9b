//! One task on one host: loop, conditions, retries, Outcome.

mod execute;
mod recording;
mod rendering;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::inventory::HostName;
use crate::module::Failure;
use crate::playbook::{Action, ModuleCall, Task};
use crate::source::{Map, Text, Val};
use crate::vars::{Layer, Layers, Scope};

use super::event::{Event, Outcome, Status, TaskLabel};
use super::include::Inclusion;
use super::play::PlayRun;
use super::strategy::Frame;
use super::undo::Applied;

/// One task on one host.
pub struct Instance<'a> {
    pub run: &'a PlayRun<'a>,
    pub task: &'a Task,
    pub label: &'a Arc<TaskLabel>,
    pub host: HostName,
    /// Names it within the run, the same one when the run is gone on with; an item adds to it.
    pub id: String,
    pub frame: &'a Frame,
    pub layers: &'a Layers,
    pub search: &'a [PathBuf],
    /// Hosts that learn what it learns: itself, or all of a `run_once`.
    pub learners: Vec<String>,
}

/// What an Instance came to, for the strategy.
pub struct Finished {
    pub host: HostName,
    pub outcome: Outcome,
    pub delegate: Option<String>,
    pub looped: bool,
    pub no_log: bool,
    /// What to include, one for each item that wasn't skipped.
    pub inclusions: Vec<Inclusion>,
    pub applied: Vec<Applied>,
    /// Names of handlers, if something changed.
    pub notified: Vec<String>,
}

/// State of one Instance while it runs.
struct Work {
    scope: Scope,
    /// The Instance's id with the loop item that it is at.
    id: String,
    attempt: u32,
    /// Arguments of a module that acts on the run, as rendered.
    args: Option<Val>,
    delegate: Option<String>,
    no_log: bool,
    inclusions: Vec<Inclusion>,
    applied: Vec<Applied>,
}

impl Instance<'_> {
    /// Runs it to its end. Never an error: what fails is an Outcome.
    pub async fn finish(&self) -> Finished {
        let began = Instant::now();
        let mut work = Work {
            scope: self.run.scope(&self.host, self.layers),
            id: self.id.clone(),
            attempt: 1,
            args: None,
            delegate: None,
            no_log: false,
            inclusions: Vec::new(),
            applied: Vec::new(),
        };
        let (mut outcome, looped) = match self.whole(&mut work).await {
            Ok(done) => done,
            Err(failure) => (self.failed(failure), false),
        };
        outcome.duration = began.elapsed();
        if work.no_log {
            outcome.result = secret(outcome.result);
        }
        self.run.engine.redactor.register_val(&Val::map(outcome.result.clone()));
        let mut notified = Vec::new();
        if outcome.status == Status::Changed {
            for name in self.task.keywords.notify.iter().flatten() {
                match self.render_with(&work.scope, &Val::Text(name.clone())) {
                    Ok(Val::List(names)) => notified.extend(names.iter().map(Val::key_text)),
                    Ok(name) => notified.push(name.key_text()),
                    Err(failure) => outcome = self.failed(failure),
                }
            }
        }
        Finished {
            host: self.host.clone(),
            outcome,
            delegate: work.delegate,
            looped,
            no_log: work.no_log,
            inclusions: work.inclusions,
            applied: work.applied,
            notified,
        }
    }

    async fn whole(&self, work: &mut Work) -> Result<(Outcome, bool), Failure> {
        match &self.task.loop_ {
            None => {
                let outcome = self.recorded_item(work).await?;
                Ok((outcome, false))
            }
            Some(_) => Ok((self.looped(work).await?, true)),
        }
    }

    async fn looped(&self, work: &mut Work) -> Result<Outcome, Failure> {
        let items = match self.loop_items(&work.scope) {
            Ok(items) => items,
            Err(failure) => {
                // An undefined loop variable doesn't matter to a task whose condition is false.
                if let Ok(Some(skipped)) = self.unmet_condition(&work.scope) {
                    return Ok(skipped);
                }
                return Err(failure);
            }
        };
        if items.is_empty() {
            let mut outcome = Outcome::new(Status::Skipped, Map::new());
            put(&mut outcome.result, "changed", false);
            put(&mut outcome.result, "skipped", true);
            put(&mut outcome.result, "skipped_reason", "No items in the list");
            put(&mut outcome.result, "results", Val::list(vec![]));
            return Ok(outcome);
        }
        let control = &self.task.loop_control;
        let loop_var = self.text(&work.scope, &control.loop_var)?;
        let index_var = control.index_var.as_ref().map(|t| self.text(&work.scope, t)).transpose()?;
        let extended = self.boolean(&work.scope, &control.extended, false)?;
        let all_items = self.boolean(&work.scope, &control.extended_allitems, true)?;
        let pause = self.number(&work.scope, &control.pause, 0.0)?;
        if work.scope.find(&loop_var).is_some_and(|(layer, _)| layer == Layer::Loop) {
            self.run.engine.warn(format!(
                "{}: the loop variable '{loop_var}' is already in use; set 'loop_var' in 'loop_control' to something else",
                self.task.span
            ));
        }
        let mut outcomes = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if index > 0 && pause > 0.0 {
                tokio::time::sleep(Duration::from_secs_f64(pause)).await;
            }
            // A new scope each time: an item may set facts that the next one reads.
            let mut scope = self.run.scope(&self.host, self.layers);
            scope.set_loop(&loop_var, item.clone());
            scope.set_loop("ansible_loop_var", loop_var.as_str().into());
            if let Some(name) = &index_var {
                scope.set_loop(name, Val::Int(index as i64));
                scope.set_loop("ansible_index_var", name.as_str().into());
            }
            if extended {
                scope.set_loop("ansible_loop", super::loops::extended(&items, index, all_items));
            }
            work.scope = scope;
            work.id = self.item_id(index, item);
            let began = Instant::now();
            let mut outcome = self.recorded_item(work).await?;
            outcome.duration = began.elapsed();
            put(&mut outcome.result, &loop_var, item.clone());
            put(&mut outcome.result, "ansible_loop_var", loop_var.as_str());
            if let Some(name) = &index_var {
                put(&mut outcome.result, name, Val::Int(index as i64));
                put(&mut outcome.result, "ansible_index_var", name.as_str());
            }
            if extended && let Some((_, value)) = work.scope.find("ansible_loop") {
                put(&mut outcome.result, "ansible_loop", value.clone());
            }
            let label = match &control.label {
                None => item.clone(),
                Some(label) => {
                    let mut scope = work.scope.clone();
                    self.show_result(&mut scope, &outcome);
                    self.render_with(&scope, label).unwrap_or_else(|why| {
                        let message = format!("Failed to template loop_control.label: {}", why.message);
                        put(&mut outcome.result, "msg", message);
                        put(&mut outcome.result, "failed", true);
                        outcome.result.shift_remove("skipped");
                        outcome.status = Status::Failed;
                        item.clone()
                    })
                }
            };
            self.send_item(work, &outcome, label)?;
            let broke = !control.break_when.is_empty() && {
                let mut scope = work.scope.clone();
                if let Some(name) = &self.task.register {
                    scope.set_loop(name, Val::map(outcome.result.clone()));
                }
                self.all_hold(&scope, &control.break_when)?.is_none()
            };
            let gone = outcome.status == Status::Unreachable;
            outcomes.push(outcome);
            let rest = index + 1 < items.len();
            if broke || gone || (rest && self.run.is_cut(self.frame)) {
                break;
            }
        }
        work.scope = self.run.scope(&self.host, self.layers);
        Ok(super::loops::aggregate(outcomes))
    }

    fn send_item(&self, work: &Work, outcome: &Outcome, label: Val) -> Result<(), Failure> {
        if matches!(self.task.action, Action::IncludeTasks(_) | Action::IncludeRole(_))
            && !outcome.is_failed()
        {
            return Ok(());
        }
        let ignored = outcome.status == Status::Failed
            && self.boolean(&work.scope, &self.task.keywords.ignore_errors, false)?;
        self.run.engine.sink.send(Event::ItemDone {
            task: self.label.clone(),
            host: self.host.to_string(),
            delegate: work.delegate.clone(),
            label: if work.no_log { "(censored due to no_log)".into() } else { label },
            outcome: Arc::new(self.shown(work.no_log, outcome)),
            ignored,
        });
        Ok(())
    }

    /// What reporters may show of an outcome.
    pub fn shown(&self, no_log: bool, outcome: &Outcome) -> Outcome {
        if !no_log {
            return outcome.clone();
        }
        let mut censored = Map::new();
        put(
            &mut censored,
            "censored",
            "the output has been hidden due to the fact that 'no_log: true' was specified for this result",
        );
        put(&mut censored, "changed", outcome.status == Status::Changed);
        if outcome.is_failed() {
            put(&mut censored, "failed", true);
        }
        Outcome { result: censored, diff: Vec::new(), ..outcome.clone() }
    }

    /// One item (or the whole task without a loop), conditions and attempts.
    async fn item(&self, work: &mut Work) -> Result<Outcome, Failure> {
        // A broken no_log hides rather than shows.
        work.no_log = true;
        work.no_log =
            self.run.engine.options.no_log || self.boolean(&work.scope, &self.task.keywords.no_log, false)?;
        if let Some(outcome) = self.recalled(work).await?.or_else(|| self.passed_by()) {
            return Ok(outcome);
        }
        if let Some(skipped) = self.unmet_condition(&work.scope)? {
            return Ok(skipped);
        }
        work.delegate = match &self.task.keywords.delegate_to {
            None => None,
            Some(name) => match self.render_with(&work.scope, &Val::Text(name.clone()))? {
                Val::Omit | Val::Null => None,
                name => Some(name.key_text()),
            },
        };
        match &self.task.action {
            Action::IncludeTasks(include) => self.include(work, |scope| {
                Ok(Inclusion::tasks(include, self.text(scope, &include.file)?, self.loop_vars(scope)))
            }),
            Action::IncludeRole(include) => self.include(work, |scope| {
                let files = &include.files;
                let file = |text: &Option<Text>| text.as_ref().map(|t| self.text(scope, t)).transpose();
                Ok(Inclusion::role(
                    include,
                    self.text(scope, &include.role)?,
                    [file(&files.tasks)?, file(&files.vars)?, file(&files.defaults)?, file(&files.handlers)?],
                    self.boolean(scope, &include.public, false)?,
                    self.boolean(scope, &include.allow_duplicates, true)?,
                    self.loop_vars(scope),
                ))
            }),
            Action::Module(call) => match &call.name {
                None => self.attempts(work, call).await,
                Some(name) => {
                    let call = super::language::named(call, self.text(&work.scope, name)?.trim())?;
                    self.attempts(work, &call).await
                }
            },
        }
    }

    fn include(
        &self,
        work: &mut Work,
        make: impl FnOnce(&Scope) -> Result<Inclusion, Failure>,
    ) -> Result<Outcome, Failure> {
        let inclusion = make(&work.scope)?;
        let mut result = Map::new();
        put(&mut result, "changed", false);
        put(&mut result, "include", inclusion.what());
        work.inclusions.push(inclusion);
        Ok(Outcome::new(Status::Ok, result))
    }

    /// What a loop around an include gives to the included tasks.
    fn loop_vars(&self, scope: &Scope) -> Vec<(String, Val)> {
        if self.task.loop_.is_none() {
            return Vec::new();
        }
        let mut names =
            vec!["ansible_loop_var".to_string(), "ansible_index_var".into(), "ansible_loop".into()];
        for marker in ["ansible_loop_var", "ansible_index_var"] {
            if let Some((Layer::Loop, Val::Text(name))) = scope.find(marker) {
                names.push(name.to_string());
            }
        }
        names.into_iter().filter_map(|n| scope.find(&n).map(|(_, v)| v.clone()).map(|v| (n, v))).collect()
    }

    async fn attempts(&self, work: &mut Work, call: &ModuleCall) -> Result<Outcome, Failure> {
        let task = self.task;
        let default = if task.until.is_some() { 3 } else { 0 };
        let retries = self.integer(&work.scope, &task.retries, default)?.max(0);
        let wants_retry = (task.until.is_some() || retries > 0) && !self.run.engine.options.preview;
        let last = if wants_retry { retries + 1 } else { 1 };
        let delay = self.number(&work.scope, &task.delay, 5.0)?.max(0.0);
        let mut attempt = 1;
        work.attempt = 1;
        loop {
            let mut outcome = match self.attempt(work, call).await {
                Ok(outcome) => outcome,
                Err(failure) => self.failed(failure),
            };
            if outcome.status == Status::Unreachable {
                return Ok(outcome);
            }
            if wants_retry {
                put(&mut outcome.result, "attempts", Val::Int(attempt));
            }
            let mut scope = work.scope.clone();
            self.show_result(&mut scope, &outcome);
            self.judge(&scope, &mut outcome);
            if !wants_retry || outcome.status == Status::Skipped {
                return Ok(outcome);
            }
            self.show_result(&mut scope, &outcome);
            let satisfied = match &task.until {
                Some(until) => self.all_hold(&scope, until)?.is_none(),
                None => !outcome.is_failed(),
            };
            if satisfied {
                return Ok(outcome);
            }
            if attempt >= last {
                put(&mut outcome.result, "attempts", Val::Int(last - 1));
                put(&mut outcome.result, "failed", true);
                // What failed_when said is stronger.
                if outcome.get("failed_when_result").and_then(Val::as_bool) != Some(false) {
                    outcome.status = Status::Failed;
                }
                return Ok(outcome);
            }
            put(&mut outcome.result, "retries", Val::Int(last));
            self.run.engine.sink.send(Event::Retrying {
                task: self.label.clone(),
                host: self.host.to_string(),
                left: (last - attempt) as u64,
                outcome: Arc::new(self.shown(work.no_log, &outcome)),
            });
            tokio::time::sleep(Duration::from_secs_f64(delay)).await;
            if self.run.is_cut(self.frame) {
                return Ok(outcome);
            }
            attempt += 1;
            work.attempt += 1;
        }
    }

    /// `changed_when`, `failed_when` and `until` see the result under its registered name.
    fn show_result(&self, scope: &mut Scope, outcome: &Outcome) {
        if let Some(name) = &self.task.register {
            scope.set_loop(name, Val::map(outcome.result.clone()));
        }
        if let Some(facts) = outcome.get("ansible_facts").and_then(Val::as_map) {
            for (name, value) in facts {
                scope.set_loop(&name.key_text(), value.clone());
            }
        }
    }

    /// Applies `changed_when` and `failed_when`.
    fn judge(&self, scope: &Scope, outcome: &mut Outcome) {
        let mut scope = scope.clone();
        if let Some(conditions) = &self.task.changed_when {
            let changed = match self.all_hold(&scope, conditions) {
                Ok(unmet) => unmet.is_none(),
                Err(why) => return self.misjudged(outcome, "changed_when_result", why),
            };
            put(&mut outcome.result, "changed", changed);
            if matches!(outcome.status, Status::Ok | Status::Changed) {
                outcome.status = if changed { Status::Changed } else { Status::Ok };
            }
            self.show_result(&mut scope, outcome);
        }
        if let Some(conditions) = &self.task.failed_when {
            let failed = match self.all_hold(&scope, conditions) {
                Ok(unmet) => unmet.is_none(),
                Err(why) => return self.misjudged(outcome, "failed_when_result", why),
            };
            put(&mut outcome.result, "failed_when_result", failed);
            put(&mut outcome.result, "failed", failed);
            if failed {
                outcome.status = Status::Failed;
            } else if outcome.status == Status::Failed {
                let changed = outcome.get("changed").and_then(Val::as_bool) == Some(true);
                outcome.status = if changed { Status::Changed } else { Status::Ok };
            }
        }
    }

    /// A condition about the result that can't be evaluated fails the task; what it did stays in
    /// the result.
    fn misjudged(&self, outcome: &mut Outcome, key: &str, why: Failure) {
        let done = std::mem::take(&mut outcome.result);
        let message = why.message.clone();
        outcome.result = self.failed(why).result;
        for (name, value) in done {
            if !matches!(name.as_str(), Some("msg" | "failed")) {
                outcome.result.insert(name, value);
            }
        }
        put(&mut outcome.result, key, format!("Error while evaluating conditional: {message}"));
        outcome.status = Status::Failed;
    }

    fn failed(&self, failure: Failure) -> Outcome {
        let engine = self.run.engine;
        if engine.options.preview
            && !failure.unreachable
            && let Some(doubted) = engine.prospects.doubted(&self.host, &failure.message)
        {
            return doubted;
        }
        if let Some(diagnostic) = failure.diagnostic {
            self.run.engine.sink.send(Event::Diagnostic(diagnostic));
        }
        let mut result = failure.result;
        put(&mut result, "msg", failure.message);
        put(&mut result, "changed", false);
        if let Some(help) = failure.help {
            put(&mut result, "help", help);
        }
        let status = if failure.unreachable {
            put(&mut result, "unreachable", true);
            Status::Unreachable
        } else {
            put(&mut result, "failed", true);
            Status::Failed
        };
        Outcome::new(status, result)
    }
}

pub fn put(map: &mut Map, key: &str, value: impl Into<Val>) {
    map.insert(key.into(), value.into());
}

/// What a `no_log` task registers is Secret.
fn secret(result: Map) -> Map {
    result.into_iter().map(|(k, v)| (k, v.into_secret())).collect()
}
