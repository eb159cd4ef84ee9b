//! The work tree that an encrypted file is in.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::module::host_path::quote;
use crate::module::{Failure, Step};

/// A file of a git work tree.
pub struct Tracked {
    dir: PathBuf,
    name: String,
}

impl Tracked {
    /// Everything that a commit of it needs is looked for before anything is changed.
    ///
    /// # Errors
    /// It can't be committed, and why.
    pub fn find(path: &Path) -> Result<Tracked, Failure> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(Failure::new(format!("{} can't be committed: it has no name", path.display())));
        };
        let tracked = Tracked { dir: dir.to_path_buf(), name: name.to_string() };
        let refused = |why: &str| Failure::new(format!("{} can't be committed: {why}", path.display()));
        if tracked.git(&["rev-parse", "--is-inside-work-tree"])?.trim() != "true" {
            return Err(refused("it is in no git work tree").help("leave out commit: true"));
        }
        if !tracked.git(&["check-ignore", "--", &tracked.name])?.is_empty() {
            return Err(refused("git ignores it"));
        }
        if tracked.git(&["var", "GIT_COMMITTER_IDENT"])?.is_empty() {
            return Err(refused("git doesn't know who you are").help("git config user.name and user.email"));
        }
        Ok(tracked)
    }

    /// Whether what is in the file is what was committed last.
    ///
    /// # Errors
    /// `git` can't be started.
    pub fn is_clean(&self) -> Result<bool, Failure> {
        Ok(self.git(&["status", "--porcelain", "--", &self.name])?.is_empty())
    }

    /// Commits this file alone, whatever else is staged. When it is taken back, what is then in the file
    /// is committed too.
    pub fn commit(&self, key: &str) -> Step {
        let (dir, name) = (quote(&self.dir.to_string_lossy()), quote(&self.name));
        let message = quote(&format!("Update {key} in {}", self.name));
        let script = format!(
            "cd {dir} && git add -- {name} && {{ git diff --cached --quiet -- {name} || \
             git commit --quiet --only --message {message} -- {name}; }}"
        );
        let label = format!("commit {}", self.dir.join(&self.name).display());
        Step::derived(label, crate::remote::Command::shell(script)).interrupting(false)
    }

    fn git(&self, args: &[&str]) -> Result<String, Failure> {
        let ran = Command::new("git").arg("-C").arg(&self.dir).args(args).output();
        let ran = ran.map_err(|e| Failure::new(format!("git can't be started on this machine: {e}")))?;
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }
}
