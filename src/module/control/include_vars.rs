//! `include_vars`: variables from a file or a folder, at run time.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::source::{Map, Val};
use crate::vars::load_vars_file;

use super::{Answer, Control, ControlCx, Failure, boolean, list, text};

pub struct IncludeVars;

#[async_trait]
impl Control for IncludeVars {
    fn name(&self) -> &'static str {
        "include_vars"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&[
            "file",
            "dir",
            "name",
            "depth",
            "files_matching",
            "ignore_files",
            "extensions",
            "ignore_unknown_extensions",
            "hash_behaviour",
            "_raw_params",
        ])
    }

    fn free_form(&self) -> bool {
        true
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        if text(args, "hash_behaviour").is_some_and(|h| h != "replace") {
            return Err(Failure::new("include_vars supports only hash_behaviour: replace"));
        }
        let file = text(args, "file").or_else(|| text(args, "_raw_params"));
        let (mut vars, files) = match (text(args, "dir"), file) {
            (Some(_), Some(_)) => {
                return Err(Failure::new(
                    "You are mixing file only and dir only arguments, these are incompatible",
                ));
            }
            (Some(dir), None) => folder(&dir, args, cx)?,
            (None, Some(file)) => {
                let path = find(&file, cx)?;
                (load(&path, cx)?, vec![path])
            }
            (None, None) => return Err(Failure::new("include_vars needs 'file' or 'dir'")),
        };
        if let Some(name) = text(args, "name") {
            vars = Map::from_iter([(Val::from(name), Val::map(vars))]);
        }
        for host in cx.learners {
            cx.variables.host_vars().include_vars(host, &vars);
        }
        let shown = Val::map(vars).map_texts(&|t| t.plain());
        let names: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
        Ok(Answer::default()
            .value("ansible_facts", shown)
            .value("ansible_included_var_files", Val::from(names)))
    }
}

fn load(path: &Path, cx: &ControlCx<'_>) -> Result<Map, Failure> {
    load_vars_file(path, cx.vault).map_err(super::add_host::problems)
}

/// A file beside the task, in a `vars/` folder first.
fn find(name: &str, cx: &ControlCx<'_>) -> Result<PathBuf, Failure> {
    let tried: Vec<PathBuf> = match Path::new(name).is_absolute() {
        true => vec![PathBuf::from(name)],
        false => cx.search.iter().flat_map(|d| [d.join("vars").join(name), d.join(name)]).collect(),
    };
    tried.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        let places: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
        Failure::new(format!("Could not find or access '{name}'\nSearched in:\n\t{}", places.join("\n\t")))
    })
}

fn folder(dir: &str, args: &Val, cx: &ControlCx<'_>) -> Result<(Map, Vec<PathBuf>), Failure> {
    let root = match (Path::new(dir).is_absolute(), cx.role_dir) {
        (true, _) => PathBuf::from(dir),
        (false, Some(role)) if role.join("vars").join(dir).is_dir() => role.join("vars").join(dir),
        (false, Some(role)) if role.join(dir).is_dir() => role.join(dir),
        (false, _) => cx
            .search
            .iter()
            .flat_map(|d| [d.join(dir), d.join("vars").join(dir)])
            .find(|d| d.is_dir())
            .unwrap_or_else(|| cx.playbook_dir.join(dir)),
    };
    if !root.is_dir() {
        return Err(Failure::new(format!("{} directory does not exist", root.display())));
    }
    let depth = text(args, "depth").map_or(Ok(0), |d| {
        d.parse::<usize>().map_err(|_| Failure::new(format!("depth must be an integer, got '{d}'")))
    })?;
    let mut extensions: Vec<String> = list(args, "extensions").iter().map(Val::key_text).collect();
    if extensions.is_empty() {
        extensions = ["yaml", "yml", "json"].map(String::from).to_vec();
    }
    let pattern = |text: &str| {
        fancy_regex::Regex::new(text)
            .map_err(|e| Failure::new(format!("'{text}' is not a regular expression: {e}")))
    };
    let matching = text(args, "files_matching").map(|m| pattern(&m)).transpose()?;
    let ignored = list(args, "ignore_files")
        .iter()
        .map(|i| pattern(&format!("{}$", i.key_text())))
        .collect::<Result<Vec<_>, _>>()?;
    let tolerant = boolean(args, "ignore_unknown_extensions", false)?;
    let (mut vars, mut files) = (Map::new(), Vec::new());
    for path in walk(&root, if depth == 0 { usize::MAX } else { depth })? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = matching.as_ref().is_none_or(|m| m.is_match(&name).unwrap_or(false))
            && !ignored.iter().any(|i| i.is_match(&name).unwrap_or(false));
        if !wanted || (cx.role_dir.is_some_and(|r| root == r.join("vars")) && name.starts_with("main.")) {
            continue;
        }
        let known = path.extension().is_none_or(|e| extensions.iter().any(|x| *x == e.to_string_lossy()));
        if !known {
            if tolerant {
                continue;
            }
            return Err(Failure::new(format!(
                "{} does not have a valid extension: {}",
                path.display(),
                extensions.join(", ")
            )));
        }
        vars.extend(load(&path, cx)?);
        files.push(path);
    }
    Ok((vars, files))
}

/// Files below `dir` in alphabetical order, folders after the files beside them.
fn walk(dir: &Path, depth: usize) -> Result<Vec<PathBuf>, Failure> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect())
        .map_err(|e| Failure::new(format!("can't read the folder {}: {e}", dir.display())))?;
    entries.sort();
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|p| p.is_dir());
    if depth > 1 {
        for folder in folders {
            files.extend(walk(&folder, depth - 1)?);
        }
    }
    Ok(files)
}
