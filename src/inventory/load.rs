//! From `-i` to an [`Inventory`]: which format a source has, folders, bare names.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Document;
use super::{Inventory, Source, address, ini, script, yaml};
use crate::source::diagnostic::nearest;
use crate::source::node::OpenVault;
use crate::source::{self, Diagnostic, Diagnostics, Severity, Span};

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

/// Endings that a folder's files are passed over for (Ansible's INVENTORY_IGNORE_EXTS).
const IGNORED_ENDINGS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];
const IGNORED_NAMES: [&str; 3] = ["host_vars", "group_vars", "vars_plugins"];
/// Deeper nesting is a mistake.
const DEEPEST_GROUP: usize = 500;
/// Where a bare name is looked for.
const FOLDER: &str = "inventory";
const BARE_ENDINGS: [&str; 5] = ["", ".yml", ".yaml", ".ini", ".json"];

impl Inventory {
    /// Reads all sources, in order. Everything wrong with any of them is among the diagnostics;
    /// with errors among them the inventory is only what could be understood.
    pub fn load(sources: &[String], options: &LoadOptions) -> (Inventory, Diagnostics) {
        let mut loader =
            Loader { inventory: Inventory::default(), problems: Diagnostics::default(), options };
        for source in sources.iter().filter(|s| !s.is_empty()) {
            loader.source(source);
        }
        let Loader { mut inventory, mut problems, .. } = loader;
        inventory.settle();
        if let Some(group) = inventory.groups().find(|g| g.depth > DEEPEST_GROUP) {
            let message = format!("group '{}' is nested deeper than {DEEPEST_GROUP} groups", group.name);
            problems.push(Diagnostic::global("inventory", message));
        }
        let both = inventory.hosts.keys().filter(|name| inventory.groups.contains_key(*name));
        for name in both {
            let mut d =
                Diagnostic::global("inventory", format!("Found both group and host with same name: {name}"));
            d.severity = Severity::Warning;
            problems.push(d);
        }
        (inventory, problems)
    }
}

struct Loader<'a> {
    inventory: Inventory,
    problems: Diagnostics,
    options: &'a LoadOptions<'a>,
}

impl Loader<'_> {
    fn source(&mut self, source: &str) {
        let Some(path) = self.find(source) else {
            if source.contains(',') {
                self.inventory.name_source(source.to_string());
                self.host_list(source);
            } else {
                self.missing(source);
            }
            return;
        };
        let path = normal(&std::path::absolute(&path).unwrap_or(path));
        self.inventory.name_source(path.display().to_string());
        self.path(&path);
    }

    fn find(&self, source: &str) -> Option<PathBuf> {
        let path = match source.strip_prefix("~/").zip(std::env::home_dir()) {
            Some((below, home)) => home.join(below),
            None => self.options.cwd.join(source),
        };
        if path.exists() {
            return Some(path);
        }
        if source.contains('/') {
            return None;
        }
        let folder = self.options.cwd.join(FOLDER);
        BARE_ENDINGS.iter().map(|end| folder.join(format!("{source}{end}"))).find(|p| p.exists())
    }

    fn missing(&mut self, source: &str) {
        let message = format!("there is no inventory '{source}'");
        let known: Vec<String> = std::fs::read_dir(self.options.cwd.join(FOLDER))
            .map(|dir| dir.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        let names = known.iter().filter(|n| !is_ignored(n)).map(|n| n.split('.').next().unwrap_or(n));
        let help = match nearest(source, names) {
            Some(near) => format!("did you mean '-i {near}'?"),
            None if !source.contains('/') => {
                format!("a name is looked for here and in {FOLDER}/; to name a host write '-i {source},'")
            }
            None => "give a file, a folder, a script, or hosts with a comma".into(),
        };
        self.problems.push(Diagnostic::global("inventory", message).help(help));
    }

    /// `a,b[1:3],c:2222`; what can't be understood is a name as it is.
    fn host_list(&mut self, source: &str) {
        for pattern in source.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (hosts, port) =
                address::expand(pattern).unwrap_or_else(|_| (vec![pattern.to_string()], None));
            for host in hosts {
                let host = self.inventory.add_listed_host(&host, port, None);
                self.inventory.join("ungrouped", &host);
            }
        }
    }

    fn path(&mut self, path: &Path) {
        if !path.is_dir() {
            return self.file(path);
        }
        let mut names: Vec<std::ffi::OsString> = match std::fs::read_dir(path) {
            Ok(dir) => dir.flatten().map(|e| e.file_name()).collect(),
            Err(why) => return self.unreadable(path, &why),
        };
        names.sort();
        for name in names.iter().filter(|n| !is_ignored(&n.to_string_lossy())) {
            self.path(&path.join(name));
        }
    }

    fn unreadable(&mut self, path: &Path, why: &std::io::Error) {
        let message = format!("cannot read inventory {}: {}", path.display(), why.kind());
        self.problems.push(Diagnostic::global("inventory", message));
    }

    fn file(&mut self, path: &Path) {
        let script = match is_script(path) {
            Ok(script) => script,
            Err(why) => return self.unreadable(path, &why),
        };
        let Loader { inventory, problems, options } = self;
        if script {
            return script::read(path, options.script_timeout, options.vault, inventory, problems);
        }
        let Document { file, secret } = match Document::read(path, options.vault) {
            Ok(document) => document,
            Err(problem) => return problems.push(problem),
        };
        let source = Source { path, secret };
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let yaml = match ending.as_deref() {
            Some("toml") => {
                let d =
                    Diagnostic::error("inventory", "TOML inventories are not supported", &Span::whole(&file));
                return problems.push(d.help("write it as YAML"));
            }
            Some(ending) => matches!(ending, "yml" | "yaml" | "json"),
            None => looks_like_yaml(&file.text),
        };
        if !yaml {
            ini::read(&file, source, inventory, problems);
        } else if let Some(node) = source::yaml::load_one(&file, problems) {
            yaml::read(&node, source, options.vault, inventory, problems);
        }
    }
}

fn is_script(path: &Path) -> std::io::Result<bool> {
    let mut start = [0; 4];
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o111 == 0 {
        return Ok(false);
    }
    let len = file.read(&mut start)?;
    Ok(start[..len].starts_with(b"#!") || &start[..len] == b"\x7fELF")
}

/// Of a file without an ending: whether its first line that says something is YAML's.
fn looks_like_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with(['#', ';']));
    first.is_some_and(|line| {
        line.starts_with("---")
            || line.starts_with('%')
            || line.starts_with('{')
            || line.split_whitespace().next().is_some_and(|word| word.ends_with(':'))
    })
}

fn is_ignored(name: &str) -> bool {
    name.starts_with('.')
        || IGNORED_NAMES.contains(&name)
        || IGNORED_ENDINGS.iter().any(|end| name.ends_with(end))
}

/// `a/./b/../c` → `a/c`, without looking at the disk.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}
