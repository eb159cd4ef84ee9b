use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::raised::Kind;

/// The directory of one staging VPS. Its name, and so that of all its containers, follows from
/// the path: what a killed `up` left is found again without any record of it.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    name: String,
}

/// Keeps a second `up` or `down` away from the same place.
pub struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// Lets go and takes the lock file away, for when nothing is left in the place.
    pub fn release(self) {
        // Whoever waits for the old file finds out that it is gone, and locks the new one.
        let _ = fs::remove_file(&self.path);
        drop(self.file);
    }
}

impl Place {
    pub fn new(dir: &Path) -> Result<Place> {
        let dir = resolve(&std::path::absolute(dir)?)?;
        let Some(text) = dir.to_str() else {
            bail!("{} is not UTF-8", dir.display());
        };
        // Both would end a field: ':' in a bind mount, blanks in ssh's options.
        if text.contains(|c: char| c == ':' || c.is_whitespace()) {
            bail!("{text}: choose a directory without blanks and colons in its path");
        }
        let name = format!("seqn-staging-{}", &hex(&Sha256::digest(text))[..10]);
        Ok(Place { dir, name })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Also the Compose project's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn raised_json(&self) -> PathBuf {
        self.dir.join("raised.json")
    }

    pub fn raised_yml(&self) -> PathBuf {
        self.dir.join("raised.yml")
    }

    /// What the operator holds: keys, known_hosts, the age identity.
    pub fn operator(&self) -> PathBuf {
        self.dir.join("operator")
    }

    /// What the VPS is made from: its host key, its users' password file.
    pub fn machine(&self) -> PathBuf {
        self.dir.join("machine")
    }

    /// The part of the VPS's disk that outlives its processes.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// The Compose project's directory.
    pub fn project(&self) -> PathBuf {
        self.disk().join("silver-auth")
    }

    /// States of a sandbox that were kept.
    pub fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    fn kind_file(&self) -> PathBuf {
        self.dir.join("kind")
    }

    /// The kind that an `up` here began to raise.
    pub fn kind(&self) -> Option<Kind> {
        match fs::read_to_string(self.kind_file()).ok()?.trim() {
            "docker" => Some(Kind::Docker),
            "sandbox" => Some(Kind::Sandbox),
            _ => None,
        }
    }

    pub(crate) fn prepare(&self, kind: Kind) -> Result<()> {
        make_dir(&self.dir, 0o755)?;
        let kind = match kind {
            Kind::Docker => "docker\n",
            Kind::Sandbox => "sandbox\n",
        };
        write_private(&self.kind_file(), kind)?;
        make_dir(&self.operator(), 0o700)?;
        make_dir(&self.machine(), 0o700)?;
        make_dir(&self.disk(), 0o755)
    }

    pub(crate) fn lock(&self) -> Result<Held> {
        let locks = cache_dir()?.join("locks");
        make_dir(&locks, 0o700)?;
        let path = locks.join(&self.name);
        loop {
            let file = lock_file(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    bail!("another `staging` is at work on {}; wait for it to end", self.dir.display())
                }
                Err(fs::TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            if same_file(&file, &path)? {
                return Ok(Held { file, path });
            }
        }
    }

    /// Removes what `up` made and nothing else; the directory too when that leaves it empty.
    pub(crate) fn remove_files(&self) -> Result<()> {
        for file in [self.raised_json(), self.raised_yml()] {
            gone(fs::remove_file(&file), &file)?;
        }
        for dir in [self.operator(), self.machine(), self.disk(), self.snapshots()] {
            gone(fs::remove_dir_all(&dir), &dir)?;
        }
        gone(fs::remove_file(self.kind_file()), &self.kind_file())?;
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            other => gone(other, &self.dir),
        }
    }
}

/// Where images' ingredients and locks are kept between runs.
pub fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => match std::env::var_os("HOME").filter(|value| !value.is_empty()) {
            Some(home) => PathBuf::from(home).join(".cache"),
            None => bail!("neither XDG_CACHE_HOME nor HOME is set"),
        },
    };
    let dir = std::path::absolute(base)?.join("seqn-play-staging");
    make_dir(&dir, 0o700)?;
    Ok(dir)
}

pub fn make_dir(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Opens, or makes, a file whose only purpose is to be locked.
pub fn lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    write_file(path, content.as_bytes(), 0o600)
}

pub fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        // The umask had its say in the mode above.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same path however it was spelled, also when its last parts don't exist (any more).
fn resolve(path: &Path) -> Result<PathBuf> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(last)) => Ok(resolve(parent)?.join(last)),
            _ => bail!("{} does not exist", path.display()),
        },
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn same_file(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata()?;
    Ok(fs::metadata(path).is_ok_and(|named| named.ino() == held.ino() && named.dev() == held.dev()))
}

fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_from_the_path_alone() {
        let name = |path: &str| Place::new(Path::new(path)).unwrap().name().to_owned();
        assert_eq!(name("/nowhere/b"), name("/nowhere/b/"));
        assert_ne!(name("/nowhere/b"), name("/nowhere/c"));
    }

    #[test]
    fn a_path_that_would_break_a_mount_or_an_option_is_refused() {
        assert!(Place::new(Path::new("/nowhere/a b")).is_err());
        assert!(Place::new(Path::new("/nowhere/a:b")).is_err());
    }
}
