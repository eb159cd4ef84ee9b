//! What is told about rules. `docs/lint.md` holds the same text as `--explain`.

use crate::lint::{Rule, rules};
use crate::source::Severity;

/// All rules, a line each.
pub fn list() -> String {
    let width = rules::RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let line = |rule: &&Rule| format!("{:width$}  {:7}  {}", rule.name, severity(rule), rule.summary);
    rules::RULES.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One rule, in Markdown.
pub fn explain(rule: &Rule) -> String {
    format!(
        "### `{}`\n\nSeverity: {}. Finds that {}.\n\n{}\n\nFound:\n\n```yaml\n{}```\n\nFine:\n\n```yaml\n{}```\n",
        rule.name,
        severity(rule),
        rule.summary,
        rule.why,
        rule.bad,
        rule.good
    )
}

fn severity(rule: &Rule) -> &'static str {
    match rule.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
