//! What is wrong in playbooks, roles, inventories and variables, found without a host and without a
//! secret.
//!
//! [`lint`] finds the files, loads them as a run would, and applies the policy [`rules`]. A rule is
//! one file and one line of [`rules::RULES`]; an output format one file of [`output`].
//! `docs/lint.md` is the manual.

mod allow;
mod files;
mod load;
pub mod output;
mod project;
mod rule;
pub mod rules;
#[cfg(test)]
mod tests;

pub use load::reached;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::language::Registries;
use crate::source::{Diagnostic, Diagnostics, Severity};
use crate::template::Templar;

pub use project::{Document, Flow, Project, Visit};
pub use rule::{Example, Found, Rule};

/// What is looked at when nothing is named, as far as it is there; else the working directory.
pub const DEFAULT_PATHS: [&str; 3] = ["playbooks", "roles", "inventory"];

/// What [`lint`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// By file and place, each once.
    pub findings: Vec<Diagnostic>,
    /// Files that were read.
    pub files: usize,
    /// Files that are encrypted as a whole and stayed so.
    pub sealed: usize,
    /// Policy findings that a comment allows.
    pub allowed: usize,
    /// Texts that findings are about and that must not be shown.
    pub secrets: Vec<String>,
}

impl Report {
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|d| d.severity == severity).count()
    }

    /// Whether a pipeline should stop; warnings count if `strict`.
    pub fn fails(&self, strict: bool) -> bool {
        self.count(Severity::Error) > 0 || strict && !self.findings.is_empty()
    }
}

/// Looks at all files at or below `paths`, which are relative to `cwd`; with none, at
/// [`DEFAULT_PATHS`].
///
/// # Errors
/// Paths that aren't there or can't be read. What is wrong inside of files is in the [`Report`].
pub fn lint(cwd: &Path, paths: &[PathBuf]) -> Result<Report, Diagnostics> {
    let found = files::find(cwd, paths)?;
    let language = Arc::new(Registries { templar: Arc::new(Templar::new()) });
    let (project, mut findings) = load::load(cwd, found, language)?;

    let mut policy = Vec::new();
    let mut secrets = Vec::new();
    for rule in rules::RULES {
        let mut found = Found::new(rule);
        (rule.check)(&project, &mut found);
        policy.extend(found.findings);
        secrets.extend(found.secrets);
    }
    let verdict = allow::apply(&project, policy);
    findings.extend(verdict.findings);
    Ok(Report {
        findings: in_order(findings),
        files: project.documents.len(),
        sealed: project.sealed,
        allowed: verdict.allowed,
        secrets,
    })
}

/// By file and place, each once: what two playbooks share is read twice.
fn in_order(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |d: &Diagnostic| d.span.as_ref().map(|s| (s.file.name.clone(), s.start));
    let mut seen = HashSet::new();
    findings.retain(|d| seen.insert((place(d), d.code, d.message.clone())));
    findings.sort_by_cached_key(|d| (place(d), std::cmp::Reverse(d.severity), d.code));
    findings
}
