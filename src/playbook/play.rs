//! Plays.

use std::path::PathBuf;
use std::sync::Arc;

use crate::source::{Map, Span, Text, Val};

use super::{Condition, Handler, Item, Keywords, Role, Setting};

#[derive(Debug, Clone)]
pub struct Playbook {
    pub plays: Vec<Play>,
}

impl Playbook {
    /// Whether each of its plays has `check_mode: true`, so that nothing is changed.
    pub fn only_looks(&self) -> bool {
        self.plays.iter().all(|play| play.keywords.only_look())
    }
}

#[derive(Debug, Clone)]
pub struct Play {
    pub span: Span,
    /// Folder of the file that this play is written in.
    pub dir: PathBuf,
    /// Folder of the playbook that the run began with (`playbook_dir`).
    pub playbook_dir: PathBuf,
    pub name: Option<Text>,
    /// Patterns; may be templates. Never empty.
    pub hosts: Vec<Text>,
    /// Keywords that its tasks inherited; for the play's own use (`connection`, `become`, …).
    pub keywords: Keywords,
    /// Not in the tasks' keywords: a play's variables rank lower than a role's.
    pub vars: Arc<Map>,
    /// Each a file name, or a list of which the first that exists is read; may be templates.
    pub vars_files: Vec<Val>,
    pub vars_prompt: Vec<VarsPrompt>,
    pub gather_facts: Option<Setting<bool>>,
    pub gather_subset: Option<Vec<Text>>,
    /// Seconds.
    pub gather_timeout: Option<Setting<i64>>,
    pub fact_path: Option<Text>,
    pub force_handlers: Option<Setting<bool>>,
    /// 0 to 100.
    pub max_fail_percentage: Option<Setting<f64>>,
    /// Numbers of hosts, `"30%"`, or templates; empty means all at once.
    pub serial: Vec<Val>,
    pub strategy: Strategy,
    pub order: Order,
    /// `when` of the `import_playbook` that brought it; it guards fact gathering too. The tasks
    /// have it already.
    pub imported_when: Vec<Condition>,
    /// Roles in order of use, `import_role`'s too: their exports are visible in the whole play.
    pub roles: Vec<Arc<Role>>,
    pub pre_tasks: Vec<Item>,
    /// The `roles:` section: one block a role, dependencies first.
    pub role_tasks: Vec<Item>,
    pub tasks: Vec<Item>,
    pub post_tasks: Vec<Item>,
    /// In order: of the roles, of the play, of imported roles. Of several with the name that was
    /// notified, the last one runs.
    pub handlers: Vec<Arc<Handler>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    Pre,
    Roles,
    Tasks,
    Post,
}

impl Play {
    /// The sections in running order. Handlers are flushed after `Pre`, after `Tasks` (which
    /// follows `Roles` without a flush) and after `Post`.
    pub fn sections(&self) -> [(Section, &[Item]); 4] {
        [
            (Section::Pre, &self.pre_tasks),
            (Section::Roles, &self.role_tasks),
            (Section::Tasks, &self.tasks),
            (Section::Post, &self.post_tasks),
        ]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    #[default]
    Linear,
    Free,
    HostPinned,
    Debug,
}

/// In which order hosts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Inventory,
    ReverseInventory,
    Sorted,
    ReverseSorted,
    Shuffle,
}

#[derive(Debug, Clone)]
pub struct VarsPrompt {
    pub span: Span,
    pub name: String,
    /// What is asked; the name when not given.
    pub prompt: Option<Text>,
    pub default: Option<Val>,
    /// Typed blind, and Secret.
    pub private: bool,
    pub confirm: bool,
    pub encrypt: Option<String>,
    pub salt: Option<Text>,
    pub salt_size: Option<i64>,
    pub is_unsafe: bool,
}
