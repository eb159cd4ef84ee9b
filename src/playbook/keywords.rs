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
}
