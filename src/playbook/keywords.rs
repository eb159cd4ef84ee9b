//! The keywords that plays, blocks, roles and tasks share, and how they are inherited.

use std::sync::Arc;

use crate::source::{Map, Text, Val};

/// The value of a keyword: written out, or a template that is rendered for each host.
#[derive(Debug, Clone)]
pub enum Setting<T> {
    Fixed(T),
    Template(Text),
}

impl<T> Setting<T> {
    /// The value, if it was written out.
    pub fn fixed(&self) -> Option<&T> {
        match self {
            Setting::Fixed(value) => Some(value),
            Setting::Template(_) => None,
        }
    }
}

/// Keywords that are inherited. In a loaded [`Task`](super::Task) or [`Block`](super::Block)
/// they are resolved: what is `None` here was written nowhere up to the play.
///
/// `when`, `tags`, `vars`, `environment` and `module_defaults` accumulate, outermost first; all
/// others override. A [`Text`] may be a template.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    /// Every condition must hold, in this order.
    pub when: Vec<super::Condition>,
    /// May hold templates.
    pub tags: Vec<Text>,
    /// Variables of blocks, imports, includes and the task; a play's and a role's are not here.
    pub vars: Arc<Map>,
    /// Later entries override earlier ones; each a map or a template that gives one.
    pub environment: Vec<Val>,
    /// Canonical module name or `group/NAME` → arguments; later entries override earlier ones.
    pub module_defaults: Vec<Arc<Map>>,
    pub notify: Option<Vec<Text>>,
    pub collections: Option<Vec<Text>>,

    pub connection: Option<Text>,
    pub port: Option<Setting<i64>>,
    pub remote_user: Option<Text>,
    pub become_: Option<Setting<bool>>,
    pub become_user: Option<Text>,
    pub become_method: Option<Text>,
    pub become_flags: Option<Text>,
    pub become_exe: Option<Text>,
    pub delegate_to: Option<Text>,
    pub delegate_facts: Option<Setting<bool>>,

    pub no_log: Option<Setting<bool>>,
    pub run_once: Option<Setting<bool>>,
    pub ignore_errors: Option<Setting<bool>>,
    pub ignore_unreachable: Option<Setting<bool>>,
    pub any_errors_fatal: Option<Setting<bool>>,
    pub check_mode: Option<Setting<bool>>,
    pub diff: Option<Setting<bool>>,
    /// Most hosts at once; 0 is no limit.
    pub throttle: Option<Setting<i64>>,
    /// Seconds; 0 is no limit.
    pub timeout: Option<Setting<i64>>,
    pub debugger: Option<Text>,
    /// Ours, `again: ok`: a second run may change it again (a fresh backup).
    pub again: bool,
}

impl Keywords {
    /// `check_mode: true`, whatever the run's mode.
    pub fn only_look(&self) -> bool {
        self.check_mode.as_ref().and_then(Setting::fixed) == Some(&true)
    }

    /// These keywords, written inside something that has `outer`: what isn't written here is
    /// inherited.
    pub fn within(self, outer: &Keywords) -> Keywords {
        fn before<T: Clone>(outer: &[T], own: Vec<T>) -> Vec<T> {
            outer.iter().cloned().chain(own).collect()
        }
        Keywords {
            when: before(&outer.when, self.when),
            tags: union(&outer.tags, self.tags),
            vars: merged(&outer.vars, &self.vars),
            environment: before(&outer.environment, self.environment),
            module_defaults: before(&outer.module_defaults, self.module_defaults),
            notify: self.notify.or_else(|| outer.notify.clone()),
            collections: self.collections.or_else(|| outer.collections.clone()),
            connection: self.connection.or_else(|| outer.connection.clone()),
            port: self.port.or_else(|| outer.port.clone()),
            remote_user: self.remote_user.or_else(|| outer.remote_user.clone()),
            become_: self.become_.or_else(|| outer.become_.clone()),
            become_user: self.become_user.or_else(|| outer.become_user.clone()),
            become_method: self.become_method.or_else(|| outer.become_method.clone()),
            become_flags: self.become_flags.or_else(|| outer.become_flags.clone()),
            become_exe: self.become_exe.or_else(|| outer.become_exe.clone()),
            delegate_to: self.delegate_to.or_else(|| outer.delegate_to.clone()),
            delegate_facts: self.delegate_facts.or_else(|| outer.delegate_facts.clone()),
            no_log: self.no_log.or_else(|| outer.no_log.clone()),
            run_once: self.run_once.or_else(|| outer.run_once.clone()),
            ignore_errors: self.ignore_errors.or_else(|| outer.ignore_errors.clone()),
            ignore_unreachable: self.ignore_unreachable.or_else(|| outer.ignore_unreachable.clone()),
            any_errors_fatal: self.any_errors_fatal.or_else(|| outer.any_errors_fatal.clone()),
            check_mode: self.check_mode.or_else(|| outer.check_mode.clone()),
            diff: self.diff.or_else(|| outer.diff.clone()),
            throttle: self.throttle.or_else(|| outer.throttle.clone()),
            timeout: self.timeout.or_else(|| outer.timeout.clone()),
            debugger: self.debugger.or_else(|| outer.debugger.clone()),
            again: self.again || outer.again,
        }
    }
}

/// The maps in one; `over` wins.
pub fn merged(under: &Arc<Map>, over: &Arc<Map>) -> Arc<Map> {
    match (under.is_empty(), over.is_empty()) {
        (true, _) => over.clone(),
        (_, true) => under.clone(),
        _ => {
            let mut map = Map::clone(under);
            map.extend(over.iter().map(|(k, v)| (k.clone(), v.clone())));
            Arc::new(map)
        }
    }
}

/// Each tag once, outer ones first.
pub fn union(outer: &[Text], own: Vec<Text>) -> Vec<Text> {
    let mut tags = outer.to_vec();
    for tag in own {
        if !tags.iter().any(|t| t.as_str() == tag.as_str()) {
            tags.push(tag);
        }
    }
    tags
}

/// Where a keyword can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Play,
    ImportPlaybook,
    Role,
    Block,
    Task,
    Handler,
}

impl Level {
    /// As in "`x` is not a keyword of …".
    pub fn name(self) -> &'static str {
        match self {
            Level::Play => "a play",
            Level::ImportPlaybook => "import_playbook",
            Level::Role => "a role",
            Level::Block => "a block",
            Level::Task => "a task",
            Level::Handler => "a handler",
        }
    }

    /// Every keyword of this level, Ansible's and ours. `with_NAME` is not listed.
    pub fn keywords(self) -> impl Iterator<Item = &'static str> {
        let lists: &[&[&str]] = match self {
            Level::Play => &[&BASE, &PLAY],
            Level::ImportPlaybook => &[&BASE, &["when", "tags", "import_playbook"]],
            Level::Role => &[&BASE, &CONDITIONAL, &DELEGATED, &["role"]],
            Level::Block => &[&BASE, &CONDITIONAL, &DELEGATED, &["notify"], &BLOCK],
            Level::Task => &[&BASE, &CONDITIONAL, &DELEGATED, &["notify"], &TASK],
            Level::Handler => &[&BASE, &CONDITIONAL, &DELEGATED, &["notify"], &TASK, &["listen"]],
        };
        lists.iter().flat_map(|list| list.iter().copied())
    }

    pub fn knows(self, keyword: &str) -> bool {
        self.keywords().any(|k| k == keyword)
    }
}

const BASE: [&str; 23] = [
    "name",
    "vars",
    "connection",
    "port",
    "remote_user",
    "become",
    "become_user",
    "become_method",
    "become_flags",
    "become_exe",
    "environment",
    "module_defaults",
    "no_log",
    "run_once",
    "ignore_errors",
    "ignore_unreachable",
    "any_errors_fatal",
    "check_mode",
    "diff",
    "throttle",
    "timeout",
    "debugger",
    "again",
];
const CONDITIONAL: [&str; 3] = ["when", "tags", "collections"];
const DELEGATED: [&str; 2] = ["delegate_to", "delegate_facts"];
const PLAY: [&str; 20] = [
    "hosts",
    "tags",
    "collections",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "fact_path",
    "vars_files",
    "vars_prompt",
    "force_handlers",
    "max_fail_percentage",
    "serial",
    "strategy",
    "order",
    "roles",
    "pre_tasks",
    "tasks",
    "post_tasks",
    "handlers",
    "user",
];
const BLOCK: [&str; 4] = ["block", "rescue", "always", "transaction"];
const TASK: [&str; 17] = [
    "action",
    "local_action",
    "args",
    "async",
    "poll",
    "changed_when",
    "failed_when",
    "until",
    "retries",
    "delay",
    "loop",
    "loop_control",
    "register",
    "undo",
    "one_way",
    "probe",
    "secrets",
];
