//! One attempt: arguments, Plan, Steps applied, result values.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::module::control::{self, ControlCx};
use crate::module::{CHECKS_OF_HEALTH, Failure, PlanCx, Step, registry, wait_for_connection};
use crate::playbook::{ModuleCall, Probe};
use crate::remote::{Command, Connection, Target};
use crate::source::args;
use crate::source::{Map, Text, Val};

use super::{Instance, Work, put};
use crate::engine::apply::Applier;
use crate::engine::connect;
use crate::engine::event::{Outcome, Status};
use crate::engine::fault;
use crate::engine::log::StepLog;
use crate::engine::prospects::unknown;
use crate::engine::services::{EngineServices, RunHooks};
use crate::engine::undo::{Applied, Back};

/// A host's name, how it is reached, and itself.
pub(super) type Reached = (String, Connection, Target);

impl Instance<'_> {
    pub(super) async fn attempt(&self, work: &mut Work, call: &ModuleCall) -> Result<Outcome, Failure> {
        let limit = self.integer(&work.scope, &self.task.keywords.timeout, 0)?;
        if limit <= 0 {
            return self.execute(work, call).await;
        }
        match tokio::time::timeout(Duration::from_secs(limit as u64), self.execute(work, call)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(format!(
                "The {} action failed to execute in the expected time frame ({limit}) and was terminated",
                call.written
            ))),
        }
    }

    pub(super) async fn execute(&self, work: &mut Work, call: &ModuleCall) -> Result<Outcome, Failure> {
        let engine = self.run.engine;
        let check = self.boolean(&work.scope, &self.task.keywords.check_mode, engine.options.check)?;
        if let Some(module) = control::find(&call.canonical) {
            return self.control(work, call, module, check).await;
        }
        if engine.options.preview && !check {
            return Ok(unknown("`check_mode: false`: it would really run, so a preview doesn't"));
        }
        let module = registry::find(&call.canonical)
            .ok_or_else(|| Failure::new(format!("the module `{}` is not supported yet", call.written)))?;
        if let Some(why) = fault::unhealthy().filter(|_| CHECKS_OF_HEALTH.contains(&module.name) && !check) {
            return Err(Failure::new(why));
        }
        let args = self.args(&work.scope, call, &[])?.map_entries(|name, value| {
            if module.secret_args.contains(&name) { value.into_secret() } else { value }
        });
        engine.redactor.register_args(&args);
        let began = Instant::now();
        let waits = module.name == wait_for_connection::NAME;
        let (name, connection, target) = match waits {
            true => {
                let args = args::from_val(&args).map_err(|e| Failure::new(e.message))?;
                self.awaited_target(work, check, args).await?
            }
            false => self.target(work, check).await?,
        };
        let operator = engine.operator_for(check);
        let environment = self.environment(&work.scope, matches!(module.name, "setup" | "gather_facts"))?;
        let services = EngineServices { run: self.run, scope: &work.scope, search: self.search, check };
        let instance = format!("{}-{}", engine.next_task_id(), self.host);
        let diff = self.boolean(&work.scope, &self.task.keywords.diff, engine.options.diff)?;
        let cx = PlanCx {
            target: &target,
            operator: &operator,
            check,
            diff,
            search: self.search,
            playbook_dir: &self.run.play.playbook_dir,
            environment: &environment,
            instance: &instance,
            services: &services,
        };
        let plan = (module.plan)(&args, &cx).await?;
        let mut log = engine.log.as_ref().filter(|_| !check).map(|log| {
            let (host, task) = (&*self.host, &self.label.name);
            let id = work.id.clone();
            let mut log =
                StepLog::new(log, self.task, id, work.attempt, host, task, &args, &name, &connection);
            log.no_log = work.no_log;
            log
        });
        if let Some(log) = log.as_mut().filter(|log| !log.earlier.is_empty()) {
            log.probe = match &self.task.probe {
                Some(Probe::Command(command)) => {
                    let rendered = self.render_with(&work.scope, &Val::Text(command.clone()))?;
                    Some(Probe::Command(Text::new(rendered.key_text())))
                }
                other => other.clone(),
            };
        }
        let foreseen = |step: &Step| engine.prospects.see(&self.host, &self.label.name, self.task, step);
        let noted_diff = log.is_some() && self.boolean(&work.scope, &self.task.keywords.diff, true)?;
        let applier = Applier {
            host: &target,
            operator: &operator,
            check,
            diff,
            noted_diff,
            keep_undo: self.frame.transaction && !check,
            handler: self.frame.handlers,
            log,
            console: &*engine.console,
            locks: &engine.locks,
            only_looks: engine.options.only_looks && name != "localhost" && !self.task.changes_nothing(),
            foreseen: &foreseen,
        };
        let (done, result) = applier.apply(plan).await;
        work.applied.extend(self.answered_for(done.applied, &target));
        let mut values = done.result;
        let failed = match result {
            Ok(()) => false,
            Err(failure) => {
                if failure.unreachable {
                    return Err(failure);
                }
                values.extend(failure.result.clone());
                put(&mut values, "msg", failure.message.as_str());
                if let Some(help) = &failure.help {
                    put(&mut values, "help", help.as_str());
                }
                true
            }
        };
        if !done.warnings.is_empty() {
            put(&mut values, "warnings", Val::from(done.warnings));
        }
        if !self.task.secrets.is_empty() {
            values = hidden(values, &self.task.secrets);
            engine.redactor.register_val(&Val::map(values.clone()));
        }
        for (text, lines) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
            if let Some(Val::Text(t)) = values.get(text).cloned()
                && !values.contains_key(lines)
            {
                put(&mut values, lines, split_lines(&t));
            }
        }
        if waits {
            put(&mut values, "elapsed", began.elapsed().as_secs() as i64);
        }
        let changed = values.get("changed").and_then(Val::as_bool).unwrap_or(done.changed);
        put(&mut values, "changed", changed);
        put(&mut values, "failed", failed);
        let skipped = done.skipped || values.get("skipped").and_then(Val::as_bool).unwrap_or(false);
        if skipped {
            put(&mut values, "skipped", true);
        }
        let status = match (failed, skipped, changed) {
            (true, ..) => Status::Failed,
            (_, true, _) => Status::Skipped,
            (.., true) => Status::Changed,
            _ => Status::Ok,
        };
        let mut outcome = Outcome::new(status, values);
        if diff && !done.diff.is_empty() {
            put(&mut outcome.result, "diff", crate::engine::event::diff_value(module.name, &done.diff));
        }
        if diff || noted_diff {
            outcome.diff = done.diff;
        }
        outcome.steps = done.steps;
        outcome.unknown = done.unknown.filter(|_| !failed);
        Ok(outcome)
    }

    /// What takes the Steps back when the task itself says so: `undo:`, `one_way: ok`, or that it
    /// changes nothing.
    pub(super) fn answered_for(&self, applied: Vec<Applied>, target: &Target) -> Vec<Applied> {
        if self.task.undo.is_empty() {
            let accepted = self.task.accepts_one_way();
            return applied
                .into_iter()
                .filter(|a| !(accepted && matches!(a.back, Back::OneWay(_))))
                .collect();
        }
        if applied.is_empty() {
            return applied;
        }
        let label = format!("{} (by its `undo:`)", self.label.name);
        let unsettled = applied.iter().find_map(|a| a.unsettled.clone());
        let steps = applied.into_iter().flat_map(|a| a.steps).collect();
        let back = Back::Tasks(self.task.undo.clone());
        vec![Applied { label, target: target.clone(), back, steps, unsettled }]
    }

    pub(super) async fn control(
        &self,
        work: &mut Work,
        call: &ModuleCall,
        module: &dyn control::Control,
        check: bool,
    ) -> Result<Outcome, Failure> {
        let args = self.args(&work.scope, call, module.raw_args())?;
        work.args = Some(args.clone());
        self.control_with(work, &args, module, check).await
    }

    pub(super) async fn control_with(
        &self,
        work: &Work,
        args: &Val,
        module: &dyn control::Control,
        check: bool,
    ) -> Result<Outcome, Failure> {
        let engine = self.run.engine;
        engine.redactor.register_args(args);
        let hooks = RunHooks { engine };
        let role_dir = self.task.role.as_ref().map(|r| r.path.as_path());
        let learners =
            match (&work.delegate, self.boolean(&work.scope, &self.task.keywords.delegate_facts, false)?) {
                (Some(delegate), true) => vec![delegate.clone()],
                _ => self.learners.clone(),
            };
        let cx = ControlCx {
            host: &self.host,
            variables: &engine.variables,
            templar: &engine.templar,
            render: self.render_cx(&work.scope, &hooks, check),
            vault: &engine.vault,
            check,
            verbosity: engine.options.verbosity,
            search: self.search,
            playbook_dir: &self.run.play.playbook_dir,
            role_dir,
            learners: &learners,
            console: &*engine.console,
        };
        let answer = module.run(args, &cx).await?;
        let mut result = answer.result;
        put(&mut result, "changed", answer.changed);
        put(&mut result, "failed", answer.failed);
        if answer.skipped {
            put(&mut result, "skipped", true);
        }
        let status = match (answer.failed, answer.skipped, answer.changed) {
            (true, ..) => Status::Failed,
            (_, true, _) => Status::Skipped,
            (.., true) => Status::Changed,
            _ => Status::Ok,
        };
        Ok(Outcome::new(status, result))
    }

    /// The host to act on, with the overlay in check mode.
    pub(super) async fn target(&self, work: &Work, check: bool) -> Result<Reached, Failure> {
        let engine = self.run.engine;
        let name = work.delegate.clone().unwrap_or_else(|| self.host.to_string());
        // A delegate is reached by its own variables; the task's keywords hold for both.
        let own;
        let scope = match &work.delegate {
            Some(delegate) if **delegate != *self.host => {
                own = engine.variables.scope(delegate, self.layers);
                &own
            }
            _ => &work.scope,
        };
        let render = |val: &Val| self.render_with(scope, val);
        let settings = connect::settings(engine, &name, scope, &self.task.keywords, &render)?;
        let target = engine.target(&name, &settings, check).await?;
        Ok((name, settings, target))
    }

    /// The target of `wait_for_connection`, as soon as it answers.
    pub(super) async fn awaited_target(
        &self,
        work: &Work,
        check: bool,
        args: wait_for_connection::Args,
    ) -> Result<Reached, Failure> {
        let seconds = |s: f64| Duration::from_secs_f64(s.max(0.0));
        tokio::time::sleep(seconds(args.delay)).await;
        let began = Instant::now();
        loop {
            let limit = seconds(args.connect_timeout.max(0.1));
            let answers = async {
                let reached = self.target(work, check).await?;
                reached.2.probe(Command::shell("echo")).await?;
                Ok::<_, Failure>(reached)
            };
            let why = match tokio::time::timeout(limit, answers).await {
                Ok(Ok(reached)) => return Ok(reached),
                Ok(Err(why)) if !why.unreachable => return Err(why),
                Ok(Err(why)) => why.message,
                Err(_) => format!("no answer within {} seconds", args.connect_timeout),
            };
            if began.elapsed() >= seconds(args.timeout) {
                let message = format!("timed out waiting for the host: {why}");
                return Err(Failure::new(message).value("elapsed", began.elapsed().as_secs() as i64));
            }
            let name = work.delegate.as_deref().unwrap_or(&self.host);
            self.run.engine.connections.reset(name).await;
            tokio::time::sleep(seconds(args.sleep)).await;
        }
    }
}

/// What the task names in `secrets:` is Secret, wherever it is in the result.
fn hidden(values: Map, names: &[Text]) -> Map {
    values
        .into_iter()
        .map(|(key, value)| match names.iter().any(|name| key.as_str() == Some(name.as_str())) {
            true => (key, value.into_secret()),
            false => (key, hidden_below(value, names)),
        })
        .collect()
}

fn hidden_below(value: Val, names: &[Text]) -> Val {
    match value {
        Val::Map(map) => Val::map(hidden(Arc::unwrap_or_clone(map), names)),
        Val::List(list) => Val::list(list.iter().map(|item| hidden_below(item.clone(), names)).collect()),
        other => other,
    }
}

/// Python's `splitlines`, keeping the secret bit.
fn split_lines(text: &Text) -> Val {
    let lines = text.split_terminator('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
    Val::list(lines.map(|l| if text.is_secret() { Val::secret(l) } else { Val::from(l) }).collect())
}
