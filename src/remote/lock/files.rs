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
        let add = format!("{{ echo {line} | base64 -d && echo; }} >>{file}");
        if again {
            let script =
                format!("{}\numask 077; cd -- {} || exit 1\n{add}", lock.guard("l_newest"), self.runs());
            return self.control.run(&script, "APPEND").await.map(drop);
        }
        // What a connection was cut in stays a line of its own.
        let apart = format!("[ ! -s {file} ] || [ -z \"$(tail -c 1 {file})\" ] || echo >>{file}");
        self.change("APPEND", &format!("{apart}\n{add}"), lock).await
    }

    pub(super) async fn remove(&self, file: &str, lock: &Lease) -> Result<(), RemoteError> {
        self.change("REMOVE", &format!("rm -f -- {}", name(file)?), lock).await
    }

    async fn change(&self, what: &str, script: &str, lock: &Lease) -> Result<(), RemoteError> {
        let (ours, folder) = (lock.guard("l_ours"), self.runs());
        let script =
            format!("{ours}\numask 077; l_own {folder} || exit $?\ncd -- {folder} || exit 1\n{script}");
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
