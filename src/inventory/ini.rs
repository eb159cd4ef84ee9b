//! ini inventories: `[group]`, `[group:children]`, `[group:vars]`, host lines with `key=value`.

use std::sync::{Arc, LazyLock};

use fancy_regex::Regex;
use indexmap::IndexMap;

use super::{Entity, GroupName, Inventory, Source, address, literal::literal, names, words};
use crate::source::{Diagnostic, Diagnostics, SourceFile, Span, Text, Val};

static SECTION: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$"));
static GROUP_NAME: LazyLock<Regex> = LazyLock::new(|| regex(r"^([^:\]\s]+)\s*(?:#.*)?$"));

#[expect(clippy::expect_used, reason = "the patterns are constants")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Hosts,
    Children,
    Vars,
    /// Of a header that was wrong: said once, its lines are passed over.
    Unknown,
}

/// A group that was used before it is declared.
struct Pending {
    first: Span,
    /// Who listed it in `:children`; empty if it only has `:vars` so far.
    parents: Vec<GroupName>,
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    problems: &'a mut Diagnostics,
    source: Source<'a>,
    group: GroupName,
    section: Section,
    pending: IndexMap<GroupName, Pending>,
}

/// Reads an ini inventory into `inventory`, past every error.
pub(super) fn read(
    file: &Arc<SourceFile>,
    source: Source,
    inventory: &mut Inventory,
    problems: &mut Diagnostics,
) {
    let mut reader = Reader {
        inventory,
        problems,
        source,
        group: "ungrouped".into(),
        section: Section::Hosts,
        pending: IndexMap::new(),
    };
    let mut offset = 0;
    for (n, line) in file.text.split_inclusive('\n').enumerate() {
        let text = line.trim();
        if !text.is_empty() && !text.starts_with(['#', ';']) {
            let indent = line.len() - line.trim_start().len();
            reader.line(Line { file, number: n as u32 + 1, line, offset, indent, text });
        }
        offset += line.len();
    }
    reader.finish();
}

/// A line that says something.
struct Line<'a> {
    file: &'a Arc<SourceFile>,
    number: u32,
    line: &'a str,
    /// Of the line in the file, in bytes.
    offset: usize,
    indent: usize,
    text: &'a str,
}

impl Line<'_> {
    /// The place of `text[start..end]`.
    fn span(&self, start: usize, end: usize) -> Span {
        let (start, end) = (self.indent + start, self.indent + end);
        Span {
            file: self.file.clone(),
            start: self.offset + start,
            end: self.offset + end,
            line: self.number,
            column: self.line[..start].chars().count() as u32 + 1,
        }
    }

    fn whole(&self) -> Span {
        self.span(0, self.text.len())
    }
}

impl Reader<'_> {
    fn error(&mut self, message: impl Into<String>, span: &Span) -> &mut Diagnostic {
        self.problems.0.push(Diagnostic::error("inventory", message, span));
        let last = self.problems.0.len() - 1;
        &mut self.problems.0[last]
    }

    fn line(&mut self, line: Line) {
        if let Ok(Some(header)) = SECTION.captures(line.text) {
            let name = header.get(1).map_or("", |m| m.as_str());
            self.header(&line, name, header.get(2).map(|m| m.as_str()));
        } else if line.text.starts_with('[') && line.text.ends_with(']') {
            self.section = Section::Unknown;
            let message = format!(
                "Invalid section entry: '{}'. Please make sure that there are no spaces in the section entry, \
                 and that there are no other invalid characters",
                line.text
            );
            self.error(message, &line.whole());
        } else {
            match self.section {
                Section::Hosts => self.hosts(&line),
                Section::Children => self.child(&line),
                Section::Vars => self.variable(&line),
                Section::Unknown => {}
            }
        }
    }

    fn header(&mut self, line: &Line, name: &str, kind: Option<&str>) {
        self.group = name.into();
        self.section = match kind {
            None | Some("hosts") => Section::Hosts,
            Some("children") => Section::Children,
            Some("vars") => Section::Vars,
            Some(kind) => {
                self.section = Section::Unknown;
                self.error(format!("Section [{name}:{kind}] has unknown type: {kind}"), &line.whole()).help =
                    Some(format!("write [{name}], [{name}:children] or [{name}:vars]"));
                return;
            }
        };
        let span = line.span(1, 1 + name.len());
        names::check_group(name, &span, self.problems);
        if self.inventory.group(name).is_none() {
            if self.section == Section::Vars && !self.pending.contains_key(name) {
                self.pending.insert(self.group.clone(), Pending { first: line.whole(), parents: vec![] });
            }
            self.inventory.add_group(name);
        }
        if self.section != Section::Vars
            && let Some(pending) = self.pending.shift_remove(name)
        {
            for parent in pending.parents {
                self.add_child(&parent, name, &pending.first);
            }
        }
    }

    fn hosts(&mut self, line: &Line) {
        let words = match words::split(line.text) {
            Ok(words) => words,
            Err(why) => {
                let message = format!("Error parsing host definition '{}': {why}", line.text);
                self.error(message, &line.whole());
                return;
            }
        };
        let Some((pattern, assignments)) = words.split_first() else { return };
        let mut vars = vec![];
        for word in assignments {
            let span = line.span(word.start, word.end);
            match word.text.split_once('=') {
                Some((name, value)) => {
                    names::check_variable(name, &span, self.problems);
                    vars.push((Val::from(name), self.value(value, &span)));
                }
                None => {
                    let message = format!("Expected key=value host variable assignment, got: {}", word.text);
                    self.error(message, &span).help =
                        Some("a host line is: NAME key=value key=value; quote values with spaces".into());
                }
            }
        }
        match address::expand(&pattern.text) {
            Ok((hosts, port)) => {
                for host in hosts {
                    let host = self.inventory.add_listed_host(&host, port, Some(self.source.path));
                    self.inventory.join(&self.group, &host);
                    let owner = Entity::Host(host);
                    for (name, value) in &vars {
                        self.inventory.set_var(&owner, name.clone(), value.clone());
                    }
                }
            }
            Err(why) => {
                self.error(why, &line.span(pattern.start, pattern.end));
            }
        }
    }

    fn child(&mut self, line: &Line) {
        let name = match GROUP_NAME.captures(line.text) {
            Ok(Some(found)) => found.get(1).map_or("", |m| m.as_str()),
            _ => {
                self.error(format!("Expected group name, got: {}", line.text), &line.whole());
                return;
            }
        };
        let span = line.span(0, name.len());
        let parent = self.group.clone();
        // A group that only has [name:vars] so far is not declared yet.
        if self.inventory.group(name).is_some() && !self.pending.contains_key(name) {
            self.add_child(&parent, name, &span);
        } else {
            let pending =
                self.pending.entry(name.into()).or_insert_with(|| Pending { first: span, parents: vec![] });
            pending.parents.push(parent);
        }
    }

    fn variable(&mut self, line: &Line) {
        let Some((name, value)) = line.text.split_once('=') else {
            self.error(format!("Expected key=value, got: {}", line.text), &line.whole());
            return;
        };
        let start = name.len() + 1 + (value.len() - value.trim_start().len());
        let name = name.trim();
        names::check_variable(name, &line.span(0, name.len()), self.problems);
        let value = self.value(value.trim(), &line.span(start, line.text.len()));
        self.inventory.set_var(&Entity::Group(self.group.clone()), Val::from(name), value);
    }

    fn add_child(&mut self, parent: &str, child: &str, span: &Span) {
        if let Err(why) = self.inventory.add_child(parent, child) {
            self.error(why, span);
        }
    }

    fn finish(mut self) {
        for (name, pending) in std::mem::take(&mut self.pending) {
            let message = match pending.parents.last() {
                None => format!("Section [{name}:vars] not valid for undefined group: {name}"),
                Some(parent) => format!("Section [{parent}:children] includes undefined group: {name}"),
            };
            self.error(message, &pending.first).help =
                Some(format!("declare it with a section [{name}], which may be empty"));
        }
    }

    /// A Python literal, or the text as it is.
    fn value(&self, text: &str, span: &Span) -> Val {
        let value = literal(text, span).unwrap_or_else(|| Val::Text(Text::template(text, span)));
        self.source.value(value)
    }
}
