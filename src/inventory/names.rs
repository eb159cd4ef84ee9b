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

/// Names that playbook keywords and template functions have.
const RESERVED: [&str; 74] = [
    "action",
    "always",
    "any_errors_fatal",
    "args",
    "async",
    "async_val",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "block",
    "changed_when",
    "check_mode",
    "collections",
    "connection",
    "cycler",
    "debugger",
    "delay",
    "delegate_facts",
    "delegate_to",
    "dict",
    "diff",
    "environment",
    "fact_path",
    "failed_when",
    "force_handlers",
    "gather_facts",
    "gather_timeout",
    "handlers",
    "hosts",
    "ignore_errors",
    "ignore_unreachable",
    "joiner",
    "lipsum",
    "local_action",
    "lookup",
    "loop",
    "loop_control",
    "loop_with",
    "max_fail_percentage",
    "module_defaults",
    "name",
    "namespace",
    "no_log",
    "notify",
    "now",
    "omit",
    "order",
    "poll",
    "port",
    "post_tasks",
    "pre_tasks",
    "q",
    "query",
    "range",
    "register",
    "remote_user",
    "rescue",
    "retries",
    "roles",
    "run_once",
    "serial",
    "strategy",
    "tags",
    "tasks",
    "throttle",
    "timeout",
    "undef",
    "until",
    "vars_files",
    "vars_prompt",
    "when",
    "with_",
];

/// Whether Ansible warns of a variable of this name.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Warns of a name that no template can use, or that means something else.
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
    } else if is_reserved(name) {
        let message = format!("Found variable using reserved name '{name}'.");
        problems.push(Diagnostic::warning("reserved-name", message, span));
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
