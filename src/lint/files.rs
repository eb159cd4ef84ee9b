//! Which files there are, and what their places say that they hold.

use std::path::{Component, Path, PathBuf};

use crate::source::{Diagnostic, Diagnostics, Kind as NodeKind, Node};

use super::DEFAULT_PATHS;

/// A file that may be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute.
    pub path: PathBuf,
    /// `None` where only the content can tell.
    pub kind: Option<Kind>,
    /// Named on the command line, or in a folder for playbooks: it isn't left out for not looking
    /// like ours.
    pub expected: bool,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Playbook,
    /// Of the role in this folder, or of none.
    Tasks(Option<PathBuf>),
    Handlers(Option<PathBuf>),
    /// `group_vars/`, `host_vars/`, `vars/`, `defaults/`.
    Vars,
    /// `meta/` of the role in this folder.
    RoleMeta(PathBuf),
    Inventory,
}

/// Folders that hold no source of ours.
const PASSED_OVER: [&str; 7] =
    ["files", "templates", "target", "node_modules", "venv", "__pycache__", "library"];
/// Files beside playbooks that belong to other programs.
const FOREIGN: [&str; 4] = ["requirements.yml", "requirements.yaml", "galaxy.yml", "package.json"];
const YAML: [&str; 3] = ["yml", "yaml", "json"];
/// Endings that an inventory folder's files are passed over for.
const NO_INVENTORY: [&str; 13] =
    ["pyc", "pyo", "swp", "bak", "rpm", "md", "txt", "rst", "orig", "cfg", "retry", "toml", "sh"];

/// The files at or below `paths`, sorted, each once.
///
/// # Errors
/// Paths that aren't there or can't be read.
pub fn find(cwd: &Path, paths: &[PathBuf]) -> Result<Vec<File>, Diagnostics> {
    let mut search = Search { cwd, files: Vec::new(), problems: Diagnostics::default() };
    let named: Vec<PathBuf> = match paths {
        [] => DEFAULT_PATHS.iter().map(PathBuf::from).filter(|path| cwd.join(path).exists()).collect(),
        _ => paths.to_vec(),
    };
    let named = if named.is_empty() { vec![PathBuf::from(".")] } else { named };
    for path in named {
        search.named(&clean(&cwd.join(path)));
    }
    if search.problems.has_errors() {
        return Err(search.problems);
    }
    let mut files = search.files;
    files.sort_by(|a, b| a.path.cmp(&b.path).then(b.expected.cmp(&a.expected)));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}

struct Search<'a> {
    cwd: &'a Path,
    files: Vec<File>,
    problems: Diagnostics,
}

impl Search<'_> {
    fn named(&mut self, path: &Path) {
        match path.metadata() {
            Ok(found) if found.is_dir() => self.folder(path, path),
            Ok(_) => {
                let kind = kind_by_place(&self.below(path, path), path);
                self.files.push(File { path: path.to_path_buf(), kind, expected: true });
            }
            Err(why) => self.problem(path, &why),
        }
    }

    fn folder(&mut self, root: &Path, dir: &Path) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(why) => return self.problem(dir, &why),
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let Ok(found) = path.metadata() else { continue };
            if found.is_dir() {
                // A linked folder is reached where it lies, if it lies below.
                if !path.is_symlink() && !PASSED_OVER.contains(&name.as_str()) {
                    self.folder(root, &path);
                }
                continue;
            }
            let below = self.below(root, &path);
            let kind = kind_by_place(&below, &path);
            let ending = ending(&path);
            let is_yaml = YAML.contains(&ending.as_str());
            let wanted = match kind {
                Some(Kind::Inventory) => !NO_INVENTORY.contains(&ending.as_str()) && !is_script(&path),
                Some(Kind::Vars) => is_yaml || ending.is_empty(),
                _ => is_yaml && !FOREIGN.contains(&name.as_str()),
            };
            if wanted {
                let expected = below.iter().rev().nth(1).is_some_and(|folder| folder == "playbooks");
                self.files.push(File { path, kind, expected });
            }
        }
    }

    /// The names from the working directory, or from the named path, down to a file: folders above
    /// say nothing of what is in it.
    fn below(&self, root: &Path, path: &Path) -> Vec<String> {
        let base = if path.starts_with(self.cwd) { Some(self.cwd) } else { root.parent() };
        let below = base.and_then(|base| path.strip_prefix(base).ok()).unwrap_or(path);
        below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    }

    fn problem(&mut self, path: &Path, why: &std::io::Error) {
        let shown = path.strip_prefix(self.cwd).unwrap_or(path).display();
        let why = match why.kind() {
            std::io::ErrorKind::NotFound => "it isn't there".to_string(),
            std::io::ErrorKind::PermissionDenied => "reading it is not permitted".to_string(),
            kind => kind.to_string(),
        };
        self.problems.push(Diagnostic::global("unreadable", format!("can't look at {shown}: {why}")));
    }
}

/// What the place of a file says; `below` are the names of its folders and itself.
fn kind_by_place(below: &[String], path: &Path) -> Option<Kind> {
    let (name, folders) = below.split_last()?;
    let last = |wanted: &[&str]| folders.iter().rposition(|folder| wanted.contains(&folder.as_str()));
    if last(&["group_vars", "host_vars"]).is_some() {
        return Some(Kind::Vars);
    }
    if let Some(at) = last(&["tasks", "handlers", "defaults", "vars", "meta"]) {
        let up = folders.len() - at;
        let owner = path.ancestors().nth(up + 1);
        let is_role = owner.is_some_and(|dir| {
            dir.parent().and_then(Path::file_name).is_some_and(|name| name == "roles")
                || ["tasks/main.yml", "tasks/main.yaml", "meta/main.yml", "meta/main.yaml"]
                    .iter()
                    .any(|file| dir.join(file).is_file())
        });
        let role = owner.filter(|_| is_role).map(Path::to_path_buf);
        match (folders[at].as_str(), role) {
            ("tasks", role) => return Some(Kind::Tasks(role)),
            ("handlers", role) => return Some(Kind::Handlers(role)),
            ("meta", Some(role)) => return Some(Kind::RoleMeta(role)),
            ("meta", None) => {}
            _ => return Some(Kind::Vars),
        }
    }
    let is_inventory_name = name == "hosts" || name == "hosts.ini" || name == "inventory.ini";
    if last(&["inventory", "inventories"]).is_some() || is_inventory_name {
        return Some(Kind::Inventory);
    }
    None
}

/// What the content of a YAML file says; `None` for files of other programs.
pub fn kind_by_content(node: &Node, is_module: impl Fn(&str) -> bool) -> Option<Kind> {
    const OF_TASKS: [&str; 4] = ["block", "action", "local_action", "include_tasks"];
    let has_key = |entry: &Node, wanted: &dyn Fn(&str) -> bool| {
        entry.as_map().is_some_and(|keys| keys.iter().any(|e| e.key.as_str().is_some_and(wanted)))
    };
    match &node.kind {
        NodeKind::List(entries) => {
            let is_play = |key: &str| key == "hosts" || key.rsplit('.').next() == Some("import_playbook");
            if entries.iter().any(|entry| has_key(entry, &is_play)) {
                return Some(Kind::Playbook);
            }
            let is_task = |key: &str| OF_TASKS.contains(&key) || is_module(key);
            entries.iter().any(|entry| has_key(entry, &is_task)).then_some(Kind::Tasks(None))
        }
        NodeKind::Map(_) => {
            let all = node.get("all").or_else(|| node.get("ungrouped"))?;
            let is_group = |key: &str| matches!(key, "hosts" | "children");
            has_key(all, &is_group).then_some(Kind::Inventory)
        }
        _ => None,
    }
}

fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// A program that writes an inventory: never started here.
fn is_script(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    start[..read].starts_with(b"#!") || &start[..read] == b"\x7fELF"
}

/// The path without `.` and `..`, links not followed.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}
