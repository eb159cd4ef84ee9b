//! Makes one tree of files equal to another, touching only what differs.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::{Context, Result};

/// When a file is taken for the same as its original without a look into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    Never,
    TimeAndSize,
}

/// Afterwards `to` has the files, directories and links of `from`, with their owners, modes and
/// times. Sockets and pipes are left out.
pub fn mirror(from: &Path, to: &Path, same: Same) -> Result<()> {
    mirror_dir(from, to, same).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn mirror_dir(from: &Path, to: &Path, same: Same) -> Result<()> {
    let original = fs::symlink_metadata(from)?;
    if fs::symlink_metadata(to).is_ok_and(|found| !found.is_dir()) {
        fs::remove_file(to)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    let mut names = HashSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let original = entry.metadata()?;
        let kind = original.file_type();
        if kind.is_dir() {
            mirror_dir(&source, &target, same)?;
        } else if kind.is_file() || kind.is_symlink() {
            mirror_file(&source, &original, &target, same)?;
        } else {
            continue;
        }
        names.insert(entry.file_name());
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            remove(&entry.path(), entry.file_type()?.is_dir())?;
        }
    }
    take_after(to, &original)
}

fn mirror_file(source: &Path, original: &Metadata, target: &Path, same: Same) -> Result<()> {
    let there = fs::symlink_metadata(target).ok();
    if same == Same::TimeAndSize && there.as_ref().is_some_and(|there| looks_the_same(there, original)) {
        return Ok(());
    }
    if let Some(there) = there {
        // Never into it: it may have other names.
        remove(target, there.is_dir())?;
    }
    if original.is_symlink() {
        return Ok(symlink(fs::read_link(source)?, target)?);
    }
    fs::copy(source, target)?;
    take_after(target, original)
}

fn looks_the_same(one: &Metadata, other: &Metadata) -> bool {
    let look = |it: &Metadata| (it.mode(), it.uid(), it.gid(), it.len(), it.mtime(), it.mtime_nsec());
    look(one) == look(other)
}

/// Owner, mode and times.
fn take_after(path: &Path, original: &Metadata) -> Result<()> {
    let there = fs::symlink_metadata(path)?;
    if (there.uid(), there.gid()) != (original.uid(), original.gid()) {
        chown(path, Some(original.uid()), Some(original.gid()))?;
    }
    let times = FileTimes::new().set_accessed(original.accessed()?).set_modified(original.modified()?);
    File::open(path)?.set_times(times)?;
    // Last: it may take our own right away.
    if there.mode() != original.mode() {
        fs::set_permissions(path, fs::Permissions::from_mode(original.mode()))?;
    }
    Ok(())
}

fn remove(path: &Path, is_dir: bool) -> Result<()> {
    let removed = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_becomes_as_the_other() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/c"), "one").unwrap();
        fs::set_permissions(from.join("a/b/c"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a/b/c", from.join("link")).unwrap();
        mirror(&from, &to, Same::Never).unwrap();
        let read = |path: &str| fs::read_to_string(to.join(path)).unwrap();
        assert_eq!((read("a/b/c"), read("link")), ("one".to_owned(), "one".to_owned()));
        assert_eq!(fs::metadata(to.join("a/b/c")).unwrap().mode() & 0o777, 0o640);

        // What changed, what is new, what is gone, and what is something else now.
        fs::hard_link(to.join("a/b/c"), scratch.path().join("other name")).unwrap();
        fs::write(to.join("a/b/c"), "changed").unwrap();
        fs::write(to.join("a/new"), "").unwrap();
        fs::remove_file(to.join("link")).unwrap();
        fs::create_dir(to.join("link")).unwrap();
        let time = fs::metadata(from.join("a/b/c")).unwrap().modified().unwrap();
        for same in [Same::TimeAndSize, Same::Never] {
            mirror(&from, &to, same).unwrap();
            assert_eq!((read("a/b/c"), read("link")), ("one".to_owned(), "one".to_owned()));
            assert!(!to.join("a/new").exists());
            assert_eq!(fs::metadata(to.join("a/b/c")).unwrap().modified().unwrap(), time);
        }
        assert_eq!(fs::read_to_string(scratch.path().join("other name")).unwrap(), "changed");
    }
}
