//! Annotations: `::error file=…,line=…,col=…,title=…::message`.

use super::{Style, severity_name, summary};
use crate::lint::Report;
use crate::source::Diagnostic;

pub fn write(report: &Report, style: Style) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(annotation).collect();
    if !style.quiet {
        lines.push(summary(report));
    }
    lines.join("\n")
}

fn annotation(diagnostic: &Diagnostic) -> String {
    let mut properties = Vec::new();
    if let Some(span) = &diagnostic.span {
        properties.push(format!("file={}", property(&span.file.name)));
        properties.push(format!("line={}", span.line));
        properties.push(format!("col={}", span.column));
    }
    properties.push(format!("title={}", property(diagnostic.code)));
    let mut message = diagnostic.message.clone();
    if let Some(help) = &diagnostic.help {
        message += &format!("\nhelp: {help}");
    }
    format!("::{} {}::{}", severity_name(diagnostic), properties.join(","), data(&message))
}

/// As the runner's toolkit escapes what follows the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As it escapes a property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;
    use crate::source::yaml::span_at;

    #[test]
    fn what_could_break_out_is_escaped() {
        let file = SourceFile::typed("a,b:c%.yml", "x: 1\ny: 2\n".into());
        let problem =
            Diagnostic::error("code", "100% wrong\r\n::error::x", &span_at(&file, 5, 6)).help("a:b,c");
        assert_eq!(
            annotation(&problem),
            "::error file=a%2Cb%3Ac%25.yml,line=2,col=1,title=code::100%25 wrong%0D%0A::error::x%0Ahelp: a:b,c"
        );
        assert_eq!(annotation(&Diagnostic::global("g", "m")), "::error title=g::m");
    }
}
