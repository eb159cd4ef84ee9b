//! What a playbook is made of, as one hash: whoever rehearsed it rehearsed exactly that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::lint;
use crate::playbook::{Loader, Playbook};
use crate::secret::Error;

/// Folders beside a playbook that its tasks take files from by name.
const BESIDE: [&str; 4] = ["files", "templates", "tasks", "vars"];

/// What a playbook is made of: its files, everything in its roles, its includes as far as their names are
/// written out, and what may be beside it. Neither inventory nor values given with `-e` count.
pub fn paths(loader: &Loader, playbooks: &[(PathBuf, Playbook)]) -> BTreeSet<PathBuf> {
    let mut paths = parts(loader, playbooks);
    for (file, _) in playbooks {
        paths.extend(BESIDE.iter().filter_map(|name| Some(file.parent()?.join(name))));
    }
    paths.extend(loader.sources().into_keys());
    paths
}

/// SHA-256 in hex over names and contents of all files at or below these paths.
///
/// # Errors
/// A file can't be read.
pub fn hash(cwd: &Path, paths: &BTreeSet<PathBuf>) -> Result<String, Error> {
    let mut files = BTreeSet::new();
    for path in paths {
        add(&std::path::absolute(path).unwrap_or_else(|_| path.clone()), &mut files)?;
    }
    let mut sum = Sha256::new();
    for file in files {
        let bytes = std::fs::read(&file).map_err(|e| Error::io("read", &file, &e))?;
        let name = file.strip_prefix(cwd).unwrap_or(&file).as_os_str().as_encoded_bytes().to_vec();
        for part in [name, bytes] {
            // With its length, so that no two lists of files are the same bytes.
            sum.update((part.len() as u64).to_be_bytes());
            sum.update(&part);
        }
    }
    Ok(crate::source::hex::hex(sum.finalize()))
}

/// The playbooks, the folders of their roles, and the files of their includes.
pub fn parts(loader: &Loader, playbooks: &[(PathBuf, Playbook)]) -> BTreeSet<PathBuf> {
    let mut paths: BTreeSet<PathBuf> = playbooks.iter().map(|(file, _)| file.clone()).collect();
    for (_, playbook) in playbooks {
        paths.extend(lint::reached(loader, playbook.plays.iter()));
    }
    // A role's own files stand for themselves with its folder.
    let roles: Vec<PathBuf> = paths.iter().filter(|path| path.is_dir()).cloned().collect();
    paths.retain(|path| roles.contains(path) || !roles.iter().any(|role| path.starts_with(role)));
    paths
}

/// Every file at or below it.
fn add(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|e| Error::io("read", path, &e))?;
        for entry in entries.flatten() {
            add(&entry.path(), files)?;
        }
    } else if path.is_file() {
        files.insert(path.to_path_buf());
    }
    Ok(())
}
