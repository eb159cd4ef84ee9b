//! `--diff`, as Ansible prints it.

use similar::{DiffTag, TextDiff};

use crate::module::plan::Diff;

use super::Paint;

/// Unified lines with three lines of context and their colours.
pub fn unified(diff: &Diff) -> Vec<(Paint, String)> {
    let before = diff.before.as_str();
    let after = diff.after.as_str();
    let text = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in text.grouped_ops(3) {
        if lines.is_empty() {
            lines.push((Paint::Removed, format!("--- before{}", header(&diff.before_header))));
            lines.push((Paint::Added, format!("+++ after{}", header(&diff.after_header))));
        }
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let old = range(first.old_range().start, last.old_range().end);
        let new = range(first.new_range().start, last.new_range().end);
        lines.push((Paint::Hunk, format!("@@ -{old} +{new} @@")));
        for change in group.iter().flat_map(|op| text.iter_changes(op)) {
            let (mark, paint) = match change.tag() {
                similar::ChangeTag::Delete => ('-', Paint::Removed),
                similar::ChangeTag::Insert => ('+', Paint::Added),
                similar::ChangeTag::Equal => (' ', Paint::Plain),
            };
            lines.push((paint, format!("{mark}{}", change.value().trim_end_matches('\n'))));
            if change.missing_newline() {
                lines.push((paint, "\\ No newline at end of file".to_string()));
            }
        }
        debug_assert!(group.iter().any(|op| op.tag() != DiffTag::Equal));
    }
    lines
}

fn header(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(": {name}") }
}

fn range(start: usize, end: usize) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        n => format!("{},{n}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_ansible() {
        let diff = Diff {
            before_header: "/etc/x".into(),
            after_header: "/etc/x".into(),
            before: "a\nb\n".into(),
            after: "a\nc".into(),
        };
        let lines: Vec<String> = unified(&diff).into_iter().map(|(_, l)| l).collect();
        assert_eq!(
            lines,
            [
                "--- before: /etc/x",
                "+++ after: /etc/x",
                "@@ -1,2 +1,2 @@",
                " a",
                "-b",
                "+c",
                "\\ No newline at end of file"
            ]
        );
    }
}
