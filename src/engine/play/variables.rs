//! What the tasks of a play see: its variables, the magic ones about it, and texts rendered with them.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexSet;

use crate::engine::Engine;
use crate::engine::event::Event;
use crate::engine::services::RunHooks;
use crate::inventory::HostName;
use crate::module::Failure;
use crate::playbook::{Play, Role, Task};
use crate::source::{Map, Val};
use crate::template::RenderCx;
use crate::vars::{Layer, Layers, PlayInfo, RoleInfo, Scope, TaskInfo, load_vars_file};

use super::PlayRun;

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

pub(super) fn export(layers: &mut Layers, role: &Role) {
    if let Some(exports) = &role.exports {
        layers.push(Layer::RoleDefaults, exports.defaults.clone());
        layers.push(Layer::RoleVars, exports.vars.clone());
    }
}

impl PlayRun<'_> {
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
    pub(super) fn vars_files(&self, host: &HostName, layers: &Layers) -> Arc<Map> {
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
}
