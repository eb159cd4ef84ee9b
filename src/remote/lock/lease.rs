//! How long a lock is ours, and who needs to know.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::mark::{EffectId, Mark};
use crate::remote::shell::token;
use crate::remote::{RemoteError, RemoteErrorKind};

/// A clock that also goes on while this machine sleeps: a lease does so too.
pub fn now() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it only fills the struct that it is given.
        if unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) } == 0 {
            return Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32);
        }
    }
    static BEGAN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    BEGAN.elapsed()
}

/// A lock of ours on a host.
pub struct Lease {
    /// Of the lock, on the host.
    pub folder: String,
    pub number: u32,
    pub run: String,
    pub length: Duration,
    /// Until when it is ours without another word from the host; `None` once it is lost.
    pub until: Mutex<Option<Duration>>,
}

impl Lease {
    pub fn is_lost(&self) -> bool {
        self.left().is_zero()
    }

    /// Zero once it is lost.
    pub fn left(&self) -> Duration {
        let until = self.until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        until.map_or(Duration::ZERO, |until| until.saturating_sub(now()))
    }

    /// A renewal that was asked for then was heard. What is lost stays lost.
    pub fn renewed(&self, asked: Duration) {
        let lost = self.is_lost();
        let mut until = self.until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *until = if lost { None } else { Some(asked + self.length) };
    }

    pub fn lose(&self) {
        *self.until.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }

    /// Lines that fail on the host where it was taken over; `function` of lock.sh says whether it was.
    pub fn guard(&self, function: &str) -> String {
        format!(
            "{function} {} {} || {{ echo \"the lock of this run was taken over by another\" >&2; exit 1; }}",
            self.folder, self.number
        )
    }

    /// # Errors
    /// It is lost.
    pub fn check(&self, host: &str) -> Result<(), RemoteError> {
        match self.is_lost() {
            true => Err(lost(host)),
            false => Ok(()),
        }
    }
}

pub fn lost(host: &str) -> RemoteError {
    RemoteError {
        kind: RemoteErrorKind::Conflict,
        message: format!(
            "the lock on {host} is no longer ours: it could not be renewed in time, or another run took it over"
        ),
        help: Some("nothing more is done there; see who has it now, and resume".into()),
    }
}

/// The lock of a run on a host, if it has one.
#[derive(Default)]
pub struct Held(Mutex<Option<Arc<Lease>>>);

impl Held {
    pub fn is_ours(&self) -> bool {
        let lease = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        lease.as_ref().is_some_and(|lease| !lease.is_lost())
    }

    pub fn set(&self, lease: Option<Arc<Lease>>) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = lease;
    }

    /// What an effect leaves on the host; nothing where no lock is held.
    ///
    /// # Errors
    /// The lock is lost, or another run's.
    pub fn mark(&self, host: &str, id: &EffectId) -> Result<Option<Mark>, RemoteError> {
        let lease = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        let Some(lease) = lease else { return Ok(None) };
        lease.check(host)?;
        if lease.run != id.run {
            return Err(super::refused(format!(
                "an effect of run {} can't be applied to {host} under the lock of run {}",
                id.run, lease.run
            )));
        }
        let Lease { folder, number, .. } = &*lease;
        Ok(Some(Mark {
            path: format!("{folder}/effects/{}", id.path(*number)),
            lock: format!("{folder}/lock.{number}"),
            next: format!("{folder}/lock.{}", number + 1),
            token: token(),
        }))
    }
}
