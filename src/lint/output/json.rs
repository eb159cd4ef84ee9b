//! For programs: one object. Fields are only ever added.

use serde_json::{Value, json};

use super::severity_name;
use crate::lint::{Report, rules};
use crate::source::{Diagnostic, Severity};

pub fn write(report: &Report) -> String {
    let report = json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "summary": {
            "files": report.files,
            "sealed": report.sealed,
            "errors": report.count(Severity::Error),
            "warnings": report.count(Severity::Warning),
            "allowed": report.allowed,
        },
    });
    format!("{report:#}")
}

fn finding(diagnostic: &Diagnostic) -> Value {
    let span = diagnostic.span.as_ref();
    json!({
        "code": diagnostic.code,
        "kind": if rules::find(diagnostic.code).is_some() { "policy" } else { "source" },
        "severity": severity_name(diagnostic),
        "message": diagnostic.message,
        "help": diagnostic.help,
        "file": span.map(|span| &span.file.name),
        "line": span.map(|span| span.line),
        "column": span.map(|span| span.column),
    })
}
