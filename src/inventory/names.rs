//! Which names groups and variables can have.

use crate::source::{Diagnostic, Diagnostics, Span};

/// Whether templates can use a name: a letter or underscore, then letters, digits, underscores,
/// ASCII only, and no constant or operator of Jinja.
pub fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !matches!(name, "False" | "None" | "True" | "false" | "none" | "not" | "true")
}

pub(crate) fn check_variable(name: &str, span: &Span, problems: &mut Diagnostics) {
    if !is_variable(name) {
        problems.push(
            Diagnostic::warning(
                "variable-name",
                format!("no template can use a variable named '{name}'"),
                span,
            )
            .help("use letters, digits and underscores, not beginning with a digit"),
        );
    }
}

/// Warns of a group name that can't be written as `groups.NAME`.
pub(super) fn check_group(name: &str, span: &Span, problems: &mut Diagnostics) {
    let bad: Vec<char> = name
        .chars()
        .enumerate()
        .filter(|(i, c)| !(c.is_alphanumeric() || *c == '_') || (*i == 0 && c.is_numeric()))
        .map(|(_, c)| c)
        .collect();
    if !bad.is_empty() {
        let bad: String = bad.into_iter().collect();
        problems.push(Diagnostic::warning(
            "group-name",
            format!("invalid character(s) \"{bad}\" in group name ({name}); they were not replaced"),
            span,
        ));
    }
}
