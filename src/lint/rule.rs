//! A policy rule and what it finds.

use std::collections::HashSet;
use std::sync::Arc;

use crate::secret::redactor::MASK;
use crate::source::{Diagnostic, Severity, SourceFile, Span};

use super::Project;

/// A policy rule: its documentation and its check. Everything that is said about it (`--rules`,
/// `--explain`, `docs/lint.md`) derives from this.
pub struct Rule {
    /// As in `allow` comments: `rotation-without-backup`.
    pub name: &'static str,
    pub severity: Severity,
    /// What it finds, in one line.
    pub summary: &'static str,
    /// Why that is wrong, and what to do instead.
    pub why: &'static str,
    /// Found at the line with the comment `# here`.
    pub bad: Example,
    pub good: Example,
    pub check: fn(&Project, &mut Found),
}

/// A playbook, in YAML. It may use the roles `fresh_backup` and `recreate_and_verify`.
pub type Example = &'static str;

/// What a rule finds.
pub struct Found {
    rule: &'static Rule,
    pub(super) findings: Vec<Finding>,
    pub(super) secrets: Vec<String>,
    seen: HashSet<(String, usize)>,
}

/// A finding of a rule, that a comment may allow.
pub(super) struct Finding {
    pub diagnostic: Diagnostic,
    /// Lines at which an `allow` comment counts.
    pub lines: Vec<u32>,
}

impl Found {
    pub(super) fn new(rule: &'static Rule) -> Found {
        Found { rule, findings: Vec::new(), secrets: Vec::new(), seen: HashSet::new() }
    }

    /// Something at `at`; the first one of each place counts. `task` is the whole task, whose first
    /// line is as good for an `allow` comment.
    pub fn add(&mut self, message: impl Into<String>, at: &Span, task: Option<&Span>, help: &str) {
        if !self.seen.insert((at.file.name.clone(), at.start)) {
            return;
        }
        let mut diagnostic = Diagnostic::error(self.rule.name, message, at).help(help);
        diagnostic.severity = self.rule.severity;
        let task = task.filter(|task| task.file.name == at.file.name);
        let lines = std::iter::once(at.line).chain(task.map(|task| task.line)).collect();
        self.findings.push(Finding { diagnostic, lines });
    }

    /// As [`Found::add`] where the text at `at` must not be shown: the excerpt has a mask instead.
    pub fn add_hidden(&mut self, message: impl Into<String>, at: &Span, help: &str) {
        let text = &at.file.text;
        let end = at.end.clamp(at.start, text.len());
        let Some(hidden) = text.get(at.start..end) else { return };
        self.secrets.push(hidden.trim_matches(['"', '\'']).to_string());
        let masked = [&text[..at.start], MASK, &text[end..]].concat();
        let file = &at.file;
        let file = SourceFile {
            name: file.name.clone(),
            path: file.path.clone(),
            text: masked,
            secret: file.secret,
        };
        let span = Span { file: Arc::new(file), end: at.start + MASK.len(), ..at.clone() };
        self.add(message, &span, None, help);
    }
}
