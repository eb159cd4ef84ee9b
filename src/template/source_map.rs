//! From an offset inside a template to the place in the file where a person wrote it.

use std::path::PathBuf;
use std::sync::Arc;

use super::FileOptions;
use super::program::{Place, Program};
use crate::source::{SourceFile, Span};

/// A template that runs: what was compiled, and where it was written.
#[derive(Debug)]
pub struct Source {
    pub program: Arc<Program>,
    pub text: Arc<str>,
    /// The scalar that holds the text.
    pub origin: Option<Span>,
    /// How templates that it includes are read, and where they are looked for.
    pub options: FileOptions,
    pub search: Vec<PathBuf>,
    /// The text itself is Secret.
    pub secret: bool,
}

impl Source {
    pub fn span(&self, at: Place) -> Option<Span> {
        self.origin.as_ref().map(|origin| span_within(&self.text, origin, at))
    }
}

/// The place of `at` (offsets into `text`) in the file whose scalar `origin` holds the text; the
/// scalar itself where escapes make an exact answer impossible.
pub fn span_within(text: &str, origin: &Span, at: Place) -> Span {
    exact(text, origin, at).unwrap_or_else(|| origin.clone())
}

fn exact(text: &str, origin: &Span, at: Place) -> Option<Span> {
    let end = origin.end.max(origin.start);
    let written = origin.file.text.get(origin.start..end)?;
    let (from, to) = (at.start as usize, (at.end as usize).max(at.start as usize));
    let start = match written.find(text) {
        Some(verbatim) => origin.start + verbatim + from,
        None => {
            let inside = on_its_line(text, written, from).or_else(|| once(text.get(from..to)?, written));
            origin.start + inside?
        }
    };
    let length = to.min(text.len()).saturating_sub(from);
    at_offset(&origin.file, start, start + length)
}

/// In block and folded scalars, lines stand indented in the file: the line that holds the offset is
/// found by its words, when they occur once.
fn on_its_line(text: &str, written: &str, offset: usize) -> Option<usize> {
    let before = text.get(..offset)?;
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = text[line_start..].lines().next()?.trim();
    let lead = text[line_start..].len() - text[line_start..].trim_start().len();
    Some(once(line, written)? + (offset - line_start).saturating_sub(lead))
}

/// Where a part stands, if it stands there exactly once.
fn once(part: &str, written: &str) -> Option<usize> {
    let mut found = written.match_indices(part);
    let (position, _) = found.next().filter(|_| !part.is_empty())?;
    found.next().is_none().then_some(position)
}

fn at_offset(file: &Arc<SourceFile>, start: usize, end: usize) -> Option<Span> {
    let before = file.text.get(..start)?;
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Some(Span {
        file: file.clone(),
        start,
        end: end.min(file.text.len()),
        line: 1 + before.matches('\n').count() as u32,
        column: 1 + before[line_start..].chars().count() as u32,
    })
}
