//! Finding and reading the files that plays, tasks and roles name.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::source::yaml::{self, read_file};
use crate::source::{Diagnostic, Map, Node, SourceFile, Span, Text, Val};

use super::{Load, Site};

const VAULT_HEADER: &str = "$ANSIBLE_VAULT;";

/// `ANSIBLE_ROLES_PATH`, or Ansible's default.
pub fn default_roles_path() -> Vec<PathBuf> {
    folders("ANSIBLE_ROLES_PATH", "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles")
}

/// `ANSIBLE_COLLECTIONS_PATH`, or Ansible's default.
pub fn default_collections_path() -> Vec<PathBuf> {
    folders("ANSIBLE_COLLECTIONS_PATH", "~/.ansible/collections:/usr/share/ansible/collections")
}

/// The folders that an environment variable lists.
fn folders(name: &str, default: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let expand = |path: &str| match (path.strip_prefix("~/"), &home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    };
    let paths = std::env::var(name).ok().filter(|p| !p.is_empty());
    paths.as_deref().unwrap_or(default).split(':').filter(|p| !p.is_empty()).map(expand).collect()
}

/// The path without `.` and `..`, links not followed.
pub fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

impl Load<'_> {
    /// The document of a YAML file, decrypted if the whole file is a vault envelope. `at` is
    /// where the file is named, if it is.
    pub fn document(&mut self, path: &Path, at: Option<&Span>) -> Option<Node> {
        let file = match read_file(path) {
            Ok(file) => file,
            Err(mut problem) => {
                if problem.span.is_none() {
                    problem.span = at.cloned();
                }
                self.diags.push(problem);
                return None;
            }
        };
        let mut sources = self.loader.sources.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        sources.insert(clean(path), file.sha256());
        drop(sources);
        let file = if file.text.starts_with(VAULT_HEADER) { self.opened(&file, path)? } else { file };
        yaml::load_one(&file, self.diags)
    }

    fn opened(&mut self, file: &Arc<SourceFile>, path: &Path) -> Option<Arc<SourceFile>> {
        match (self.loader.vault)(&file.text) {
            Ok(text) => Some(SourceFile::sealed(path, text)),
            Err(why) => {
                let message = format!("{} can't be decrypted: {why}", file.name);
                self.error("vault", message, &Span::whole(file));
                None
            }
        }
    }

    /// Runs `read` while `path` counts as being read; `None` with an error if it already is.
    pub fn within_file<T>(&mut self, path: &Path, at: &Span, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if self.open.contains(&real) {
            let message = format!("{} imports itself", path.display());
            self.error("endless-import", message, at);
            return None;
        }
        self.open.push(real);
        let result = read(self);
        self.open.pop();
        Some(result)
    }

    /// The file of an import or include: beside the file that names it, in the role, beside the
    /// playbook.
    pub fn find_tasks_file(&mut self, name: &str, at: &Span, site: &Site) -> Option<PathBuf> {
        let folder = if site.in_handlers { "handlers" } else { "tasks" };
        let mut places: Vec<PathBuf> = at.dir().map(Path::to_path_buf).into_iter().collect();
        if let Some(role) = &site.role {
            // Handlers may include what stands among the role's tasks.
            places.extend([role.path.join(folder), role.path.join("tasks"), role.path.clone()]);
        }
        places.extend([self.dir.clone(), self.playbook_dir.clone()]);
        let mut looked: Vec<PathBuf> = Vec::new();
        for place in places {
            let candidate = clean(&place.join(name));
            if candidate.is_file() {
                return Some(candidate);
            }
            if !looked.contains(&candidate) {
                looked.push(candidate);
            }
        }
        let looked: Vec<String> = looked.iter().map(|p| p.display().to_string()).collect();
        let message = format!("there is no file of tasks `{name}`");
        self.diags.push(
            Diagnostic::error("missing-file", message, at).help(format!("looked for {}", looked.join(", "))),
        );
        None
    }

    /// A role's file: `folder/main` with one of the usual endings, or `from` as it is or with one
    /// of them. `Err` when `from` is given and there is none.
    pub fn role_file(role: &Path, folder: &str, from: Option<&str>) -> Result<Option<PathBuf>, String> {
        let base = role.join(folder);
        let endings: &[&str] =
            if from.is_some() { &["", ".yml", ".yaml", ".json"] } else { &[".yml", ".yaml", ".json", ""] };
        let name = from.unwrap_or("main");
        for ending in endings {
            let path = clean(&base.join(format!("{name}{ending}")));
            if path.exists() && (path.is_file() || ending.is_empty()) {
                if !path.starts_with(clean(&base)) {
                    return Err(format!("{folder}/{name} is outside of the role"));
                }
                return Ok(Some(path));
            }
        }
        match from {
            Some(name) => Err(format!("the role has no file {folder}/{name}")),
            None => Ok(None),
        }
    }

    /// The variables of `vars/` or `defaults/`: one file, or all files of a folder `main`.
    pub fn role_vars(&mut self, role: &Path, folder: &str, from: Option<&str>, at: &Span) -> Map {
        let mut vars = Map::new();
        let files = match Self::role_file(role, folder, from) {
            Ok(None) => return vars,
            Ok(Some(path)) if path.is_dir() => files_below(&path),
            Ok(Some(path)) => vec![path],
            Err(why) => {
                self.error("missing-file", why, at);
                return vars;
            }
        };
        for file in files {
            let Some(node) = self.document(&file, Some(at)) else { continue };
            if !node.is_null() {
                let more = self.vars(&node);
                vars.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        vars
    }

    /// As a value, with everything in it a template if it was written. What can't be decrypted is
    /// reported, and a template stands in for it, which fits everywhere.
    pub fn val(&mut self, node: &Node) -> Val {
        match node.to_val(&*self.loader.vault) {
            Ok(val) => val,
            Err((span, why)) => {
                self.error("vault", format!("this can't be decrypted: {why}"), &span);
                Val::Text(Text::template("{{ undecrypted }}", &span).into_secret())
            }
        }
    }
}

/// Variable files of a folder and those in it, sorted, without hidden files and backups.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
        if path.is_dir() && !path.is_symlink() {
            files.extend(files_below(&path));
        } else if matches!(ending.as_deref(), None | Some("yml" | "yaml" | "json")) {
            files.push(path);
        }
    }
    files
}
