//! Variable files: `vars_files`, `include_vars`, and `group_vars/` and `host_vars/` folders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inventory::document::Document;
use crate::inventory::names::check_variable;
use crate::inventory::{Entity, Inventory, Sealed};
use crate::source::{Diagnostic, Diagnostics, Entry, Kind, Map, Node, Severity, Val, yaml};

/// Opens the text of an ansible-vault envelope or an armored age file; the error says why not, and
/// never shows content.
pub type Vault = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// For runs without a vault secret.
pub fn no_vault() -> Vault {
    Arc::new(|_| Err("it is encrypted with ansible-vault, and no vault secret was given".into()))
}

/// The endings of variable files, tried in this order after none at all.
const ENDINGS: [&str; 3] = ["yml", "yaml", "json"];

/// The variables of a YAML or JSON file: one map, or a list of maps merged in order; an empty file
/// has none. A whole encrypted file is opened, and everything in it is Secret.
///
/// # Errors
/// Everything wrong with the file, and encrypted values that can't be opened.
pub fn load_vars_file(path: &Path, vault: &Vault) -> Result<Map, Diagnostics> {
    let mut problems = Diagnostics::default();
    let vars = read(path, vault, &mut problems);
    if problems.has_errors() { Err(problems) } else { Ok(vars) }
}

/// Everything wrong with a file of variables goes to `problems`.
pub fn check_vars_file(path: &Path, vault: &Vault, problems: &mut Diagnostics) {
    read(path, vault, problems);
}

/// Reads a file past every error.
pub(super) fn read(path: &Path, vault: &Vault, problems: &mut Diagnostics) -> Map {
    let document = match Document::read(path, &**vault) {
        Ok(document) => document,
        Err(problem) => {
            problems.push(problem);
            return Map::new();
        }
    };
    let mut vars = Map::new();
    if let Some(node) = yaml::load_one(&document.file, problems) {
        variables(&node, vault, &mut vars, problems);
    }
    if document.secret {
        vars.values_mut().for_each(|value| *value = std::mem::take(value).into_secret());
    }
    vars
}

/// The variables in a parsed document. Those that can't be decrypted are problems with the code
/// `vault`.
pub(super) fn variables(node: &Node, vault: &Vault, vars: &mut Map, problems: &mut Diagnostics) {
    match &node.kind {
        Kind::Null => {}
        Kind::Map(entries) => {
            for Entry { key, value } in entries {
                let Some(name) = key.as_str() else {
                    let message = format!("a variable name must be a string, not {}", key.type_name());
                    problems.push(Diagnostic::error("variables", message, &key.span));
                    continue;
                };
                check_variable(name, &key.span, problems);
                match value.to_val(&**vault) {
                    Ok(value) => {
                        vars.insert(Val::from(name), value);
                    }
                    Err((span, why)) => {
                        let message = format!("cannot decrypt {name}: {why}");
                        problems.push(Diagnostic::error("vault", message, &span));
                    }
                }
            }
        }
        Kind::List(items) if items.iter().all(|i| i.as_map().is_some()) => {
            for item in items {
                variables(item, vault, vars, problems);
            }
        }
        _ => {
            let message = format!("variables must be a mapping, not {}", node.type_name());
            let d = Diagnostic::error("variables", message, &node.span);
            problems.push(d.help("write `name: value` lines, or a list of such mappings"));
        }
    }
}

/// The `group_vars/` and `host_vars/` beside one inventory source or playbook.
#[derive(Debug)]
pub(super) struct FolderVars {
    dir: PathBuf,
    read: HashMap<Entity, Option<Arc<Map>>>,
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
        self.read.get(owner)?.as_ref()
    }

    pub fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// Reads the files of every group and host of the inventory that were not read yet.
    pub fn read_for(&mut self, inventory: &Inventory, vault: &Vault, problems: &mut Diagnostics) {
        let groups = inventory.groups().map(|g| Entity::Group(g.name.clone()));
        self.read_kind("group_vars", groups, vault, problems);
        let hosts = inventory.hosts().map(|h| Entity::Host(h.name.clone()));
        let localhost = crate::inventory::LOCALHOST.iter().map(|l| Entity::Host((*l).into()));
        self.read_kind("host_vars", hosts.chain(localhost), vault, problems);
    }

    fn read_kind(
        &mut self,
        folder: &str,
        owners: impl Iterator<Item = Entity>,
        vault: &Vault,
        problems: &mut Diagnostics,
    ) {
        let folder = self.dir.join(folder);
        if !folder.exists() {
            return;
        }
        // One look at the folder instead of four at the disk for each of thousands of hosts.
        let Ok(entries) = std::fs::read_dir(&folder) else {
            let message = format!("{} is not a readable folder and was skipped", folder.display());
            let mut d = Diagnostic::global("variables", message);
            d.severity = Severity::Warning;
            return problems.push(d);
        };
        let names: std::collections::HashSet<String> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        for owner in owners {
            let (Entity::Host(name) | Entity::Group(name)) = &owner;
            // Names may hold slashes (`/path/to/chroot` is a host of the chroot connection).
            if self.read.contains_key(&owner) || name.starts_with('/') {
                continue;
            }
            let there = |file: &str| {
                if file.contains('/') { folder.join(file).exists() } else { names.contains(file) }
            };
            let with_ending = ENDINGS.iter().map(|end| format!("{name}.{end}"));
            let found = std::iter::once(name.to_string()).chain(with_ending).find(|f| there(f));
            let mut vars = None;
            for file in found.map(|f| files_at(&folder.join(f), problems)).unwrap_or_default() {
                let mut found = Diagnostics::default();
                let read = read(&file, vault, &mut found);
                vars.get_or_insert_with(Map::new).extend(read);
                for problem in found.0 {
                    if problem.code == "vault" {
                        self.sealed.push(Sealed { owner: owner.clone(), problem });
                    } else {
                        problems.push(problem);
                    }
                }
            }
            self.read.insert(owner, vars.map(Arc::new));
        }
    }
}

/// A file, or all variable files in a folder, its folders included, by name.
fn files_at(path: &Path, problems: &mut Diagnostics) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(why) => {
            let message = format!("cannot read {}: {}", path.display(), why.kind());
            problems.push(Diagnostic::global("unreadable", message));
            return vec![];
        }
    };
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    let mut files = vec![];
    for name in names.iter().filter(|n| !n.starts_with('.') && !n.ends_with('~')) {
        let inside = path.join(name);
        let ending = Path::new(name).extension().map(|e| e.to_string_lossy());
        if inside.is_dir() {
            if ending.is_none() {
                files.extend(files_at(&inside, problems));
            }
        } else if ending.is_none_or(|e| ENDINGS.contains(&&*e)) {
            files.push(inside);
        }
    }
    files
}
