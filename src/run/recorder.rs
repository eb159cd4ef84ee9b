//! Writes the journal of a run, and keeps what it may keep of values.

use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

use crate::secret::Error;

use super::audit::{Audit, Auditing};
use super::journal::{Journal, Sync};
use super::record::{Begun, Record};
use super::seal::{Seal, Sealed};

/// Told of each line, once it is in the file; first of all that is there, once the run has begun
/// an effect somewhere.
pub type Mirror = Box<dyn Fn(&str) + Send>;

/// The open journal of a run.
pub struct Recorder {
    pub run: String,
    writing: Mutex<Writing>,
    seal: Option<Seal>,
    /// Why somebody goes on with it, or back.
    pub reason: Option<String>,
}

struct Writing {
    journal: Journal,
    auditing: Option<Auditing>,
    mirrors: Vec<Mirror>,
    /// Whether there is anything to go on with, or back: what the mirrors are for.
    acted: bool,
    /// What the mirrors get with the next line that must be on disk: no effect depends on it, and a
    /// host has better things to do.
    pending: String,
}

impl Writing {
    /// `acts`: whether the line is the first that leaves something to be gone on with, or back.
    fn tell(&mut self, line: &str, acts: bool) -> std::io::Result<()> {
        match (self.acted, acts) {
            (true, _) => self.pending.push_str(line),
            (false, true) => {
                self.acted = true;
                self.pending = self.journal.text()?;
            }
            (false, false) => {}
        }
        Ok(())
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.mirrors.iter().for_each(|mirror| mirror(&pending));
        }
    }
}

impl Recorder {
    pub fn new(run: String, journal: Journal, seal: Option<Seal>) -> Recorder {
        Recorder {
            run,
            writing: Mutex::new(Writing {
                journal,
                auditing: None,
                mirrors: Vec::new(),
                acted: false,
                pending: String::new(),
            }),
            seal,
            reason: None,
        }
    }

    /// From now on the audit trail is told. `begun`: of a run that is gone on with.
    pub fn audited(self, audit: Audit, begun: Option<&Begun>) -> Recorder {
        {
            let mut writing = self.writing();
            writing.acted = begun.is_some();
            writing.auditing = Some(Auditing::new(audit, begun.cloned()));
        }
        self
    }

    /// From now on `mirror` gets what a [`Mirror`] gets.
    ///
    /// # Errors
    /// What is there can't be read.
    pub fn mirror_to(&self, mirror: Mirror) -> std::io::Result<()> {
        let mut writing = self.writing();
        if writing.acted {
            writing.flush();
            mirror(&writing.journal.text()?);
        }
        writing.mirrors.push(mirror);
        Ok(())
    }

    pub fn end_mirrors(&self) {
        let mut writing = self.writing();
        writing.flush();
        writing.mirrors.clear();
    }

    /// # Errors
    /// It could not be written: the Step that it speaks of must not be applied.
    pub fn write(&self, record: &Record, sync: Sync) -> Result<(), Error> {
        let mut writing = self.writing();
        let unreadable = |e: std::io::Error| {
            let what = format!("the journal of run {} can't be read: {e}", self.run);
            Error::new(crate::secret::ErrorKind::Io, what)
                .help("nothing more was begun; see what became of the file, then `seqn-play resume`")
        };
        let line = writing.journal.append(record, sync).map_err(|e| {
            Error::new(
                crate::secret::ErrorKind::Io,
                format!("the journal of run {} can't be written: {e}", self.run),
            )
            .help("nothing more was begun; make room, then `seqn-play resume` goes on from here")
        })?;
        writing.tell(&line, matches!(record, Record::Intent(_))).map_err(unreadable)?;
        if sync == Sync::Now {
            writing.flush();
        }
        let Writing { journal, auditing: Some(auditing), .. } = &mut *writing else { return Ok(()) };
        let Some(line) = auditing.line(record, self.reason.as_ref()) else { return Ok(()) };
        let audited = auditing.write(line, journal.sum());
        let noted = audited.and_then(|audited| journal.append(&audited, sync)).map_err(|e| {
            let what = format!("the audit trail can't be told of run {}: {e}", self.run);
            Error::new(crate::secret::ErrorKind::Io, what)
                .help("make it writable; nothing more is begun without it")
        })?;
        writing.tell(&noted, false).map_err(unreadable)?;
        writing.flush();
        Ok(())
    }

    /// `None` where the run has no key.
    ///
    /// # Errors
    /// Encryption fails.
    pub fn seal<T: Serialize>(&self, value: &T) -> Result<Option<Sealed>, Error> {
        self.seal.as_ref().map(|seal| seal.seal(value)).transpose()
    }

    /// Stands for a value in an id: equal values have equal fingerprints within a run, and nobody
    /// without its key learns anything from it.
    pub fn fingerprint(&self, bytes: &[u8]) -> String {
        self.seal.as_ref().map_or_else(String::new, |seal| seal.fingerprint(bytes))
    }

    /// Whether a host that was locked before may have the journal.
    pub fn has_acted(&self) -> bool {
        self.writing().acted
    }

    pub fn key(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Now, as journals write it: local time with its offset, to the millisecond.
pub fn now() -> String {
    chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, false)
}
