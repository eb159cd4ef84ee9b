//! The audit trail: who changed what, when and why, over all runs of a project.
//!
//! One file beside the folder of the runs; a line is as a journal's, chained to the one before. Each
//! run notes in its own journal how far the trail went, and each line what its run's journal held by
//! then: so neither of them can lose its end without the other telling.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::journal::{self, Journal, Sync};
use super::record::{Begun, Ended, Record};

/// What the first line is chained to.
const NAME: &str = "audit";

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Begun,
    Resumed,
    GoingBack,
    Ended,
    Abandoned,
    Pruned,
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub at: String,
    pub what: What,
    pub run: String,
    pub by: String,
    pub reason: Option<String>,
    pub playbooks: Vec<String>,
    pub inventory: Vec<String>,
    pub hosts: Vec<String>,
    /// Tasks (and items of loops) that changed a host, since the line before of this run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, u64>,
    /// Steps that were taken back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub taken_back: u64,
    pub ending: Option<Ended>,
    /// The sum of the last line of the run's journal by then.
    pub journal: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How far the trail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub lines: u64,
    pub sum: String,
}

/// The file.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

/// What the file holds.
#[derive(Debug, Default)]
pub struct Trail {
    /// `None`: it isn't a line of a trail any more.
    pub lines: Vec<Option<Line>>,
    /// Of each line, as it stands.
    pub sums: Vec<String>,
    /// What is wrong with the chain, by the number of the line.
    pub wrong: Vec<(usize, String)>,
}

impl Audit {
    pub fn at(path: PathBuf) -> Audit {
        Audit { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line; other programs wait meanwhile.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn append(&self, line: &Line) -> std::io::Result<Reach> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        file.lock()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        // The line of a program that died while it wrote.
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
        }
        file.seek(SeekFrom::Start(whole as u64))?;
        let lines: Vec<&[u8]> = lines_of(&bytes[..whole]).collect();
        let last = lines.last().map_or_else(|| journal::first_sum(NAME), |line| journal::sum_of(line));
        let mut journal = Journal::at_end_of(file, last);
        journal.append(line, Sync::Now)?;
        Ok(Reach { lines: lines.len() as u64 + 1, sum: journal.sum().to_string() })
    }

    /// All of it; no file is an empty one.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(&self) -> std::io::Result<Trail> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Trail::default()),
            Err(e) => return Err(e),
        };
        file.lock_shared()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let mut trail = Trail::default();
        let mut before = journal::first_sum(NAME);
        for (index, line) in lines_of(&bytes[..whole]).enumerate() {
            match journal::read_line::<Line>(line, &before) {
                Ok((line, _)) => trail.lines.push(Some(line)),
                Err(why) => {
                    trail.lines.push(journal::record_of(line));
                    trail.wrong.push((index + 1, why));
                }
            }
            // What comes after a bad line is chained to it as it stands.
            before = journal::sum_of(line);
            trail.sums.push(before.clone());
        }
        Ok(trail)
    }
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// What a program does with one run, on its way to the trail.
#[derive(Debug)]
pub struct Auditing {
    audit: Audit,
    begun: Option<Begun>,
    by: String,
    hosts: BTreeSet<String>,
    changed: BTreeMap<String, u64>,
    taken_back: u64,
}

impl Auditing {
    /// `begun`: of a run that is gone on with.
    pub fn new(audit: Audit, begun: Option<Begun>) -> Auditing {
        let (by, hosts) = (String::new(), BTreeSet::new());
        Auditing { audit, begun, by, hosts, changed: BTreeMap::new(), taken_back: 0 }
    }

    /// Takes in a record of the journal; what the trail is told of it.
    pub fn line(&mut self, record: &Record, reason: Option<&String>) -> Option<Line> {
        match record {
            Record::Begun(begun) => {
                self.by.clone_from(&begun.by);
                self.hosts.extend(begun.hosts.iter().cloned());
                self.begun = Some((**begun).clone());
                Some(self.told(&begun.at, What::Begun, begun.reason.clone(), None))
            }
            Record::Continued { at, by, back } => {
                self.by.clone_from(by);
                let what = if *back { What::GoingBack } else { What::Resumed };
                Some(self.told(at, what, reason.cloned(), None))
            }
            Record::Ended { at, ending } => {
                let line = self.told(at, What::Ended, None, Some(*ending));
                self.changed.clear();
                self.taken_back = 0;
                Some(line)
            }
            Record::Abandoned { at, by, reason } => {
                self.by.clone_from(by);
                Some(self.told(at, What::Abandoned, Some(reason.clone()), None))
            }
            Record::Play { hosts, .. } => {
                self.hosts.extend(hosts.iter().cloned());
                None
            }
            Record::Outcome(outcome) if outcome.changed => {
                *self.changed.entry(outcome.host.clone()).or_default() += 1;
                None
            }
            Record::Undone { error: None, .. } => {
                self.taken_back += 1;
                None
            }
            _ => None,
        }
    }

    fn told(&self, at: &str, what: What, reason: Option<String>, ending: Option<Ended>) -> Line {
        let begun = self.begun.as_ref();
        let mut hosts = self.hosts.clone();
        if hosts.is_empty() {
            hosts.extend(begun.iter().flat_map(|b| b.hosts.iter().cloned()));
        }
        Line {
            at: at.to_string(),
            what,
            run: begun.map(|b| b.run.clone()).unwrap_or_default(),
            by: self.by.clone(),
            reason,
            playbooks: begun.map(|b| b.playbooks.clone()).unwrap_or_default(),
            inventory: begun.map(|b| b.inventory.clone()).unwrap_or_default(),
            hosts: hosts.into_iter().collect(),
            changed: self.changed.clone(),
            taken_back: self.taken_back,
            ending,
            journal: None,
        }
    }

    /// Writes a line, which is about a journal that goes to `sum` now.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, line: Line, sum: &str) -> std::io::Result<Record> {
        let line = Line { journal: Some(sum.to_string()), ..line };
        let Reach { lines, sum } = self.audit.append(&line)?;
        Ok(Record::Audited { lines, sum })
    }
}
