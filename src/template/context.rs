//! What a render can see: names, places to look for files, and the rest of the run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::source::Val;

/// The variables that a template sees: raw values, which may hold templates; they are resolved
/// where they are used.
pub trait Names: Sync {
    fn get(&self, name: &str) -> Option<Val>;

    /// All names, for `vars`, `varnames` and for naming the nearest to a mistyped one.
    fn names(&self) -> Vec<String>;

    /// A map whose entries live in scopes of their own (`hostvars`). Asked before [`Names::get`].
    fn lazy(&self, _name: &str) -> Option<Arc<dyn LazyMap>> {
        None
    }
}

/// A map from a name to a scope: `hostvars['web1'].x` is `x` of `scope("web1")`, its template
/// resolved in that scope and only when it is used.
pub trait LazyMap: Send + Sync {
    fn keys(&self) -> Vec<String>;
    fn scope(&self, key: &str) -> Option<Arc<dyn Names + Send>>;
}

/// What some lookups need from the run.
pub trait Hooks: Sync {
    /// Hosts that match a pattern, for `inventory_hostnames`.
    fn hostnames(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Err("there is no inventory here".into())
    }

    /// A Secret is used: whatever comes of it, its value must not be shown from now on.
    fn keep_secret(&self, _text: &str) {}

    /// The plaintext of an ansible-vault envelope, for `unvault` and encrypted files.
    fn open_vault(&self, _envelope: &[u8]) -> Result<Vec<u8>, String> {
        Err("no vault secret was given".into())
    }
}

pub struct NoHooks;
impl Hooks for NoHooks {}

/// What one render can see.
#[derive(Clone, Copy)]
pub struct RenderCx<'a> {
    pub names: &'a dyn Names,
    /// `ansible_search_path`: folders in which `files/`, `templates/` and bare names are tried.
    pub search: &'a [PathBuf],
    pub playbook_dir: &'a Path,
    /// Lookups that write (`password`) must not.
    pub check_mode: bool,
    pub hooks: &'a dyn Hooks,
    /// Set when something was used that can answer differently next time (`now`, `random`,
    /// `lookup('pipe')`): such a render must be kept, not repeated.
    pub impure: Option<&'a AtomicBool>,
}
