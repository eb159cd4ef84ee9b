//! Magic variables: what the engine tells templates about the run, the play and the task.
//! Push each one's `vars()` into [`Layer::Magic`](super::Layer::Magic).

use std::path::{Path, PathBuf};

use crate::inventory::HostName;
use crate::source::{Map, Val};

/// The command line, as templates see it.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    pub config_file: Option<PathBuf>,
    /// The Python of the operator's machine, if it has one: playbooks name it to run scripts.
    pub python: Option<PathBuf>,
    pub check_mode: bool,
    pub diff_mode: bool,
    pub verbosity: u8,
    pub forks: u32,
    pub run_tags: Vec<String>,
    pub skip_tags: Vec<String>,
    /// `--limit` as it was typed.
    pub limit: Option<String>,
}

/// One play. `hosts` shrinks as hosts fail: push a new one then.
#[derive(Debug, Clone, Default)]
pub struct PlayInfo {
    pub name: String,
    /// All hosts that the play's pattern and `--limit` pick.
    pub hosts_all: Vec<HostName>,
    /// Those of them that have not failed and are reachable.
    pub hosts: Vec<HostName>,
    /// Those of the current `serial` batch.
    pub batch: Vec<HostName>,
    /// Roles that the play names itself.
    pub role_names: Vec<String>,
    /// Roles that they depend on.
    pub dependent_role_names: Vec<String>,
}

/// The role that a task belongs to.
#[derive(Debug, Clone, Default)]
pub struct RoleInfo {
    pub name: String,
    /// With its collection, if it is in one: `acme.infra.web`.
    pub full_name: String,
    pub path: PathBuf,
    /// The roles that included this one, nearest first.
    pub parents: Vec<String>,
    /// Their folders, in the same order.
    pub parent_paths: Vec<PathBuf>,
}

/// One task.
#[derive(Debug, Clone, Default)]
pub struct TaskInfo {
    pub role: Option<RoleInfo>,
    /// The keyword `environment`, of task, blocks and play, unrendered.
    pub environment: Val,
    /// Folders in which `files/`, `templates/` and bare names are tried, first match wins.
    pub search_path: Vec<PathBuf>,
}

impl RunInfo {
    pub fn vars(&self, inventory_sources: &[String], playbook_dir: Option<&Path>) -> Map {
        let mut vars = map([
            // Which ansible-core this behaves as.
            ("ansible_version", version(2, 19, 0)),
            ("ansible_config_file", Val::from(self.config_file.as_deref().map(path))),
            ("ansible_check_mode", Val::from(self.check_mode)),
            ("ansible_diff_mode", Val::from(self.diff_mode)),
            ("ansible_verbosity", Val::from(i64::from(self.verbosity))),
            ("ansible_forks", Val::from(i64::from(self.forks))),
            ("ansible_run_tags", names(&self.run_tags)),
            ("ansible_skip_tags", names(&self.skip_tags)),
            ("ansible_inventory_sources", names(inventory_sources)),
            ("omit", Val::Omit),
        ]);
        if let Some(limit) = &self.limit {
            vars.insert(Val::from("ansible_limit"), Val::from(limit.as_str()));
        }
        if let Some(python) = &self.python {
            vars.insert(Val::from("ansible_playbook_python"), path(python));
        }
        if let Some(dir) = playbook_dir {
            vars.insert(Val::from("playbook_dir"), path(dir));
        }
        vars
    }
}

impl PlayInfo {
    pub fn vars(&self) -> Map {
        let mut all_roles = self.dependent_role_names.clone();
        all_roles.extend(self.role_names.iter().filter(|r| !self.dependent_role_names.contains(r)).cloned());
        let batch = names(&self.batch);
        let roles = names(&self.role_names);
        map([
            ("ansible_play_name", Val::from(self.name.as_str())),
            ("ansible_play_hosts_all", names(&self.hosts_all)),
            ("ansible_play_hosts", names(&self.hosts)),
            ("ansible_play_batch", batch.clone()),
            ("play_hosts", batch),
            ("ansible_play_role_names", roles.clone()),
            ("role_names", roles),
            ("ansible_dependent_role_names", names(&self.dependent_role_names)),
            ("ansible_role_names", names(&all_roles)),
        ])
    }
}

impl TaskInfo {
    pub fn vars(&self) -> Map {
        let search = self.search_path.iter().map(|p| path(p)).collect::<Vec<_>>();
        let mut vars =
            map([("environment", self.environment.clone()), ("ansible_search_path", Val::from(search))]);
        if let Some(role) = &self.role {
            vars.extend(map([
                ("role_name", Val::from(role.name.as_str())),
                ("ansible_role_name", Val::from(role.full_name.as_str())),
                ("role_path", path(&role.path)),
            ]));
            // Only a role that another one brought has parents.
            if !role.parents.is_empty() {
                let paths = role.parent_paths.iter().map(|p| path(p)).collect::<Vec<_>>();
                vars.insert(Val::from("ansible_parent_role_names"), names(&role.parents));
                vars.insert(Val::from("ansible_parent_role_paths"), Val::from(paths));
            }
        }
        vars
    }
}

fn map<const N: usize>(entries: [(&str, Val); N]) -> Map {
    entries.into_iter().map(|(k, v)| (Val::from(k), v)).collect()
}

fn names<S: AsRef<str>>(names: &[S]) -> Val {
    Val::from(names.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
}

fn path(path: &Path) -> Val {
    Val::from(path.to_string_lossy().as_ref())
}

fn version(major: i64, minor: i64, revision: i64) -> Val {
    let full = format!("{major}.{minor}.{revision}");
    Val::map(map([
        ("full", Val::from(full.as_str())),
        ("string", Val::from(full.as_str())),
        ("major", Val::from(major)),
        ("minor", Val::from(minor)),
        ("revision", Val::from(revision)),
    ]))
}
