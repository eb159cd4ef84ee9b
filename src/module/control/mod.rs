//! Modules that act on the run rather than on a host: they see the run and no Target.

mod add_host;
mod assert;
mod debug;
mod fail;
mod group_by;
mod include_vars;
mod pause;
mod set_fact;
mod set_stats;
mod validate_argument_spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::source::{Map, Val};
use crate::template::{RenderCx, Templar};
use crate::vars::{Variables, Vault};

use super::Failure;

/// What a control module may use.
pub struct ControlCx<'a> {
    pub host: &'a str,
    pub variables: &'a Arc<Variables>,
    pub templar: &'a Templar,
    pub render: RenderCx<'a>,
    pub vault: &'a Vault,
    pub check: bool,
    /// The number of `-v`.
    pub verbosity: u8,
    /// Folders in which a role's or playbook's files are looked for, nearest first.
    pub search: &'a [PathBuf],
    pub playbook_dir: &'a Path,
    /// Role folder of the task, if it stands in one.
    pub role_dir: Option<&'a Path>,
    /// Hosts that learn what this Instance learns (`run_once` fans out to all).
    pub learners: &'a [String],
    pub console: &'a dyn Console,
}

/// The operator's terminal, for modules that ask.
#[async_trait]
pub trait Console: Send + Sync {
    /// A line typed by the operator; `None` where there is nobody to ask.
    async fn ask(&self, prompt: &str, echo: bool) -> Option<String>;

    /// As [`Console::ask`], before the run began.
    fn ask_now(&self, prompt: &str, echo: bool) -> Option<String>;

    /// Says something that isn't a result.
    fn say(&self, text: &str);
}

/// What a control module answers.
#[derive(Debug, Default)]
pub struct Answer {
    pub result: Map,
    pub changed: bool,
    pub failed: bool,
    pub skipped: bool,
}

impl Answer {
    pub fn value(mut self, key: &str, value: impl Into<Val>) -> Answer {
        self.result.insert(Val::from(key), value.into());
        self
    }
}

#[async_trait]
pub trait Control: Send + Sync {
    fn name(&self) -> &'static str;

    /// Every argument it takes; `None` means any (`set_fact`).
    fn known_args(&self) -> Option<&'static [&'static str]>;

    fn required_args(&self) -> &'static [&'static str] {
        &[]
    }

    /// Arguments that it evaluates itself: they arrive as they were written.
    fn raw_args(&self) -> &'static [&'static str] {
        &[]
    }

    /// Takes words that aren't `key=value`, as `_raw_params`.
    fn free_form(&self) -> bool {
        false
    }

    /// Runs once for all hosts, as Ansible's BYPASS_HOST_LOOP plugins do.
    fn once(&self) -> bool {
        false
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure>;
}

/// Every control module, one line each. `meta` and the includes are the engine's own.
pub static CONTROLS: &[&dyn Control] = &[
    &add_host::AddHost,
    &assert::Assert,
    &debug::Debug,
    &fail::Fail,
    &group_by::GroupBy,
    &include_vars::IncludeVars,
    &pause::Pause,
    &set_fact::SetFact,
    &set_stats::SetStats,
    &validate_argument_spec::ValidateArgumentSpec,
];

/// By short or fully qualified name.
pub fn find(name: &str) -> Option<&'static dyn Control> {
    let short = name
        .strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .unwrap_or(name);
    CONTROLS.iter().find(|c| c.name() == short).copied()
}

impl From<crate::template::TemplateError> for Failure {
    fn from(e: crate::template::TemplateError) -> Failure {
        let mut failure = Failure::new(e.to_string());
        failure.help = e.help.clone();
        failure.diagnostic = e.span.is_some().then(|| Box::new(e.diagnostic()));
        failure
    }
}

/// A text argument, as Ansible turns any scalar into text.
pub(super) fn text(args: &Val, name: &str) -> Option<String> {
    args.get(name).and_then(crate::source::args::scalar_text).map(|t| t.to_string())
}

/// A boolean argument.
///
/// # Errors
/// A value that isn't one.
pub(super) fn boolean(args: &Val, name: &str, default: bool) -> Result<bool, Failure> {
    match args.get(name) {
        None | Some(Val::Null | Val::Omit) => Ok(default),
        Some(value) => crate::source::args::scalar_text(value)
            .and_then(|t| crate::source::args::parse_bool(&t))
            .ok_or_else(|| Failure::new(format!("{name} must be a boolean, got {value:?}"))),
    }
}

/// An argument that is a list, or text with commas.
pub(super) fn list(args: &Val, name: &str) -> Vec<Val> {
    match args.get(name) {
        None | Some(Val::Null | Val::Omit) => Vec::new(),
        Some(Val::List(items)) => items.to_vec(),
        Some(Val::Text(t)) => {
            t.split(',').map(|p| Val::from(p.trim())).filter(|v| v.as_str() != Some("")).collect()
        }
        Some(other) => vec![other.clone()],
    }
}
