//! The maintenance note: what a run did, in Markdown, `note.md` in the run's folder.
//!
//! A run that is gone on with or rolled back adds a section. `--note-dir` gets a copy of the whole,
//! named by date, playbook and run.

mod text;

#[cfg(test)]
pub use text::section as section_of;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::engine::event::Event;
use crate::run::store::{NOTE, Store};
use crate::secret::Error;

use super::facts::Facts;
use super::{Paint, Reporter, Screen};

/// Writes the note of a run when it ends.
pub struct Note {
    facts: Facts,
    store: Store,
    dir: Option<PathBuf>,
}

impl Note {
    pub fn new(facts: Facts, store: Store, dir: Option<PathBuf>) -> Note {
        Note { facts, store, dir }
    }

    /// Writes what is known by now.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&mut self, screen: &Screen) -> Result<(), Error> {
        let run = self.store.load(&self.facts.run)?;
        self.facts.settle(&run.history);
        let shown = self.facts.redacted(screen.redactor());
        let facts =
            shown.map_err(|e| Error::refused(format!("what is known of the run can't be told: {e}")))?;
        let path = run.folder.join(NOTE);
        let head = if path.exists() { String::new() } else { text::head(&facts) };
        let note = format!("{head}{}", text::section(&facts));
        let note = printable(&screen.redactor().redact(&note));
        append(&path, &note).map_err(|e| Error::io("write", &path, &e))?;
        if let Some(dir) = &self.dir {
            let begun = run.history.begun.as_ref().map(|b| b.at.as_str()).unwrap_or(&facts.begun);
            let copy = dir.join(name(begun, &facts));
            let copied = std::fs::create_dir_all(dir).and_then(|()| copy_of(&path, &copy));
            copied.map_err(|e| Error::io("write", &copy, &e))?;
        }
        Ok(())
    }
}

impl Reporter for Note {
    fn on(&mut self, event: &Event, screen: &Screen) {
        self.facts.on(event, screen.redactor());
        if matches!(event, Event::RunEnded { .. })
            && let Err(why) = self.write(screen)
        {
            screen.error_line(Paint::Warning, &format!("[WARNING]: the note is not written: {why}"));
        }
    }
}

/// What a host said must not drive the terminal of who reads the note.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// For others to read: with the modes that this operator's files have, and never half of it.
fn copy_of(note: &Path, copy: &Path) -> std::io::Result<()> {
    let half = copy.with_extension("md.half");
    std::fs::write(&half, std::fs::read(note)?)?;
    std::fs::rename(&half, copy)
}

/// `2026-11-26-rotate-db-password-20261126-143501-3257f.md`
fn name(begun: &str, facts: &Facts) -> String {
    let day = begun.get(..10).unwrap_or(begun);
    let playbook =
        facts.playbooks.first().map(|p| Path::new(p).file_stem().unwrap_or_default().to_string_lossy());
    let playbook = playbook.unwrap_or_default();
    let safe: String =
        playbook.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    format!("{day}-{safe}-{}.md", facts.run)
}
