//! One task on all its hosts: banner, forks, results, includes.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::inventory::HostName;
use crate::module::control;
use crate::playbook::{Action, Item, ModuleCall, RoleFiles, Task};
use crate::source::stored::Stored;
use crate::source::{Map, Text, Val};
use crate::vars::{Layer, Layers};

use super::event::{Event, Outcome, Status, TaskLabel};
use super::include::{Inclusion, Kind};
use super::instance::{Finished, Instance, put};
use super::play::PlayRun;
use super::stats::Taken;
use super::strategy::{FailedTask, Failures, Frame};
use super::tags;

impl PlayRun<'_> {
    /// Runs one task on hosts; tells which failed.
    pub async fn task(&self, task: &Arc<Task>, hosts: &[HostName], frame: &Frame) -> Failures {
        if !frame.handlers && !self.is_selected(task, hosts) {
            return Failures::new();
        }
        let title = self.title(task, hosts);
        if !self.has_started(&title, task) {
            return Failures::new();
        }
        if let Action::Module(call) = &task.action
            && call.canonical == "ansible.builtin.meta"
        {
            return self.meta(task, call, hosts, frame).await;
        }
        if !self.wants_step(&title).await {
            return Failures::new();
        }
        let label = Arc::new(TaskLabel {
            name: title,
            action: self.action(task, hosts),
            span: task.span.clone(),
            handler: frame.handlers,
            again: task.keywords.again,
            id: self.engine.next_task_id(),
        });
        if !task.implicit || self.engine.options.verbosity > 0 || !is_validation(task) {
            self.engine.sink.send(Event::TaskStarted(label.clone()));
        }
        let layers = self.task_layers(task, frame);
        let search = self.search_path(task);
        let once = self.runs_once(task, hosts, frame, &layers, &search, &label);
        let actors: &[HostName] = if once { &hosts[..1] } else { hosts };
        let finished = self.instances(task, &label, actors, hosts, once, frame, &layers, &search).await;
        let mut failures = Failures::new();
        let mut inclusions: Vec<(Inclusion, Vec<HostName>)> = Vec::new();
        let mut order: Vec<&HostName> = hosts.iter().collect();
        order.dedup();
        let mut finished = finished;
        finished.sort_by_key(|f| order.iter().position(|h| **h == f.host));
        for done in finished {
            for inclusion in done.inclusions {
                let takers: Vec<HostName> = if once { hosts.to_vec() } else { vec![done.host.clone()] };
                match inclusions
                    .iter_mut()
                    .find(|(known, who)| known.same_as(&inclusion) && !takers.iter().any(|t| who.contains(t)))
                {
                    Some((_, who)) => who.extend(takers),
                    None => inclusions.push((inclusion, takers)),
                }
            }
            if let Some(failed) = done.failure {
                failures.insert(done.host.clone(), failed);
                if once {
                    // The other hosts have no result to go on with.
                    let first = failures[&done.host].clone();
                    failures.extend(hosts.iter().map(|h| (h.clone(), first.clone())));
                }
            }
        }
        self.spread_failure(task, hosts, &mut failures, frame, &layers, &search, &label);
        let before = failures.len();
        let standing = |who: &[HostName], failures: &Failures| -> Vec<HostName> {
            self.still(who, frame).into_iter().filter(|h| !failures.contains_key(h)).collect()
        };
        // All are read, and told, before the first of their tasks runs.
        let mut read = Vec::new();
        for (inclusion, who) in inclusions {
            let who = standing(&who, &failures);
            if who.is_empty() {
                continue;
            }
            match self.included(task, &inclusion, &who, frame) {
                Ok(items) => read.push((inclusion, items, who)),
                Err(failed) => failures.extend(failed),
            }
        }
        for (inclusion, items, who) in read {
            let mut inner = frame.clone();
            inner.site = self.site_of(frame, task, &inclusion);
            inner.vars.extend(inclusion.vars);
            let who = standing(&who, &failures);
            if !who.is_empty() {
                failures.extend(self.items(&items, &who, &inner).await);
            }
        }
        if failures.len() > before {
            self.spread_failure(task, hosts, &mut failures, frame, &layers, &search, &label);
        }
        failures
    }

    /// Where included tasks stand: the include, what it included, for which item.
    fn site_of(&self, frame: &Frame, task: &Task, inclusion: &Inclusion) -> Arc<str> {
        let item = match (&self.engine.log, inclusion.vars.is_empty()) {
            (Some(log), false) => {
                let values: Vec<Val> = inclusion.vars.iter().map(|(_, v)| v.clone()).collect();
                format!("#{}", log.recorder.fingerprint(values.store().to_string().as_bytes()))
            }
            _ => String::new(),
        };
        format!("{}/{}[{}{item}]", frame.site, task.path, inclusion.what()).into()
    }

    #[allow(clippy::too_many_arguments)]
    async fn instances(
        &self,
        task: &Arc<Task>,
        label: &Arc<TaskLabel>,
        actors: &[HostName],
        hosts: &[HostName],
        once: bool,
        frame: &Frame,
        layers: &Layers,
        search: &[PathBuf],
    ) -> Vec<Processed> {
        let throttle = match self.setting("throttle", &task.keywords.throttle, |t| t.parse().ok()) {
            Some(most) if most > 0 => most as usize,
            None if task.keywords.throttle.is_some() => return Vec::new(),
            _ => usize::MAX,
        };
        let width = self.engine.options.forks.max(1).min(throttle);
        let mut waiting = actors.iter();
        let mut running = FuturesUnordered::new();
        let mut processed = Vec::new();
        loop {
            while running.len() < width {
                let Some(host) = waiting.next() else { break };
                if self.is_cut(frame) {
                    break;
                }
                let learners = match once {
                    true => hosts.iter().map(ToString::to_string).collect(),
                    false => vec![host.to_string()],
                };
                self.engine.sink.send(Event::InstanceStarted { task: label.clone(), host: host.to_string() });
                let id = format!("{}/{}@{host}", frame.site, task.path);
                let instance = Instance {
                    run: self,
                    task,
                    label,
                    host: host.clone(),
                    id,
                    frame,
                    layers,
                    search,
                    learners,
                };
                running.push(async move {
                    let finished = instance.finish().await;
                    (instance, finished)
                });
            }
            match running.next().await {
                Some((instance, finished)) => {
                    processed.push(self.process(&instance, finished));
                    self.own_undo(&instance).await;
                }
                None => break,
            }
        }
        processed
    }

    /// Registers, notifies, counts and tells what one Instance came to.
    fn process(&self, instance: &Instance<'_>, mut finished: Finished) -> Processed {
        let task = instance.task;
        let host = finished.host.clone();
        let scope = self.scope(&host, instance.layers);
        let flag = |setting| instance.boolean(&scope, setting, false).unwrap_or(false);
        let learned = self.engine.variables.host_vars();
        for name in &finished.notified {
            if let Err(why) = self.notify(&host, name) {
                let mut outcome = Outcome::failed(why);
                put(&mut outcome.result, "failed", true);
                put(&mut outcome.result, "changed", true);
                finished.outcome = outcome;
            }
        }
        let outcome = &finished.outcome;
        let ignored = match outcome.status {
            Status::Failed => flag(&task.keywords.ignore_errors),
            Status::Unreachable => flag(&task.keywords.ignore_unreachable),
            _ => false,
        };
        let mut registered = outcome.result.clone();
        for key in ["changed", "failed"] {
            registered.entry(key.into()).or_insert(Val::Bool(false));
        }
        let registered = Val::map(registered);
        let delegate = finished.delegate.clone();
        for learner in &instance.learners {
            if let Some(name) = &task.register {
                learned.register(learner, name, registered.clone());
            }
            self.learn_facts(
                task,
                learner,
                delegate.as_deref(),
                flag(&task.keywords.delegate_facts),
                outcome,
            );
        }
        if !finished.applied.is_empty() {
            self.state().applied.entry(host.clone()).or_default().append(&mut finished.applied);
        }
        if let Some(role) = &task.role
            && !matches!(outcome.status, Status::Skipped | Status::Unreachable)
        {
            self.state().roles_begun.insert((role.identity.clone(), host.clone()));
        }
        let stands = outcome.is_failed() && !ignored;
        let taken = match (stands, instance.frame.rescuable) {
            (false, _) => Taken::Ignored,
            (true, true) if outcome.status == Status::Failed => Taken::Rescued,
            (true, _) => Taken::Stands,
        };
        // An include in a loop counts once for each item.
        for _ in 0..finished.inclusions.len().max(1) {
            self.engine.stats.count(&host, outcome, taken);
        }
        let is_include = !finished.inclusions.is_empty() && !outcome.is_failed();
        if !is_include {
            self.engine.sink.send(Event::InstanceDone {
                task: instance.label.clone(),
                host: host.to_string(),
                delegate: delegate.clone(),
                outcome: Arc::new(instance.shown(finished.no_log, outcome)),
                ignored,
                looped: finished.looped,
            });
        }
        if outcome.status == Status::Unreachable && !ignored {
            self.state().unreachable.insert(host.clone());
        }
        let failure =
            stands.then(|| FailedTask { task: failed_task(task, instance.label), result: registered });
        Processed { host, failure, inclusions: if stands { vec![] } else { finished.inclusions } }
    }

    fn learn_facts(
        &self,
        task: &Task,
        learner: &str,
        delegate: Option<&str>,
        to_delegate: bool,
        outcome: &Outcome,
    ) {
        // Those that act on the run set variables themselves; what they show are no facts.
        if matches!(&task.action, Action::Module(call) if control::find(&call.canonical).is_some()) {
            return;
        }
        let results: Vec<&Map> = match outcome.get("results").and_then(Val::as_list) {
            Some(results) => results.iter().filter_map(Val::as_map).collect(),
            None => vec![&outcome.result],
        };
        for facts in results.iter().filter_map(|r| r.get("ansible_facts").and_then(Val::as_map)) {
            let owner = delegate.filter(|_| to_delegate).unwrap_or(learner);
            self.engine.variables.host_vars().set_facts(owner, facts);
        }
    }

    /// `any_errors_fatal`: one host's failure is everyone's.
    #[allow(clippy::too_many_arguments)]
    fn spread_failure(
        &self,
        task: &Task,
        hosts: &[HostName],
        failures: &mut Failures,
        frame: &Frame,
        layers: &Layers,
        search: &[PathBuf],
        label: &Arc<TaskLabel>,
    ) {
        let unreachable = hosts.iter().any(|h| self.state().unreachable.contains(h));
        let Some(first) = failures.values().next().cloned() else { return };
        let Some(host) = hosts.first() else { return };
        let instance = self.bystander(task, label, host, frame, layers, search);
        let scope = self.scope(host, layers);
        if instance.boolean(&scope, &task.keywords.any_errors_fatal, false).unwrap_or(false) {
            failures.extend(hosts.iter().map(|h| (h.clone(), first.clone())));
            if !frame.rescuable || unreachable {
                self.state().stopped = true;
            }
        }
    }

    /// An Instance that only answers questions about its task: it is never run.
    pub fn bystander<'i>(
        &'i self,
        task: &'i Task,
        label: &'i Arc<TaskLabel>,
        host: &HostName,
        frame: &'i Frame,
        layers: &'i Layers,
        search: &'i [PathBuf],
    ) -> Instance<'i> {
        let (host, id) = (host.clone(), String::new());
        Instance { run: self, task, label, host, id, frame, layers, search, learners: vec![] }
    }

    fn runs_once(
        &self,
        task: &Task,
        hosts: &[HostName],
        frame: &Frame,
        layers: &Layers,
        search: &[PathBuf],
        label: &Arc<TaskLabel>,
    ) -> bool {
        if let Action::Module(call) = &task.action
            && control::find(&call.canonical).is_some_and(control::Control::once)
        {
            return true;
        }
        let Some(host) = hosts.first() else { return false };
        let instance = self.bystander(task, label, host, frame, layers, search);
        let scope = self.scope(host, layers);
        instance.boolean(&scope, &task.keywords.run_once, false).unwrap_or(false)
    }

    /// Reads what is to be included; what is wrong in it fails the hosts.
    fn included(
        &self,
        task: &Task,
        inclusion: &Inclusion,
        hosts: &[HostName],
        frame: &Frame,
    ) -> Result<Vec<Item>, Failures> {
        let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let told =
            |file: String| Event::Included { file, hosts: names.clone(), item: inclusion.item().cloned() };
        let loaded = match &inclusion.kind {
            Kind::Tasks { include, file } => {
                self.engine.loader.include_tasks(include, file, task, self.play).map(|loaded| {
                    self.engine.sink.send(told(loaded.file.display().to_string()));
                    loaded.items
                })
            }
            Kind::Role { include, name, from, public, allow_duplicates } => {
                let text = |name: &Option<String>| name.as_deref().map(Text::new);
                let files = RoleFiles {
                    tasks: text(&from[0]),
                    vars: text(&from[1]),
                    defaults: text(&from[2]),
                    handlers: text(&from[3]),
                };
                self.engine
                    .loader
                    .include_role(include, name, &files, task, self.play, *public, *allow_duplicates)
                    .map(|loaded| {
                        self.engine.sink.send(told(name.clone()));
                        self.add_handlers(loaded.handlers);
                        if *public {
                            self.export_role(&loaded.role);
                        }
                        loaded.items
                    })
            }
        };
        loaded.map_err(|problems| {
            let mut messages = Vec::new();
            for problem in problems.0 {
                messages.push(problem.message.clone());
                self.engine.sink.send(Event::Diagnostic(Box::new(problem)));
            }
            self.fail_all(task, hosts, frame, &messages.join("; "))
        })
    }

    /// Fails a task on all hosts before it began.
    pub fn fail_all(&self, task: &Task, hosts: &[HostName], frame: &Frame, message: &str) -> Failures {
        let label = Arc::new(TaskLabel {
            name: self.title(task, hosts),
            action: task.action.written().to_string(),
            span: task.span.clone(),
            handler: frame.handlers,
            again: task.keywords.again,
            id: self.engine.next_task_id(),
        });
        let mut outcome = Outcome::failed(message);
        put(&mut outcome.result, "failed", true);
        put(&mut outcome.result, "changed", false);
        let result = Val::map(outcome.result.clone());
        let outcome = Arc::new(outcome);
        let taken = if frame.rescuable { Taken::Rescued } else { Taken::Stands };
        hosts
            .iter()
            .map(|host| {
                self.engine.stats.count(host, &outcome, taken);
                self.engine.sink.send(Event::InstanceDone {
                    task: label.clone(),
                    host: host.to_string(),
                    delegate: None,
                    outcome: outcome.clone(),
                    ignored: false,
                    looped: false,
                });
                (host.clone(), FailedTask { task: failed_task(task, &label), result: result.clone() })
            })
            .collect()
    }

    fn is_selected(&self, task: &Task, hosts: &[HostName]) -> bool {
        let options = &self.engine.options;
        if options.tags.is_empty() && options.skip_tags.is_empty() && task.keywords.tags.is_empty() {
            return true;
        }
        let mut all = Vec::new();
        for tag in &task.keywords.tags {
            match self.render_for(hosts, &Val::Text(tag.clone())) {
                Val::List(tags) => all.extend(tags.iter().map(Val::key_text)),
                tag => all.extend(tag.key_text().split(',').map(|t| t.trim().to_string())),
            }
        }
        tags::selected(&all, &options.tags, &options.skip_tags)
    }

    /// `--start-at-task`: a name or a glob; what comes before is passed over.
    fn has_started(&self, title: &str, task: &Task) -> bool {
        let Some(wanted) = &self.engine.options.start_at_task else { return true };
        let mut state = self.engine_state();
        if state.started || task.implicit {
            return true;
        }
        let own = title.rsplit_once(" : ").map_or(title, |(_, own)| own);
        let matches = |name: &str| name == wanted || glob(wanted, name);
        state.started = matches(title) || matches(own);
        state.started
    }

    async fn wants_step(&self, title: &str) -> bool {
        if !self.engine.options.step || self.engine_state().step_over {
            return true;
        }
        let prompt = format!("Perform task: {title} (N)o/(y)es/(c)ontinue: ");
        match self.engine.console.ask(&prompt, true).await.as_deref().map(str::trim) {
            Some("y" | "yes" | "Y") => true,
            Some("c" | "continue" | "C") => {
                self.engine_state().step_over = true;
                true
            }
            _ => false,
        }
    }

    /// `role : name`, rendered with the first host's variables; as written where that fails.
    pub fn title(&self, task: &Task, hosts: &[HostName]) -> String {
        let rendered = task.name.as_ref().map(|name| {
            let layers = self.task_layers(task, &Frame::default());
            let scope = hosts.first().map(|h| self.scope(h, &layers));
            self.render_quietly(scope.as_ref(), &Val::Text(name.clone())).key_text()
        });
        self.engine.redactor.redact(&task.title(rendered.as_deref())).into_owned()
    }

    /// The module that a task calls, as it is shown.
    fn action(&self, task: &Task, hosts: &[HostName]) -> String {
        match &task.action {
            Action::Module(ModuleCall { name: Some(name), .. }) => {
                let layers = self.task_layers(task, &Frame::default());
                let scope = hosts.first().map(|h| self.scope(h, &layers));
                self.render_quietly(scope.as_ref(), &Val::Text(name.clone())).key_text()
            }
            action => action.written().to_string(),
        }
    }

    /// The layers of a task, shared by all its hosts.
    pub fn task_layers(&self, task: &Task, frame: &Frame) -> Layers {
        let mut layers = self.play_layers();
        if let Some(role) = &task.role {
            layers.push(Layer::RoleDefaults, role.defaults.clone());
            layers.push(Layer::RoleVars, role.vars.clone());
            layers.push(Layer::RoleParams, role.params.clone());
        }
        layers.push(Layer::TaskVars, task.keywords.vars.clone());
        if !frame.vars.is_empty() {
            let vars: Map = frame.vars.iter().map(|(n, v)| (Val::from(n.as_str()), v.clone())).collect();
            layers.push(Layer::IncludeParams, vars);
        }
        layers.push(Layer::Magic, self.task_info(task).vars());
        layers
    }
}

/// What the strategy needs of a finished Instance.
struct Processed {
    host: HostName,
    failure: Option<FailedTask>,
    inclusions: Vec<Inclusion>,
}

fn is_validation(task: &Task) -> bool {
    matches!(&task.action, Action::Module(call) if call.canonical.ends_with("validate_argument_spec"))
}

/// `ansible_failed_task`: what people read of it.
fn failed_task(task: &Task, label: &TaskLabel) -> Val {
    let mut map = Map::new();
    let role = task.role.as_ref().map(|r| format!("{} : ", r.name)).unwrap_or_default();
    put(&mut map, "name", label.name.strip_prefix(&role).unwrap_or(&label.name));
    put(&mut map, "action", task.action.written());
    if let Action::Module(call) = &task.action {
        put(&mut map, "args", call.args.map_texts(&|t| t.plain()));
    }
    put(&mut map, "register", task.register.clone());
    put(&mut map, "path", label.span.to_string());
    Val::map(map)
}

/// A shell glob (`*`, `?`) over the whole name.
fn glob(pattern: &str, name: &str) -> bool {
    let mut regex = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            c => regex.push_str(&fancy_regex::escape(&c.to_string())),
        }
    }
    regex.push('$');
    fancy_regex::Regex::new(&regex).is_ok_and(|r| r.is_match(name).unwrap_or(false))
}
