//! How a [`Report`](super::Report) is written: for people, for programs, for GitHub.

mod github;
mod json;
pub mod rules;
mod text;

use crate::source::{Diagnostic, Severity};

use super::Report;

/// A way to write a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Findings with an excerpt and a caret
    #[default]
    Text,
    /// One JSON object
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

/// How a report is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// Findings only: no summary.
    pub quiet: bool,
}

/// The report in one text, without a line feed at its end; empty if there is nothing to say.
/// It still has to pass a Redactor that knows [`Report::secrets`].
pub fn write(report: &Report, format: Format, style: Style) -> String {
    let text = match format {
        Format::Text => text::write(report, style),
        Format::Json => json::write(report),
        Format::Github => github::write(report, style),
    };
    text.trim_end_matches('\n').to_string()
}

/// `12 files: 2 errors, 1 warning; 1 allowed by a comment`
fn summary(report: &Report) -> String {
    let count = |n: usize, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    let found: Vec<String> = [(Severity::Error, "error"), (Severity::Warning, "warning")]
        .into_iter()
        .filter(|(severity, _)| report.count(*severity) > 0)
        .map(|(severity, word)| count(report.count(severity), word))
        .collect();
    let found = if found.is_empty() { "nothing found".to_string() } else { found.join(", ") };
    let mut text = format!("{}: {found}", count(report.files, "file"));
    if report.allowed > 0 {
        text += &format!("; {} allowed by a comment", report.allowed);
    }
    if report.sealed > 0 {
        text += &format!("; {} left sealed", count(report.sealed, "encrypted file"));
    }
    text
}

fn severity_name(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
