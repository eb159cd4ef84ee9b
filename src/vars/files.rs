//! Variable files: `vars_files`, `include_vars`, and `group_vars/` and `host_vars/` folders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inventory::{Entity, Inventory, Sealed};
use crate::source::{Diagnostics, Map};

/// Opens an ansible-vault envelope; the error says why not, and never shows content.
pub type Vault = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// For runs without a vault secret.
pub fn no_vault() -> Vault {
    Arc::new(|_| Err("it is encrypted with ansible-vault, and no vault secret was given".into()))
}

/// The variables of a YAML or JSON file: one map, or a list of maps merged in order; an empty file
/// has none. A whole encrypted file is opened, and everything in it is Secret.
///
/// # Errors
/// Everything wrong with the file, and encrypted values that can't be opened.
pub fn load_vars_file(path: &Path, vault: &Vault) -> Result<Map, Diagnostics> {
    let _ = (path, vault);
    Err(Diagnostics::default())
}

/// The `group_vars/` and `host_vars/` beside one inventory source or playbook.
#[derive(Debug)]
pub(super) struct FolderVars {
    dir: PathBuf,
    read: HashMap<Entity, Arc<Map>>,
    sealed: Vec<Sealed>,
}

impl FolderVars {
    pub fn new(dir: &Path) -> FolderVars {
        let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
        FolderVars { dir, read: HashMap::new(), sealed: vec![] }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn vars(&self, owner: &Entity) -> Option<&Arc<Map>> {
        self.read.get(owner)
    }

    pub fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// Reads the files of every group and host of the inventory that were not read yet.
    pub fn read_for(&mut self, inventory: &Inventory, vault: &Vault, problems: &mut Diagnostics) {
        let _ = (inventory, vault, problems);
    }
}
