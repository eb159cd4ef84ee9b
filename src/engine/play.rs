//! One play: its hosts, batches, facts, sections and handlers.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::inventory::HostName;
use crate::playbook::{Handler, Item, Play, Role, Section, Setting, Task};
use crate::source::args::parse_bool;
use crate::source::{Diagnostic, Map, Text, Val};
use crate::vars::Layers;

use super::event::{Event, TaskLabel};
use super::strategy::{Failures, Frame};
use super::{Ending, Engine, Gathering};

mod batches;
mod state;
mod variables;

pub use batches::{run, worse};
pub use state::{Progress, State};
pub use variables::render;

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
            if section != Section::Roles {
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
            let diagnostic = Diagnostic::error("bad-setting", message, span);
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
