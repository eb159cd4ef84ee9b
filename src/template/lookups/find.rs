//! Where lookups look for files: `ansible_search_path`, then the playbook's folder.

use std::path::{Path, PathBuf};

use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::filters::expanduser;

/// The file `name`, looked for in the subfolder `kind` (`files`, `templates`, …) of each folder of
/// the search path, and in the folder itself.
pub fn find_file(eval: &Eval, kind: &str, name: &str) -> Option<PathBuf> {
    candidates(eval, kind, name).into_iter().find(|path| path.exists())
}

/// # Errors
/// No such file; says where it was looked for.
pub fn require_file(eval: &Eval, kind: &str, name: &str) -> Run<PathBuf> {
    find_file(eval, kind, name).ok_or_else(|| {
        let places: Vec<String> =
            candidates(eval, kind, name).iter().map(|p| p.display().to_string()).collect();
        Fault::new(format!("the file '{name}' was not found"))
            .help(format!("Looked at: {}", places.join(", ")))
    })
}

fn candidates(eval: &Eval, kind: &str, name: &str) -> Vec<PathBuf> {
    let name = expanduser(name);
    if Path::new(&name).is_absolute() {
        return vec![PathBuf::from(name)];
    }
    let mut found: Vec<PathBuf> = Vec::new();
    let mut add = |path: PathBuf| {
        if !found.contains(&path) {
            found.push(path);
        }
    };
    let folders = eval.cx().search.iter().map(PathBuf::as_path).chain([eval.cx().playbook_dir]);
    for folder in folders {
        if !name.starts_with(&format!("{kind}/")) {
            add(folder.join(kind).join(&name));
        }
        add(folder.join(&name));
    }
    found
}
