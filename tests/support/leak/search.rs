//! Looks for secrets, in every encoding that they could have.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use aho_corasick::AhoCorasick;
use seqn_play::secret::forms::forms;

#[derive(Default, Clone)]
pub struct Search(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    forms: Vec<String>,
    automaton: Option<AhoCorasick>,
}

impl Search {
    pub fn add(&self, secret: &str) {
        let mut known = self.0.write().unwrap();
        known.forms.extend(forms(secret));
        known.automaton = Some(AhoCorasick::new(&known.forms).expect("not too many"));
    }

    /// What is found, as `where: …what stands around it…`.
    pub fn in_text(&self, place: &str, text: &[u8]) -> Vec<String> {
        let known = self.0.read().unwrap();
        let Some(automaton) = &known.automaton else { return Vec::new() };
        let around = |at: aho_corasick::Match| {
            let part = &text[at.start().saturating_sub(60)..(at.end() + 20).min(text.len())];
            format!("{place}: …{}…", String::from_utf8_lossy(part).escape_debug())
        };
        automaton.find(text).map(around).into_iter().collect()
    }

    pub fn in_file(&self, path: &Path) -> Vec<String> {
        // One that is gone again holds nothing.
        fs::read(path).map(|bytes| self.in_text(&path.display().to_string(), &bytes)).unwrap_or_default()
    }
}

/// Files at or below these folders that were written since then.
pub fn changed_files(dirs: &[PathBuf], since: SystemTime) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = dirs.to_vec();
    while let Some(dir) = dirs.pop() {
        files.extend(files_in(&dir, since));
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        dirs.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    files
}

/// The same, of one folder alone.
pub fn files_in(dir: &Path, since: SystemTime) -> Vec<PathBuf> {
    // Clocks of file systems are a little behind.
    let since = since - Duration::from_millis(50);
    let is_new = |entry: &fs::DirEntry| {
        entry.metadata().is_ok_and(|m| m.is_file() && m.modified().is_ok_and(|at| at >= since))
    };
    fs::read_dir(dir).into_iter().flatten().flatten().filter(is_new).map(|entry| entry.path()).collect()
}
