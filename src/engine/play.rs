//! One play: its hosts, batches, facts, sections and handlers.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use indexmap::{IndexMap, IndexSet};

use crate::inventory::{HostName, Order as HostOrder};
use crate::module::Failure;
use crate::playbook::{Handler, Item, Order, Play, Role, Setting, Task};
use crate::source::args::parse_bool;
use crate::source::{Map, Text, Val};
use crate::template::RenderCx;
use crate::vars::{Layer, Layers, PlayInfo, RoleInfo, Scope, TaskInfo, load_vars_file};

use super::event::{Event, TaskLabel};
use super::prompts;
use super::services::RunHooks;
use super::strategy::{Failures, Frame};
use super::undo::Applied;
use super::{Ending, Engine, Gathering};
use crate::run::journal::Sync;
use crate::run::record::Record;

/// A play while it runs.
pub struct PlayRun<'e> {
    pub engine: &'e Engine,
    pub play: &'e Play,
    hosts_all: Vec<HostName>,
    batch: Vec<HostName>,
    state: Mutex<State>,
    handlers: Mutex<Vec<Arc<Handler>>>,
    base: Mutex<Layers>,
    /// Number of the play in the run, and of the batch in the play: what Instance ids begin with.
    pub site: String,
}

/// What changes while a batch runs.
#[derive(Default)]
pub struct State {
    pub failed: IndexSet<HostName>,
    pub unreachable: IndexSet<HostName>,
    /// By `meta: end_host` and its kin: neither failed nor taking part.
    pub ended: IndexSet<HostName>,
    pub batch_over: bool,
    pub play_over: bool,
    /// `any_errors_fatal` or `max_fail_percentage` struck.
    pub stopped: bool,
    /// An interrupt ended a list of tasks before its end.
    pub cut: bool,
    /// How often `meta: clear_host_errors` took effect: failures from before are forgotten.
    pub clears: usize,
    /// Handler (by its index) → hosts.
    pub notified: IndexMap<usize, IndexSet<HostName>>,
    /// Role identity and host, of roles that came to their end after a task of theirs ran.
    roles_run: HashSet<(String, HostName)>,
    /// Of roles with a task that ran: not skipped, and on a reachable host.
    pub roles_begun: HashSet<(String, HostName)>,
    pub left_roles: HashSet<(String, HostName)>,
    /// Steps in the order applied, as far as a transaction may need them.
    pub applied: HashMap<HostName, Vec<Applied>>,
    vars_files: HashMap<HostName, Arc<Map>>,
    /// How often handlers were flushed.
    flushes: usize,
}

impl State {
    /// How many hosts failed or are out of reach.
    fn gone(&self) -> usize {
        self.failed.union(&self.unreachable).count()
    }
}

/// What is remembered from one play to the next.
#[derive(Debug, Default)]
pub struct Progress {
    /// `--start-at-task` was reached.
    pub started: bool,
    /// `--step` was answered with "continue".
    pub step_over: bool,
    /// Hosts that take no part in later plays.
    failed: IndexSet<HostName>,
    unreachable: IndexSet<HostName>,
    /// A whole batch failed, or one failure was everyone's: there are no later plays.
    pub over: bool,
    /// How many plays have begun.
    plays: usize,
}

impl Progress {
    /// What is known of the hosts of a batch before it runs.
    fn of(&self, batch: &[HostName]) -> State {
        let among =
            |hosts: &IndexSet<HostName>| batch.iter().filter(|h| hosts.contains(*h)).cloned().collect();
        State { failed: among(&self.failed), unreachable: among(&self.unreachable), ..State::default() }
    }

    fn learn(&mut self, batch: &[HostName], state: &State) {
        for (known, now) in [(&mut self.failed, &state.failed), (&mut self.unreachable, &state.unreachable)] {
            known.retain(|h| !batch.contains(h));
            known.extend(now.iter().cloned());
        }
    }
}

pub async fn run(engine: &Engine, play: &Play) -> Ending {
    engine.progress().plays += 1;
    match prepare(engine, play) {
        Ok(None) => Ending::Fine,
        Ok(Some((hosts, base))) => {
            if let Err(failure) = engine.locks.take_for(engine, play, &hosts, &base).await {
                return refused(engine, play, failure);
            }
            batches(engine, play, hosts, base).await
        }
        Err(failure) => refused(engine, play, failure),
    }
}

/// Why a play doesn't begin.
fn refused(engine: &Engine, play: &Play, failure: Failure) -> Ending {
    let diagnostic = failure.diagnostic.unwrap_or_else(|| {
        let mut diagnostic = crate::source::Diagnostic::error("play", failure.message, &play.span);
        diagnostic.help = failure.help;
        Box::new(diagnostic)
    });
    engine.sink.send(Event::Diagnostic(diagnostic));
    Ending::Error
}

/// The play's hosts and variables; `None` where no host matches.
fn prepare(engine: &Engine, play: &Play) -> Result<Option<(Vec<HostName>, Layers)>, Failure> {
    let mut base = Layers::new();
    base.push(Layer::PlayVars, play.vars.clone());
    for role in &play.roles {
        export(&mut base, role);
    }
    let prompted = prompts::answers(engine, play)?;
    base.push(Layer::PlayPrompts, prompted);
    let scope = engine.variables.scope("localhost", &base);
    let mut patterns = Vec::new();
    for pattern in &play.hosts {
        match render(engine, play, &scope, &Val::Text(pattern.clone()))? {
            Val::List(many) => patterns.extend(many.iter().map(Val::key_text)),
            one => patterns.push(one.key_text()),
        }
    }
    let selection = engine
        .variables
        .inventory()
        .select(&patterns, engine.options.limit.as_ref())
        .map_err(|e| Failure::new(e.to_string()))?;
    for warning in selection.warnings {
        engine.warn(warning);
    }
    let mut hosts = selection.hosts;
    order(play.order).apply(&mut hosts);
    let name = match &play.name {
        Some(name) => {
            render(engine, play, &scope, &Val::Text(name.clone())).map_or(name.to_string(), |v| v.key_text())
        }
        None => patterns.join(","),
    };
    let name = engine.redactor.redact(&name).into_owned();
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    if let (Some(log), None) = (&engine.log, &engine.own_undo) {
        log.write(&Record::Play { name: name.clone(), hosts: names.clone() }, Sync::Later)?;
    }
    engine.sink.send(Event::PlayStarted { name, hosts: names });
    if hosts.is_empty() {
        engine.sink.send(Event::NoHosts { pattern: patterns.join(",") });
        return Ok(None);
    }
    let sealed = engine.variables.sealed_for(&hosts);
    if sealed.has_errors() {
        return Err(sealed_failure(engine, sealed));
    }
    Ok(Some((hosts, base)))
}

fn sealed_failure(engine: &Engine, sealed: crate::source::Diagnostics) -> Failure {
    let mut all = sealed.0.into_iter();
    let first = all.next();
    for other in all {
        engine.sink.send(Event::Diagnostic(Box::new(other)));
    }
    let mut failure = Failure::new("variables of these hosts can't be decrypted");
    failure.diagnostic = first.map(Box::new);
    failure
}

fn order(order: Order) -> HostOrder {
    match order {
        Order::Inventory => HostOrder::Inventory,
        Order::ReverseInventory => HostOrder::ReverseInventory,
        Order::Sorted => HostOrder::Sorted,
        Order::ReverseSorted => HostOrder::ReverseSorted,
        Order::Shuffle => HostOrder::Shuffle,
    }
}

fn export(layers: &mut Layers, role: &Role) {
    if let Some(exports) = &role.exports {
        layers.push(Layer::RoleDefaults, exports.defaults.clone());
        layers.push(Layer::RoleVars, exports.vars.clone());
    }
}

pub fn render(engine: &Engine, play: &Play, scope: &Scope, val: &Val) -> Result<Val, Failure> {
    let hooks = RunHooks { engine };
    let search = [play.playbook_dir.clone()];
    let cx = RenderCx {
        names: scope,
        search: &search,
        playbook_dir: &play.playbook_dir,
        check_mode: engine.options.check,
        hooks: &hooks,
        impure: None,
    };
    Ok(engine.templar.render(val, &cx)?)
}

async fn batches(engine: &Engine, play: &Play, hosts: Vec<HostName>, base: Layers) -> Ending {
    let scope = engine.variables.scope("localhost", &base);
    let sizes = match serial(engine, play, &scope, hosts.len()) {
        Ok(sizes) => sizes,
        Err(failure) => {
            engine.sink.send(Event::Diagnostic(Box::new(crate::source::Diagnostic::error(
                "serial",
                failure.message,
                &play.span,
            ))));
            return Ending::Error;
        }
    };
    let mut ending = Ending::Fine;
    let mut rest = hosts.as_slice();
    let mut sizes = sizes.into_iter().peekable();
    let mut size = hosts.len();
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        // The last size holds for the rest.
        size = sizes.next().unwrap_or(size).clamp(1, rest.len());
        let (batch, later) = rest.split_at(size);
        rest = later;
        let known = engine.progress().of(batch);
        let gone_before = known.gone();
        let run = PlayRun {
            engine,
            play,
            hosts_all: hosts.clone(),
            batch: batch.to_vec(),
            state: Mutex::new(known),
            handlers: Mutex::new(play.handlers.clone()),
            base: Mutex::new(base.clone()),
            site: format!("{}.{number}", engine.progress().plays),
        };
        run.run_batch().await;
        let state = run.state();
        let gone = state.gone().saturating_sub(gone_before);
        ending = worse(ending, run.ending(&state));
        engine.progress().learn(batch, &state);
        if engine.interrupt.is_raised() {
            return Ending::Interrupted;
        }
        if state.stopped || gone == batch.len() {
            engine.progress().over = true;
            if gone > 0 {
                engine.sink.send(Event::NoMoreHosts);
            }
            break;
        }
        if state.play_over {
            break;
        }
    }
    ending
}

pub fn worse(a: Ending, b: Ending) -> Ending {
    let rank = |e: Ending| match e {
        Ending::Fine => 0,
        Ending::Failed => 1,
        Ending::Unreachable => 2,
        Ending::Error => 3,
        Ending::Interrupted => 4,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// Sizes of the batches: numbers, or percentages of all hosts.
fn serial(engine: &Engine, play: &Play, scope: &Scope, count: usize) -> Result<Vec<usize>, Failure> {
    let mut sizes = Vec::new();
    for entry in &play.serial {
        let rendered = render(engine, play, scope, entry)?;
        let entries = match rendered {
            Val::List(many) => many.to_vec(),
            one => vec![one],
        };
        for entry in entries.into_iter().filter(|e| !matches!(e, Val::Null | Val::Omit)) {
            let text = entry.key_text();
            let bad = || Failure::new(format!("serial must be a number or a percentage, got '{text}'"));
            let size = match text.trim().strip_suffix('%') {
                Some(percent) => {
                    let percent: f64 = percent.trim().parse().map_err(|_| bad())?;
                    ((percent / 100.0 * count as f64) as usize).max(1)
                }
                None => text.trim().parse::<usize>().map_err(|_| bad())?,
            };
            sizes.push(if size == 0 { count } else { size });
        }
    }
    Ok(if sizes.is_empty() { vec![count] } else { sizes })
}

impl PlayRun<'_> {
    async fn run_batch(&self) {
        let frame = Frame { site: self.site.as_str().into(), ..Frame::default() };
        // What is wrong in them is found before the first task.
        if !self.play.vars_files.is_empty() {
            let layers = self.play_layers();
            self.batch.iter().for_each(|host| drop(self.vars_files(host, &layers)));
            if self.state().stopped {
                return;
            }
        }
        if let Some(facts) = self.facts_task() {
            let item = [Item::Task(Arc::new(facts))];
            let known = |h: &HostName| self.engine.variables.host_vars().has_gathered(h);
            let is_smart =
                self.engine.options.gathering == Gathering::Smart && self.play.gather_facts.is_none();
            let hosts: Vec<HostName> =
                self.standing().into_iter().filter(|h| !is_smart || !known(h)).collect();
            let failed = self.items(&item, &hosts, &frame).await;
            self.note_failed(&failed);
        }
        for (section, items) in self.play.sections() {
            self.section(items, &frame).await;
            // Roles and tasks share one flush.
            if section != crate::playbook::Section::Roles {
                self.flush_section(&frame).await;
            }
            let state = self.state();
            if state.stopped || state.batch_over {
                break;
            }
        }
    }

    async fn section(&self, items: &[Item], frame: &Frame) {
        let hosts = self.standing();
        if !hosts.is_empty() {
            let failed = self.items(items, &hosts, frame).await;
            self.note_failed(&failed);
        }
    }

    async fn flush_section(&self, frame: &Frame) {
        let force = self
            .setting("force_handlers", &self.play.force_handlers, parse_bool)
            .unwrap_or(self.engine.options.force_handlers);
        let hosts = match force {
            true => self.still(&self.batch, frame),
            false if self.state().stopped => return,
            false => self.standing(),
        };
        let failed = self.flush_handlers(&hosts, frame).await;
        self.note_failed(&failed);
    }

    /// The site of a flush of handlers: a handler can run in each.
    pub fn next_flush(&self, frame: &Frame) -> Arc<str> {
        let mut state = self.state();
        state.flushes += 1;
        format!("{}/flush{}", frame.site, state.flushes).into()
    }

    /// A setting of the play or a task, which holds for all hosts alike. One that can't be used stops
    /// the play: nothing may run without the bound that somebody asked for.
    pub fn setting<T: Copy>(
        &self,
        name: &str,
        setting: &Option<Setting<T>>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = match setting {
            None => return None,
            Some(Setting::Fixed(value)) => return Some(*value),
            Some(Setting::Template(text)) => text,
        };
        let rendered = self.render_for(&self.batch, &Val::Text(text.clone())).key_text();
        let parsed = parse(rendered.trim());
        if parsed.is_none() {
            let span = text.origin().unwrap_or(&self.play.span);
            let message = format!("`{name}` can't be '{}'", self.engine.redactor.redact(&rendered));
            let diagnostic = crate::source::Diagnostic::error("bad-setting", message, span);
            self.engine.sink.send(Event::Diagnostic(Box::new(diagnostic)));
            self.stop();
        }
        parsed
    }

    /// Fails the whole batch.
    fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.failed.extend(self.batch.iter().cloned());
    }

    /// Hosts of the batch that have not failed.
    fn standing(&self) -> Vec<HostName> {
        let failed = self.state().failed.clone();
        self.still(&self.batch, &Frame::default()).into_iter().filter(|h| !failed.contains(h)).collect()
    }

    /// Those of `hosts` that can still be talked to and take part.
    pub fn still(&self, hosts: &[HostName], frame: &Frame) -> Vec<HostName> {
        let state = self.state();
        hosts
            .iter()
            .filter(|h| {
                let left = frame
                    .role
                    .as_ref()
                    .is_some_and(|r| state.left_roles.contains(&(r.to_string(), (*h).clone())));
                !state.unreachable.contains(*h) && !state.ended.contains(*h) && !left
            })
            .cloned()
            .collect()
    }

    /// Keeps failed hosts out of what follows; `max_fail_percentage` may stop everything.
    pub fn note_failed(&self, failures: &Failures) {
        self.state().failed.extend(failures.keys().cloned());
        let limit = self.setting("max_fail_percentage", &self.play.max_fail_percentage, |t| t.parse().ok());
        let Some(limit) = limit else { return };
        let mut state = self.state();
        let gone = state.failed.union(&state.unreachable).count();
        if gone as f64 / self.batch.len().max(1) as f64 * 100.0 > limit {
            state.stopped = true;
            state.failed.extend(self.batch.iter().cloned());
            state.ended.extend(self.batch.iter().cloned());
        }
    }

    fn ending(&self, state: &State) -> Ending {
        // One failure that stopped all counts as a failure, whoever was out of reach.
        if !state.unreachable.is_empty() && !state.stopped {
            Ending::Unreachable
        } else if state.gone() > 0 {
            Ending::Failed
        } else {
            Ending::Fine
        }
    }

    /// The hosts for which a role runs now: not where it ran before.
    pub fn enter_role(&self, role: &Role, hosts: &[HostName]) -> Vec<HostName> {
        let mut state = self.state();
        hosts
            .iter()
            .filter(|host| {
                let key = (role.identity.clone(), (*host).clone());
                state.left_roles.remove(&key);
                role.allow_duplicates || !state.roles_run.contains(&key)
            })
            .cloned()
            .collect()
    }

    /// A role's tasks are through: it won't run again where it ran.
    pub fn leave_role(&self, role: &Role, hosts: &[HostName]) {
        let mut state = self.state();
        for host in hosts {
            let key = (role.identity.clone(), host.clone());
            if state.roles_begun.contains(&key) {
                state.roles_run.insert(key);
            }
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn engine_state(&self) -> MutexGuard<'_, Progress> {
        self.engine.progress()
    }

    pub fn handlers(&self) -> Vec<Arc<Handler>> {
        self.handlers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub fn add_handlers(&self, more: Vec<Arc<Handler>>) {
        self.handlers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(more);
    }

    /// `public: true`: the whole play sees the role's variables from now on.
    pub fn export_role(&self, role: &Role) {
        export(&mut self.base.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), role);
    }

    /// What the play gives to every task: its variables and the magic ones about it.
    pub fn play_layers(&self) -> Layers {
        let mut layers = self.base.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        let (failed, unreachable) = {
            let state = self.state();
            (state.failed.clone(), state.unreachable.clone())
        };
        let alive = |h: &&HostName| !failed.contains(*h) && !unreachable.contains(*h);
        let names = |roles: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            let unique: IndexSet<String> = roles.map(String::from).collect();
            unique.into_iter().collect()
        };
        let info = PlayInfo {
            name: self.play.name.as_ref().map_or_else(
                || self.play.hosts.iter().map(|h| h.to_string()).collect::<Vec<_>>().join(","),
                |n| n.to_string(),
            ),
            hosts_all: self.hosts_all.clone(),
            hosts: self.hosts_all.iter().filter(alive).cloned().collect(),
            batch: self.batch.iter().filter(alive).cloned().collect(),
            role_names: names(&mut self.play.roles.iter().map(|r| r.name.as_str())),
            dependent_role_names: names(
                &mut self.play.roles.iter().flat_map(|r| r.dependencies.iter().map(String::as_str)),
            ),
        };
        layers.push(Layer::Magic, info.vars());
        layers
    }

    /// What a task on a host sees.
    pub fn scope(&self, host: &HostName, layers: &Layers) -> Scope {
        let mut scope = self.engine.variables.scope(host, layers);
        if !self.play.vars_files.is_empty() {
            scope.push(Layer::PlayVarsFiles, self.vars_files(host, layers));
        }
        scope
    }

    /// `vars_files` of one host, read once: names may hold its variables.
    fn vars_files(&self, host: &HostName, layers: &Layers) -> Arc<Map> {
        if let Some(known) = self.state().vars_files.get(host) {
            return known.clone();
        }
        let scope = self.engine.variables.scope(host, layers);
        let mut vars = Map::new();
        let mut complete = true;
        for entry in &self.play.vars_files {
            let candidates = match entry {
                Val::List(many) => many.to_vec(),
                one => vec![one.clone()],
            };
            let mut problem = None;
            let mut found = false;
            for candidate in &candidates {
                let name = match render(self.engine, self.play, &scope, candidate) {
                    Ok(name) => name.key_text(),
                    Err(why) => {
                        // A name that needs facts is tried again when they are there.
                        complete = false;
                        problem = Some(why.message);
                        continue;
                    }
                };
                let place = [self.play.dir.join("vars").join(&name), self.play.dir.join(&name)];
                let Some(path) = place.iter().find(|p| p.is_file()) else {
                    problem = Some(format!("vars file {name} was not found"));
                    continue;
                };
                match load_vars_file(path, &self.engine.vault) {
                    Ok(more) => vars.extend(more),
                    Err(problems) => {
                        for p in problems.0 {
                            self.engine.sink.send(Event::Diagnostic(Box::new(p)));
                        }
                        // Nothing may run without the variables that somebody asked for.
                        self.stop();
                    }
                }
                found = true;
                break;
            }
            if let (false, true, Some(why)) = (found, complete, problem) {
                self.engine.warn(format!("{}: {why}", self.play.span));
            }
        }
        let vars = Arc::new(vars);
        self.engine.redactor.register_val(&Val::Map(vars.clone()));
        if complete {
            self.state().vars_files.insert(host.clone(), vars.clone());
        }
        vars
    }

    /// The implicit `Gathering Facts`, if this play gathers.
    fn facts_task(&self) -> Option<Task> {
        let wanted = self
            .setting("gather_facts", &self.play.gather_facts, parse_bool)
            .unwrap_or(self.engine.options.gathering != Gathering::Explicit);
        if !wanted {
            return None;
        }
        let mut args = Map::new();
        if let Some(subset) = &self.play.gather_subset {
            args.insert("gather_subset".into(), Val::list(subset.iter().cloned().map(Val::Text).collect()));
        }
        if let Some(timeout) = self.setting("gather_timeout", &self.play.gather_timeout, |t| t.parse().ok()) {
            args.insert("gather_timeout".into(), Val::Int(timeout));
        }
        if let Some(path) = &self.play.fact_path {
            args.insert("fact_path".into(), Val::Text(path.clone()));
        }
        let mut keywords = self.play.keywords.clone();
        keywords.tags = vec![Text::new("always")];
        keywords.when = self.play.imported_when.clone();
        Some(Task::implicit(
            &self.play.span,
            "Gathering Facts",
            "ansible.builtin.setup",
            Val::map(args),
            keywords,
        ))
    }

    pub fn task_info(&self, task: &Task) -> TaskInfo {
        TaskInfo {
            role: task.role.as_ref().map(|role| RoleInfo {
                name: role.name.clone(),
                full_name: role.name.clone(),
                path: role.path.clone(),
                parents: role.parents.iter().rev().map(|r| r.name.clone()).collect(),
                parent_paths: role.parents.iter().rev().map(|r| r.path.clone()).collect(),
            }),
            environment: Val::list(task.keywords.environment.clone()),
            search_path: self.search_path(task),
        }
    }

    /// `ansible_search_path`: the role and those that depend on it, the task's folder, the
    /// playbook's.
    pub fn search_path(&self, task: &Task) -> Vec<PathBuf> {
        let mut dirs: IndexSet<PathBuf> = IndexSet::new();
        if let Some(role) = &task.role {
            dirs.insert(role.path.clone());
            dirs.extend(role.parents.iter().rev().map(|r| r.path.clone()));
        }
        dirs.extend(task.span.dir().map(PathBuf::from));
        dirs.insert(self.play.playbook_dir.clone());
        dirs.into_iter().collect()
    }

    /// Renders for the first of `hosts`; what can't be rendered stays as it was written.
    pub fn render_for(&self, hosts: &[HostName], val: &Val) -> Val {
        let layers = self.play_layers();
        let scope = hosts.first().map(|h| self.scope(h, &layers));
        self.render_quietly(scope.as_ref(), val)
    }

    pub fn render_quietly(&self, scope: Option<&Scope>, val: &Val) -> Val {
        let plain = || val.map_texts(&|t| t.plain());
        match scope {
            Some(scope) => render(self.engine, self.play, scope, val).unwrap_or_else(|_| plain()),
            None => plain(),
        }
    }

    pub fn render_title(&self, val: &Val) -> Val {
        self.render_for(&self.batch, val)
    }

    pub fn plain_label(&self, task: &Task, hosts: &[HostName]) -> Arc<TaskLabel> {
        Arc::new(TaskLabel {
            name: self.title(task, hosts),
            action: task.action.written().to_string(),
            span: task.span.clone(),
            handler: false,
            again: task.keywords.again,
            id: self.engine.next_task_id(),
        })
    }
}
