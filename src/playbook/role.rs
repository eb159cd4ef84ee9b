//! Roles.

use std::path::PathBuf;
use std::sync::Arc;

use crate::source::{Map, Span, Val};

/// One use of a role. Variables are those its tasks see, with its dependencies' and those of the
/// roles that depend on it merged as Ansible does.
#[derive(Debug, Clone)]
pub struct Role {
    pub name: String,
    pub path: PathBuf,
    /// Where it is used.
    pub span: Span,
    /// `defaults/`: the lowest level of variables.
    pub defaults: Arc<Map>,
    /// `vars/` and the `vars:` of the use: above the play's variables.
    pub vars: Arc<Map>,
    /// `{role: x, name: value}`: above facts and registers.
    pub params: Arc<Map>,
    /// What the whole play sees, unless the role is private.
    pub exports: Option<Exports>,
    pub allow_duplicates: bool,
    /// The roles that depend on or include this one, outermost first.
    pub parents: Vec<Parent>,
    /// Names of its dependencies, all levels, in running order.
    pub dependencies: Vec<String>,
    /// Equal, within one run of the program, for two uses that count as the same (name, files,
    /// parameters, `when`, `tags`, `vars`): the second one does not run on a host where the first
    /// one did, unless duplicates are allowed.
    pub identity: String,
    /// The entry points of `meta/argument_specs.yml`.
    pub argument_specs: Val,
    /// What roles that this one depends on or includes see of it.
    pub(super) passed_on: PassedOn,
}

impl Role {
    /// Its name in `role : handler`: whole, and without its collection.
    pub fn titles(&self) -> impl Iterator<Item = &str> {
        let short = self.name.rsplit('.').next().filter(|short| *short != self.name);
        std::iter::once(self.name.as_str()).chain(short)
    }
}

/// A role that depends on or includes another.
#[derive(Debug, Clone)]
pub struct Parent {
    pub name: String,
    pub path: PathBuf,
}

/// The own variables of a role and its parents, without those of dependencies.
#[derive(Debug, Clone, Default)]
pub(super) struct PassedOn {
    pub defaults: Arc<Map>,
    pub vars: Arc<Map>,
    pub params: Arc<Map>,
}

/// Variables that a role gives to its whole play.
#[derive(Debug, Clone)]
pub struct Exports {
    pub defaults: Arc<Map>,
    pub vars: Arc<Map>,
}
