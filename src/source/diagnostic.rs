//! One message about the source: severity, code, span, help; and how people see it.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// One message about the source. `code` is stable and documented (`unknown-keyword`,
/// `undefined-variable`), `help` says what to type instead.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub span: Option<Span>,
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>, span: &Span) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: Some(span.clone()),
            help: None,
        }
    }

    pub fn warning(code: &'static str, message: impl Into<String>, span: &Span) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message, span) }
    }

    /// About something that has no place in a file (a flag, a missing file).
    pub fn global(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, code, message: message.into(), span: None, help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

/// Everything found so far; loading goes on after an error so that all are shown at once.
#[derive(Debug, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    pub fn push(&mut self, d: Diagnostic) {
        self.0.push(d);
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// What they say, without places.
    pub fn messages(&self) -> String {
        self.0.iter().map(|d| d.message.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// The nearest of `known` to a mistyped `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(d, k)| *d <= 1 + k.len().min(word.len()) / 4)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// The diagnostic as people see it, with an excerpt and a caret, ending in a line feed. `width` is
/// the terminal's, in columns; a longer line of source is cut around the caret.
///
/// ```text
/// error[unknown-keyword]: `wehn` is no keyword of a task
///   --> site.yml:7:3
///    |
///  7 |   wehn: x
///    |   ^^^^
///    = help: did you mean `when`?
/// ```
pub fn render(diagnostic: &Diagnostic, colour: bool, width: usize) -> String {
    let paint = Paint(colour);
    let (word, tint) = match diagnostic.severity {
        Severity::Error => ("error", Tint::Red),
        Severity::Warning => ("warning", Tint::Yellow),
    };
    let mut out = String::new();
    let head = paint.tinted(tint, &format!("{word}[{}]", diagnostic.code));
    let _ = writeln!(out, "{head}{}", paint.bold(&format!(": {}", visible(&diagnostic.message))));
    let mut gutter = 1;
    if let Some(span) = &diagnostic.span {
        let number = span.line.to_string();
        gutter = number.len();
        let pad = " ".repeat(gutter);
        let _ = writeln!(out, "{pad} {} {span}", paint.tinted(Tint::Blue, " -->").trim_start());
        if let Some(excerpt) = Excerpt::of(span, width.saturating_sub(gutter + 4)) {
            let bar = paint.tinted(Tint::Blue, "|");
            let _ = writeln!(out, " {pad} {bar}");
            let _ = writeln!(out, " {} {bar} {}", paint.tinted(Tint::Blue, &number), excerpt.line);
            let carets = "^".repeat(excerpt.carets);
            let _ =
                writeln!(out, " {pad} {bar} {}{}", " ".repeat(excerpt.indent), paint.tinted(tint, &carets));
        }
    }
    if let Some(help) = &diagnostic.help {
        let pad = " ".repeat(gutter);
        let _ = writeln!(
            out,
            " {pad} {} {}",
            paint.tinted(Tint::Blue, "="),
            paint.bold("help: ").to_string() + &visible(help)
        );
    }
    out
}

/// All diagnostics, sorted by place, each once, with an empty line between them and a count at the
/// end.
pub fn render_all(diagnostics: &Diagnostics, colour: bool, width: usize) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.0.iter().collect();
    let place = |d: &Diagnostic| d.span.as_ref().map(|s| (s.file.name.clone(), s.start));
    sorted.sort_by_cached_key(|d| (place(d), std::cmp::Reverse(d.severity)));
    sorted.dedup_by(|a, b| place(a) == place(b) && a.code == b.code && a.message == b.message);
    let mut out = String::new();
    for diagnostic in &sorted {
        out += &render(diagnostic, colour, width);
        out.push('\n');
    }
    let number = |severity, one: &str| match sorted.iter().filter(|d| d.severity == severity).count() {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {one}s")),
    };
    let counts: Vec<String> = [number(Severity::Error, "error"), number(Severity::Warning, "warning")]
        .into_iter()
        .flatten()
        .collect();
    if !counts.is_empty() {
        let _ = writeln!(out, "{}", counts.join(", "));
    }
    out
}

/// The line of a span, fit for a terminal.
struct Excerpt {
    line: String,
    /// Columns before the carets.
    indent: usize,
    carets: usize,
}

impl Excerpt {
    /// `None` where there is no text to show: an empty file, or one whose text is secret.
    fn of(span: &Span, width: usize) -> Option<Excerpt> {
        let text = &span.file.text;
        if span.file.secret || text.is_empty() {
            return None;
        }
        let start = span.start.min(text.len());
        let line_start = text.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = span.end.clamp(start, line_end);
        let before = visible(text.get(line_start..start)?);
        let marked = visible(text.get(start..end)?);
        let line = before.clone() + &marked + visible(&text[end..line_end]).trim_end();
        let indent = before.width();
        let carets = marked.width().max(1);
        if line.width() <= width.max(20) {
            return Some(Excerpt { line, indent, carets });
        }
        Some(Excerpt::cut(&line, indent, carets, width.max(20)))
    }

    /// The part of a long line that shows the carets' beginning.
    fn cut(line: &str, indent: usize, carets: usize, width: usize) -> Excerpt {
        let skip =
            if indent + carets.min(width / 2) + 3 > width { indent - (width / 4).min(indent) } else { 0 };
        let mark = if skip > 0 { "..." } else { "" };
        let mut shown = mark.to_string();
        let (mut column, mut skipped) = (0, 0);
        for c in line.chars() {
            let wide = c.width().unwrap_or(0);
            if column < skip {
                skipped += wide;
            } else if shown.width() + wide + 3 > width {
                shown += "...";
                break;
            } else {
                shown.push(c);
            }
            column += wide;
        }
        let indent = indent - skipped.min(indent) + mark.len();
        let carets = carets.min(shown.width().saturating_sub(indent)).max(1);
        Excerpt { line: shown, indent, carets }
    }
}

/// Tabs as four columns, other control characters as one that shows: source must not steer the
/// terminal.
fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '\t' => vec![' '; 4],
            '\n' => vec!['\n'],
            '\r' => vec![],
            c if c.is_control() => vec!['\u{fffd}'],
            c => vec![c],
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Tint {
    Red,
    Yellow,
    Blue,
}

struct Paint(bool);

impl Paint {
    fn tinted(&self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Red => 31,
            Tint::Yellow => 33,
            Tint::Blue => 34,
        };
        if self.0 { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn bold(&self, text: &str) -> String {
        if self.0 { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;
    use crate::source::yaml::span_at;

    fn span(text: &str, marked: &str) -> Span {
        let at = text.find(marked).unwrap();
        span_at(&SourceFile::typed("site.yml", text.into()), at, at + marked.len())
    }

    #[test]
    fn shows_the_line_and_marks_the_place() {
        let text = "- hosts: all\n  tasks:\n\t- wehn: é 字\n";
        let d = Diagnostic::error("unknown-keyword", "`wehn` is no keyword of a task", &span(text, "wehn"))
            .help("did you mean `when`?");
        assert_eq!(
            render(&d, false, 80),
            "error[unknown-keyword]: `wehn` is no keyword of a task\n  --> site.yml:3:4\n   |\n \
             3 |     - wehn: é 字\n   |       ^^^^\n   = help: did you mean `when`?\n"
        );
        let d = Diagnostic::warning("x", "wide", &span(text, "字"));
        assert!(render(&d, false, 80).ends_with("\n   |               ^^\n"), "{}", render(&d, false, 80));
    }

    #[test]
    fn colour_only_when_asked_and_never_from_the_source() {
        let d = Diagnostic::error("x", "a\x1b[2J", &span("k: \x1b[2Jv\n", "v")).help("\x07");
        assert!(!render(&d, false, 80).contains(['\x1b', '\x07']));
        assert!(render(&d, true, 80).starts_with("\x1b[1;31merror[x]\x1b[0m"));
        assert!(!render(&d, true, 80).contains("\x1b[2J"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{} here {}\n", "a".repeat(200), "b".repeat(200));
        let shown = render(&Diagnostic::error("x", "m", &span(&text, "here")), false, 60);
        assert!(shown.lines().all(|l| l.width() <= 60), "{shown}");
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[3].find("here"), lines[4].find("^^^^"), "{shown}");
    }

    #[test]
    fn many_are_sorted_and_shown_once() {
        let text = "a: 1\nb: 2\n";
        let all = Diagnostics(vec![
            Diagnostic::warning("w", "second", &span(text, "b")),
            Diagnostic::error("e", "first", &span(text, "a")),
            Diagnostic::error("e", "first", &span(text, "a")),
            Diagnostic::global("g", "nowhere"),
        ]);
        let shown = render_all(&all, false, 80);
        let order: Vec<_> = ["nowhere", "first", "second"].iter().map(|w| shown.find(w).unwrap()).collect();
        assert!(order.is_sorted(), "{shown}");
        assert_eq!(shown.matches("first").count(), 1);
        assert!(shown.ends_with("\n2 errors, 1 warning\n"), "{shown}");
    }

    #[test]
    fn what_was_sealed_is_not_shown() {
        let file = SourceFile::sealed(std::path::Path::new("vault.yml"), "password: hunter2\n".into());
        let shown = render(&Diagnostic::error("x", "m", &span_at(&file, 0, 8)), false, 80);
        assert!(shown.contains("vault.yml:1:1") && !shown.contains("hunter2"), "{shown}");
    }
}
