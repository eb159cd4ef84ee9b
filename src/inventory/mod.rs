//! Hosts and groups: reading inventories (ini, YAML, scripts, folders, host lists) and selecting
//! hosts by pattern.
//!
//! ```text
//! let (inventory, problems) = Inventory::load(&["prod".into()], &LoadOptions::new(cwd, &no_vault));
//! let picked = inventory.select(&["web:!web3".into()], limit.as_ref())?;
//! ```

mod address;
pub(crate) mod document;
mod graph;
mod ini;
mod literal;
mod load;
pub mod names;
mod pattern;
mod script;
mod words;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use indexmap::{IndexMap, IndexSet};

use crate::source::{Diagnostic, Map, Val};

pub use graph::Added;

pub use load::LoadOptions;
pub use pattern::{Limit, Matcher, Order, PatternError, Selection, glob};

pub type HostName = Arc<str>;
pub type GroupName = Arc<str>;

/// Names that mean this machine even if no inventory has them.
pub const LOCALHOST: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// What an empty selection of a play is called in the output.
pub const NO_HOSTS_MATCHED: &str = "no hosts matched";

/// Every host and group that is known, and how they hang together.
///
/// `all` and `ungrouped` always exist; every group without another parent is a child of `all`.
#[derive(Debug, Clone)]
pub struct Inventory {
    groups: IndexMap<GroupName, Group>,
    hosts: IndexMap<HostName, Host>,
    /// What `localhost` means while no source names it.
    implicit: OnceLock<Host>,
    /// As given with `-i`, files and folders as absolute paths.
    sources: Vec<String>,
    /// Values that could not be decrypted: they matter only to who uses their host or group.
    sealed: Vec<Sealed>,
}

#[derive(Debug, Clone)]
pub struct Host {
    pub name: HostName,
    /// From the inventory itself, `ansible_port` of `host:port` included.
    pub vars: Arc<Map>,
    /// Groups that name this host directly, in the order met.
    pub groups: IndexSet<GroupName>,
    /// The file that named it first; `None` for `add_host` and the implicit localhost.
    pub source: Option<PathBuf>,
    /// Made up because something asked for localhost.
    pub implicit: bool,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub name: GroupName,
    pub vars: Arc<Map>,
    /// Hosts that the group names directly, in the order met.
    pub hosts: IndexSet<HostName>,
    pub children: IndexSet<GroupName>,
    pub parents: IndexSet<GroupName>,
    /// The longest way down from `all`: variables of deeper groups win.
    pub depth: usize,
    /// `ansible_group_priority`: among groups of one depth the higher wins. 1 unless set.
    pub priority: i64,
}

/// A host or a group, as the owner of variables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entity {
    Host(HostName),
    Group(GroupName),
}

/// A variable that could not be decrypted.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub owner: Entity,
    pub problem: Diagnostic,
}

/// The file that is being read.
#[derive(Clone, Copy)]
struct Source<'a> {
    path: &'a Path,
    /// The whole file was encrypted: so every value in it is Secret.
    secret: bool,
}

impl Source<'_> {
    fn value(&self, value: Val) -> Val {
        if self.secret { value.into_secret() } else { value }
    }
}

#[cfg(test)]
mod tests;
