//! From `-i` to an [`Inventory`]: which format a source has, folders, bare names.

use std::path::Path;
use std::time::Duration;

use super::Inventory;
use crate::source::Diagnostics;
use crate::source::node::OpenVault;

/// How sources are read.
pub struct LoadOptions<'a> {
    /// What relative paths, and the `inventory/` folder for bare names, are relative to.
    pub cwd: &'a Path,
    /// Opens ansible-vault envelopes.
    pub vault: OpenVault<'a>,
    /// How long one call of an inventory script may take.
    pub script_timeout: Duration,
}

impl<'a> LoadOptions<'a> {
    pub fn new(cwd: &'a Path, vault: OpenVault<'a>) -> LoadOptions<'a> {
        LoadOptions { cwd, vault, script_timeout: Duration::from_secs(60) }
    }
}

impl Inventory {
    /// Reads all sources, in order. Everything wrong with any of them is among the diagnostics;
    /// with errors among them the inventory is only what could be understood.
    pub fn load(sources: &[String], options: &LoadOptions) -> (Inventory, Diagnostics) {
        let _ = (sources, options);
        (Inventory::default(), Diagnostics::default())
    }
}
