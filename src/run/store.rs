//! Where runs are kept: a folder for each, `.seqn-play/runs/ID`, for its owner alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::secret::Error;

use super::audit::Audit;
use super::history::{History, State};
use super::journal::{self, End, Journal, Journaled};
use super::record::{Ended, Record};

/// The folder of a project that is the program's own.
pub const PROJECT_FOLDER: &str = ".seqn-play";

/// The note for people, in the folder of a run.
pub const NOTE: &str = "note.md";

const JOURNAL: &str = "journal";
/// There where the journal came from a host: the run began on another machine.
const TAKEN_IN: &str = "taken-in";
/// Enough of a journal's end for the records that come last. Bytes.
const TAIL: u64 = 8 << 10;
/// Locked while the program of a run is alive.
const ALIVE: &str = "alive";

/// The runs of a project.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    audit: PathBuf,
}

/// A run on disk.
#[derive(Debug)]
pub struct Stored {
    pub id: String,
    pub folder: PathBuf,
    pub history: History,
    pub end: End,
    /// Its program is running now.
    pub alive: bool,
    /// It began on another machine.
    pub taken_in: bool,
}

/// A run that this program holds: nobody else goes on with it meanwhile.
#[derive(Debug)]
pub struct Held {
    pub id: String,
    pub folder: PathBuf,
    _alive: File,
}

impl Store {
    /// In `given`, else in the nearest `.seqn-play` from `cwd` upwards, else in `cwd`'s.
    pub fn of(cwd: &Path, given: Option<&Path>) -> Store {
        match given {
            // What is beside it is not ours.
            Some(given) => Store { folder: cwd.join(given), audit: cwd.join(given).join("audit") },
            None => {
                let own = cwd.ancestors().map(|dir| dir.join(PROJECT_FOLDER)).find(|own| own.is_dir());
                let own = own.unwrap_or_else(|| cwd.join(PROJECT_FOLDER));
                Store { folder: own.join("runs"), audit: own.join("audit") }
            }
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The audit trail over all of them.
    pub fn audit(&self) -> Audit {
        Audit::at(self.audit.clone())
    }

    /// A new run, held, with its empty journal.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn begin(&self) -> Result<(Held, Journal), Error> {
        let wrong = |e: std::io::Error| Error::io("keep runs in", &self.folder, &e);
        private_folder(&self.folder).map_err(wrong)?;
        self.hide_from_git().map_err(wrong)?;
        loop {
            let id = new_id();
            let folder = self.folder.join(&id);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    let held = hold(&folder, &id)?;
                    let journal = Journal::create(&folder.join(JOURNAL), &id).map_err(wrong)?;
                    return Ok((held, journal));
                }
                // Two began in the same second.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(wrong(e)),
            }
        }
    }

    /// Holds a run that is there, to go on with it or back.
    ///
    /// # Errors
    /// It is running, or its journal is damaged.
    pub fn hold(&self, run: &Stored) -> Result<(Held, Journal), Error> {
        let held = hold(&run.folder, &run.id)?;
        let read = read(&run.folder, &run.id)?;
        if let End::Damaged { line, why } = &read.end {
            return Err(damaged(&run.id, *line, why));
        }
        let path = run.folder.join(JOURNAL);
        let journal = Journal::reopen(&path, &read).map_err(|e| Error::io("write", &path, &e))?;
        Ok((held, journal))
    }

    /// A run by its id or an unambiguous beginning of it; `last` is the newest.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn find(&self, name: &str) -> Result<Stored, Error> {
        let ids = self.ids();
        let found: Vec<&String> = match name {
            "last" => ids.last().into_iter().collect(),
            name => ids.iter().filter(|id| id.starts_with(name)).collect(),
        };
        match found.as_slice() {
            [one] => self.load(one),
            [] => Err(Error::refused(format!("there is no run {name} in {}", self.folder.display()))
                .help("`seqn-play runs` lists them")),
            many => Err(Error::refused(format!("{name} may be any of {} runs", many.len()))
                .help("give more of its id; `seqn-play runs` lists them")),
        }
    }

    /// Every run, oldest first.
    pub fn all(&self) -> Vec<Stored> {
        self.ids().iter().filter_map(|id| self.load(id).ok()).collect()
    }

    /// Runs of these playbooks that may not be at their end, oldest first. Of the others only the ends of
    /// the journal are read: a project may have thousands.
    pub fn unsettled(&self, playbooks: &[String]) -> Vec<Stored> {
        let ids = self.ids().into_iter();
        ids.filter(|id| may_be_open(&self.folder.join(id).join(JOURNAL), playbooks).unwrap_or(true))
            .filter_map(|id| self.load(&id).ok())
            .collect()
    }

    /// # Errors
    /// The journal can't be read.
    pub fn load(&self, id: &str) -> Result<Stored, Error> {
        let folder = self.folder.join(id);
        let read = read(&folder, id)?;
        let (alive, taken_in) = (is_alive(&folder), folder.join(TAKEN_IN).exists());
        let history = History::of(read.records);
        Ok(Stored { id: id.to_string(), folder, history, end: read.end, alive, taken_in })
    }

    /// # Errors
    /// It can't be removed.
    pub fn remove(&self, run: &Stored) -> Result<(), Error> {
        std::fs::remove_dir_all(&run.folder).map_err(|e| Error::io("remove", &run.folder, &e))
    }

    /// Takes in a journal that was kept elsewhere (on a host).
    ///
    /// # Errors
    /// The run is here already with more in it, or can't be written.
    pub fn take_in(&self, id: &str, bytes: &[u8]) -> Result<Stored, Error> {
        let folder = self.folder.join(id);
        let wrong = |e: std::io::Error| Error::io("keep the run in", &folder, &e);
        private_folder(&folder).map_err(wrong)?;
        self.hide_from_git().map_err(wrong)?;
        let path = folder.join(JOURNAL);
        if std::fs::metadata(&path).is_ok_and(|known| known.len() >= bytes.len() as u64) {
            return self.load(id);
        }
        if !path.exists() {
            std::fs::write(folder.join(TAKEN_IN), "").map_err(wrong)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(wrong)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong)?;
        self.load(id)
    }

    fn ids(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|e| e.path().join(JOURNAL).is_file())
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort();
        ids
    }

    fn hide_from_git(&self) -> std::io::Result<()> {
        let Some(own) = self.folder.ancestors().find(|dir| dir.ends_with(PROJECT_FOLDER)) else {
            return Ok(());
        };
        let ignore = own.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(ignore, "*\n")?;
        }
        Ok(())
    }
}

impl Stored {
    /// The journal as it stands.
    ///
    /// # Errors
    /// It can't be read.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let path = self.folder.join(JOURNAL);
        std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))
    }

    pub fn state(&self) -> State {
        self.history.state()
    }

    /// The state in a word; a run whose program is alive is none of the states of a journal.
    pub fn word(&self) -> &'static str {
        if self.alive { "running" } else { self.state().word() }
    }
}

/// Told by the first and the last record of a journal; `None` where they don't tell.
fn may_be_open(journal: &Path, playbooks: &[String]) -> Option<bool> {
    let mut file = BufReader::new(File::open(journal).ok()?);
    let mut first = Vec::new();
    file.read_until(b'\n', &mut first).ok()?;
    let Record::Begun(begun) = journal::record_of(first.trim_ascii_end())? else { return None };
    if begun.playbooks != playbooks {
        return Some(false);
    }
    let length = file.get_ref().metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let told = tail.strip_suffix(b"\n")?.rsplit(|b| *b == b'\n').map(journal::record_of);
    let last = told.take_while(Option::is_some).flatten().find(|r| !matches!(r, Record::Audited { .. }))?;
    Some(match last {
        Record::Ended { ending, .. } => !matches!(ending, Ended::Fine | Ended::RolledBack),
        Record::Abandoned { .. } => false,
        _ => true,
    })
}

fn damaged(id: &str, line: usize, why: &str) -> Error {
    Error::damaged(format!("the journal of run {id} is damaged at line {line}: {why}")).help(format!(
        "what the lines before it tell is good (`seqn-play runs show {id}`), what came after it is not known here; \
         a copy is kept on each host that the run changed (--from-host)"
    ))
}

fn read(folder: &Path, id: &str) -> Result<Journaled<Record>, Error> {
    let path = folder.join(JOURNAL);
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
    Ok(journal::read(&bytes, id))
}

fn alive_file(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(ALIVE))
}

fn hold(folder: &Path, id: &str) -> Result<Held, Error> {
    let wrong = |e: std::io::Error| Error::io("lock", folder, &e);
    let file = alive_file(folder).map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => Ok(Held { id: id.to_string(), folder: folder.to_path_buf(), _alive: file }),
        Err(TryLockError::WouldBlock) => Err(Error::refused(format!("run {id} is running now"))
            .help("wait for its end, or stop it with Ctrl-C where it runs")),
        Err(TryLockError::Error(e)) => Err(wrong(e)),
    }
}

fn is_alive(folder: &Path) -> bool {
    File::open(folder.join(ALIVE))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Sorts by time, to the millisecond: `20261126-143501-3257f`.
fn new_id() -> String {
    use rand::RngExt;
    let mut byte = [0u8];
    rand::rng().fill(&mut byte);
    format!("{}{:02x}", chrono::Local::now().format("%Y%m%d-%H%M%S-%3f"), byte[0])
}
