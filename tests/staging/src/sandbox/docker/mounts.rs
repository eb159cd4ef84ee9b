//! Files and directories of the machine that containers see: bind mounts of directories, and the
//! secrets of a Compose file.
//!
//! Services here see the machine's own files, so a mount is told to them as a path. A mounted file
//! stays the one that was there at the container's start, also when another takes its name, as with
//! a real bind mount: a hard link holds it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
}

impl Mount {
    /// `./DIR:/TARGET:ro` in a project's directory.
    pub fn parse(written: &str, dir: &Path, place: &str) -> Result<Mount> {
        let parts: Vec<&str> = written.split(':').collect();
        match parts[..] {
            [source, target, "ro"] if source.starts_with("./") && Path::new(target).is_absolute() => {
                Ok(Mount { source: dir.join(&source[2..]), target: target.to_owned() })
            }
            _ => bail!("{place}: the sandbox mounts named volumes, and ./DIR:/PATH:ro, not {written:?}"),
        }
    }

    /// A service's secrets, each a file that `declared` names.
    pub fn secrets(
        names: &[Value],
        declared: &Map<String, Value>,
        dir: &Path,
        place: &str,
    ) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for name in names {
            let Some(name) = name.as_str() else {
                bail!("{place}: the sandbox knows secrets by name only");
            };
            let Some(settings) = declared.get(name) else {
                bail!("{place}: undefined secret {name}: invalid compose project");
            };
            let file = settings.get("file").and_then(Value::as_str);
            let only_file = settings.as_object().is_some_and(|settings| settings.len() == 1);
            let Some(file) = file.filter(|_| only_file) else {
                bail!("secrets.{name}: the sandbox knows secrets of a file only");
            };
            let source = dir.join(file.strip_prefix("./").unwrap_or(file));
            mounts.push(Mount { source, target: format!("/run/secrets/{name}") });
        }
        Ok(mounts)
    }

    /// Takes hold of the file as it is now; `root` is the container's.
    pub fn start(&self, root: &Path) -> Result<()> {
        let source = &self.source;
        if !source.exists() {
            let shown = source.display();
            bail!("invalid mount config for type \"bind\": bind source path does not exist: {shown}");
        }
        if source.is_dir() {
            return Ok(());
        }
        let held = self.held(root);
        held.parent().map_or(Ok(()), fs::create_dir_all)?;
        match fs::remove_file(&held) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", held.display()));
            }
            _ => {}
        }
        fs::hard_link(source, &held).with_context(|| format!("cannot mount {}", source.display()))
    }

    /// Where a process of the container finds it here.
    pub fn real(&self, root: &Path) -> PathBuf {
        match self.source.is_dir() {
            true => self.source.clone(),
            false => self.held(root),
        }
    }

    fn held(&self, root: &Path) -> PathBuf {
        root.join(self.target.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_stays_until_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (root, source) = (dir.path().join("root"), dir.path().join("secret"));
        let mount = Mount { source: source.clone(), target: "/run/secrets/s".to_owned() };
        assert!(mount.start(&root).unwrap_err().to_string().contains("does not exist"));
        fs::write(&source, "old").unwrap();
        mount.start(&root).unwrap();
        fs::write(dir.path().join("new"), "new").unwrap();
        fs::rename(dir.path().join("new"), &source).unwrap();
        assert_eq!(fs::read_to_string(mount.real(&root)).unwrap(), "old");
        mount.start(&root).unwrap();
        assert_eq!(fs::read_to_string(mount.real(&root)).unwrap(), "new");
    }

    #[test]
    fn only_directories_of_the_project_are_mounted() {
        let parse = |text: &str| Mount::parse(text, Path::new("/p"), "x").map(|mount| mount.source);
        assert_eq!(parse("./faults:/faults:ro").unwrap(), Path::new("/p/faults"));
        for odd in ["./a:/a", "/etc:/etc:ro", "~/a:/a:ro", "./a:a:ro", "./a"] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
