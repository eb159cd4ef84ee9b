//! A lock that is ours: renewed in the background until it is released or lost.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::control::Control;
use super::files::HostFiles;
use super::lease::{Held, Lease, now};
use super::{HeldBy, tidy};
use crate::remote::RemoteError;

/// How soon a renewal that failed is tried again, at most.
const AGAIN: Duration = Duration::from_secs(1);

/// The lock of a run on one host. Dropped without [`release`](HostLock::release) it counts as lost
/// here, and is dead on the host once its lease has run out.
pub struct HostLock {
    pub(super) control: Control,
    pub(super) lease: Arc<Lease>,
    pub(super) files: HostFiles,
    held: Arc<Held>,
    broke: Option<Box<HeldBy>>,
    renewal: tokio::task::JoinHandle<()>,
    /// The file to which was appended last, where all of it came.
    appended: Mutex<Option<String>>,
}

impl std::fmt::Debug for HostLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostLock({} {})", self.control.host(), self.lease.folder)
    }
}

impl HostLock {
    pub(super) fn new(
        control: Control,
        held: Arc<Held>,
        lease: Arc<Lease>,
        broke: Option<Box<HeldBy>>,
    ) -> HostLock {
        held.set(Some(lease.clone()));
        let renewal = tokio::spawn(renew(control.clone(), lease.clone()));
        let files = HostFiles { control: control.clone(), folder: lease.folder.clone() };
        HostLock { control, lease, files, held, broke, renewal, appended: Mutex::default() }
    }

    /// The dead holder that it was taken from.
    pub fn broke(&self) -> Option<&HeldBy> {
        self.broke.as_deref()
    }

    /// Whether somebody else may have it by now. What is lost stays lost.
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Adds a line to a file of the run's on the host, in a folder that only the login user can
    /// look into. Not synced there.
    ///
    /// # Errors
    /// The lock is lost, or the host can't write.
    pub async fn append(&self, file: &str, line: &[u8]) -> Result<(), RemoteError> {
        self.lease.check(self.control.host())?;
        let again = self.appended().take().is_some_and(|last| last == file);
        self.files.append(file, line, &self.lease, again).await?;
        *self.appended() = Some(file.into());
        Ok(())
    }

    /// # Errors
    /// The lock is lost, or the host can't remove it; a file that isn't there is fine.
    pub async fn remove(&self, file: &str) -> Result<(), RemoteError> {
        self.lease.check(self.control.host())?;
        *self.appended() = None;
        self.files.remove(file, &self.lease).await
    }

    /// See [`HostFiles::read`].
    pub async fn read(&self, file: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        self.files.read(file).await
    }

    /// See [`HostFiles::list`].
    pub async fn list(&self) -> Result<Vec<String>, RemoteError> {
        self.files.list().await
    }

    fn appended(&self) -> MutexGuard<'_, Option<String>> {
        self.appended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives it back. Effects that still run stay noted on the host, and whoever locks it next is
    /// told of them.
    ///
    /// # Errors
    /// The host can't be reached; then the lease runs out.
    pub async fn release(self) -> Result<(), RemoteError> {
        self.release_after("").await
    }

    /// The same, at the end of a run for good: what its effects left on the host goes too.
    ///
    /// # Errors
    /// As [`release`](HostLock::release).
    pub async fn release_for_good(self) -> Result<(), RemoteError> {
        let Lease { folder, run, .. } = &*self.lease;
        let forget = format!("l_forget_run {folder} {}", tidy(run));
        self.release_after(&forget).await
    }

    async fn release_after(self, script: &str) -> Result<(), RemoteError> {
        self.renewal.abort();
        let script = format!("{script}\nl_release {} {}", self.lease.folder, self.lease.number);
        let released = self.control.run(&script, "UNLOCK").await;
        self.lease.lose();
        self.held.set(None);
        released.map(drop)
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        self.renewal.abort();
        self.lease.lose();
    }
}

/// Renews the lease until it is lost.
async fn renew(control: Control, lease: Arc<Lease>) {
    let Lease { folder, number, length, .. } = &*lease;
    let script = format!("l_renew {folder} {number} {}", length.as_secs());
    let mut pause = *length / 3;
    loop {
        tokio::time::sleep(pause).await;
        let asked = now();
        match tokio::time::timeout(lease.left(), control.run(&script, "RENEW")).await {
            Ok(Ok(said)) if said.stdout_text().trim() == "renewed" => {
                lease.renewed(asked);
                pause = *length / 3;
            }
            Ok(Ok(_)) => lease.lose(),
            Ok(Err(_)) | Err(_) => pause = AGAIN.min(lease.left() / 10),
        }
        if lease.is_lost() {
            return lease.lose();
        }
    }
}
