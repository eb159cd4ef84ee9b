//! For people: each finding with its excerpt, then a summary.

use super::{Style, summary};
use crate::lint::Report;
use crate::source::diagnostic::render;

pub fn write(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        out += &render(finding, style.colour, style.width);
        out.push('\n');
    }
    if !style.quiet {
        out += &summary(report);
    }
    out
}
