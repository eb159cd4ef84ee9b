//! Looks for secrets, in every encoding that they could have.

use std::fs;
use std::path::Path;
use std::sync::{Arc, RwLock};

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
