//! Files of runs on a host, beside the lock, in a folder that only the login user can look into.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::control::Control;
use super::lease::Lease;
use super::refused;
use crate::remote::RemoteError;

/// To look at them needs no lock; to change them does.
pub struct HostFiles {
    pub(super) control: Control,
    /// Of the lock.
    pub(super) folder: String,
}

impl HostFiles {
    pub fn new(control: Control, project: &str) -> HostFiles {
        HostFiles { control, folder: super::folder(project) }
    }

    /// The whole content; `None` where there is no such file.
    ///
    /// # Errors
    /// The host can't be reached, it is larger than 64 MiB, or the folder is not the login user's.
    pub async fn read(&self, file: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let read = format!("[ ! -f {0} ] || {{ echo; cat {0}; }}", name(file)?);
        let mut content = self.look("READ", &read).await?;
        Ok(match content.is_empty() {
            true => None,
            false => Some(content.split_off(1)),
        })
    }

    /// The names of all.
    ///
    /// # Errors
    /// As [`read`](HostFiles::read).
    pub async fn list(&self) -> Result<Vec<String>, RemoteError> {
        let list = "for l_f in *; do [ ! -f \"$l_f\" ] || printf '%s\\n' \"$l_f\"; done";
        let names = self.look("LIST", list).await?;
        Ok(String::from_utf8_lossy(&names).lines().map(String::from).collect())
    }

    /// Runs a script in the folder, if it is there.
    async fn look(&self, what: &str, script: &str) -> Result<Vec<u8>, RemoteError> {
        let folder = self.runs();
        let script =
            format!("[ -e {folder} ] || exit 0; l_own {folder} && cd -- {folder} && {{ {script}; }}");
        Ok(self.control.run(&script, what).await?.stdout)
    }

    /// `again`: the last that was done here was to append to this file, and all of it came. Then nothing
    /// is looked at a second time, since of a run's traffic this is the largest part.
    pub(super) async fn append(
        &self,
        file: &str,
        line: &[u8],
        lock: &Lease,
        again: bool,
    ) -> Result<(), RemoteError> {
        let (file, line) = (name(file)?, STANDARD.encode(line));
        // What a connection was cut in stays a line of its own.
        let apart = match again {
            true => String::new(),
            false => format!("[ ! -s {file} ] || [ -z \"$(tail -c 1 {file})\" ] || echo >>{file}\n"),
        };
        let add = format!("{apart}{{ echo {line} | base64 -d && echo; }} >>{file}");
        self.change("APPEND", &add, lock, again).await
    }

    pub(super) async fn remove(&self, file: &str, lock: &Lease) -> Result<(), RemoteError> {
        self.change("REMOVE", &format!("rm -f -- {}", name(file)?), lock, false).await
    }

    async fn change(&self, what: &str, script: &str, lock: &Lease, again: bool) -> Result<(), RemoteError> {
        let folder = self.runs();
        let (ours, own) = match again {
            true => (lock.guard("l_newest"), String::new()),
            false => (lock.guard("l_ours"), format!("l_own {folder} || exit $?\n")),
        };
        let script = format!("{ours}\numask 077; {own}cd -- {folder} || exit 1\n{script}");
        self.control.run(&script, what).await.map(drop)
    }

    /// Their folder, to the host's shell.
    fn runs(&self) -> String {
        format!("{}/runs-$l_me", self.folder)
    }
}

/// A name that is only a name, to every shell and as a path.
fn name(file: &str) -> Result<&str, RemoteError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !file.is_empty() && !file.starts_with(['.', '-']) && file.chars().all(plain) {
        true => Ok(file),
        false => Err(refused(format!(
            "{file:?} can't be the name of a file beside the lock: letters, digits, `.`, `_` and `-`"
        ))),
    }
}
