//! YAML text → [`Node`], as PyYAML reads it for Ansible.
//!
//! Events come from granit-parser, because it accepts what libyaml accepts (`a:<TAB>b`, flow and
//! quoted lines continued in column 0, a last block line without a line feed), gives exact byte
//! ranges, and bounds nesting itself; saphyr-parser rejects such files and bounds flow nesting
//! only. A Serde front (serde_yaml, serde-saphyr) gives no place for each key, reads scalars by
//! YAML 1.2 and leaves merge keys alone. What neither parser does is done here: YAML 1.1 scalars
//! ([`scalar`]), merge keys, duplicates, Ansible's tags, and the limits.

pub mod scalar;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span as Range, Tag};
use indexmap::IndexMap;

use super::{Diagnostic, Diagnostics, Entry, Kind, Node, SourceFile, Span};

/// Larger files are refused.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Values of one file, those that aliases repeat included.
pub const MAX_NODES: usize = 1_000_000;
/// Bytes of text that the aliases of one file may repeat.
pub const MAX_REPEATED_BYTES: usize = 64 << 20;
/// Lists and mappings within each other, aliases expanded.
pub const MAX_DEPTH: usize = 100;

/// Reads a file that should hold YAML.
///
/// # Errors
/// A [`Diagnostic`] when it can't be read, is too large, or isn't UTF-8.
pub fn read_file(path: &Path) -> Result<Arc<SourceFile>, Diagnostic> {
    let shown = path.display();
    let cannot = |e: std::io::Error| {
        let why = match e.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_string(),
            std::io::ErrorKind::PermissionDenied => "reading it is not permitted".to_string(),
            std::io::ErrorKind::IsADirectory => "it is a folder".to_string(),
            _ => e.to_string(),
        };
        Diagnostic::global("unreadable-file", format!("{shown} can't be read: {why}"))
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Diagnostic::global(
            "file-too-large",
            format!("{shown} is larger than {} MiB", MAX_FILE_BYTES >> 20),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile::new(path, text)),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            let lossy = String::from_utf8_lossy(e.as_bytes()).into_owned();
            // The text before the first bad byte is unchanged, so the place still fits.
            let span = span_at(&SourceFile::new(path, lossy), at, at + '\u{fffd}'.len_utf8());
            Err(Diagnostic::error("not-utf8", "the file is not UTF-8", &span)
                .help("save it as UTF-8, or read binary data with a lookup or `slurp`"))
        }
    }
}

/// The documents of a file. What is wrong goes to `diags`; after a syntax error the documents
/// before it are given.
pub fn load(file: &Arc<SourceFile>, diags: &mut Diagnostics) -> Vec<Node> {
    if let Some(problem) = refused_text(file) {
        diags.push(problem);
        return Vec::new();
    }
    Builder { file, diags, anchors: Vec::new(), open: Vec::new(), done: Vec::new(), nodes: 0, repeated: 0 }
        .run()
}

/// The one document of a file; null if there is none.
pub fn load_one(file: &Arc<SourceFile>, diags: &mut Diagnostics) -> Option<Node> {
    let before = diags.0.len();
    let mut documents = load(file, diags);
    if diags.0[before..].iter().any(|d| d.severity == super::Severity::Error) {
        return None;
    }
    if let Some(second) = documents.get(1) {
        diags.push(Diagnostic::error(
            "several-documents",
            "only one YAML document is expected here",
            &second.span,
        ));
        return None;
    }
    Some(documents.pop().unwrap_or(Node { span: Span::whole(file), kind: Kind::Null }))
}

/// A span by byte offsets; line and column are counted.
pub fn span_at(file: &Arc<SourceFile>, start: usize, end: usize) -> Span {
    let start = floor_char(&file.text, start);
    let end = floor_char(&file.text, end).max(start);
    let before = &file.text[..start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Span {
        file: file.clone(),
        start,
        end,
        line: count(before.bytes().filter(|b| *b == b'\n').count() + 1),
        column: count(before[line_start..].chars().count() + 1),
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What no YAML reader takes, found before parsing.
fn refused_text(file: &Arc<SourceFile>) -> Option<Diagnostic> {
    let text = &file.text;
    if text.len() > MAX_FILE_BYTES {
        let message = format!("{} is larger than {} MiB", file.name, MAX_FILE_BYTES >> 20);
        return Some(Diagnostic::error("file-too-large", message, &Span::whole(file)));
    }
    let (at, found) = text.char_indices().find(|(_, c)| {
        !matches!(c, '\t' | '\n' | '\r' | '\u{85}' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
    })?;
    let name = if found == '\0' {
        "a NUL".to_string()
    } else {
        format!("the control character U+{:04X}", found as u32)
    };
    Some(
        Diagnostic::error(
            "control-character",
            format!("{name} is not allowed in YAML"),
            &span_at(file, at, at + found.len_utf8()),
        )
        .help(format!("write it as \"\\x{:02x}\" in double quotes", found as u32)),
    )
}

/// An anchored value, with what one more copy of it costs.
#[derive(Clone)]
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// A list or mapping whose end wasn't met yet.
struct Open {
    anchor: usize,
    tag: Option<Tag>,
    span: Range,
    /// `true` for a mapping, whose values alternate: key, value, key, …
    mapping: bool,
    flow: bool,
    children: Vec<Node>,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    diags: &'a mut Diagnostics,
    /// By the parser's anchor id; `None` while the anchored collection is still open.
    anchors: Vec<Option<Anchored>>,
    open: Vec<Open>,
    done: Vec<Node>,
    nodes: usize,
    repeated: usize,
}

/// Stops reading the file; the reason is in `diags` already.
struct Stop;

impl Builder<'_> {
    fn run(mut self) -> Vec<Node> {
        let options = granit_parser::options! {
            emit_comments: false,
            block_scalar_eof_without_line_feed: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let file = self.file;
        for event in Parser::new_from_str_with_options(&file.text, options) {
            let step = match event {
                Ok((event, range)) => self.take(event, range),
                Err(e) => {
                    let diagnostic = self.syntax_error(&e);
                    self.stop(diagnostic)
                }
            };
            if step.is_err() {
                break;
            }
        }
        self.done
    }

    fn take(&mut self, event: Event, range: Range) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count_node(range)?;
                let span = self.span(range);
                // An absent value comes as "~" of no width.
                let text = if span.start == span.end { "" } else { &*text };
                let node = self.scalar(text, style, tag.as_deref(), span);
                let cost = Anchored { nodes: 1, bytes: text.len(), depth: 0, node };
                self.finish(anchor, cost)?;
            }
            Event::SequenceStart(style, anchor, tag) => self.start(false, style, anchor, tag, range)?,
            Event::MappingStart(style, anchor, tag) => self.start(true, style, anchor, tag, range)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Err(Stop) };
                let (anchor, done) = self.close(open, range);
                self.finish(anchor, done)?;
            }
            Event::Alias(id) => {
                let Some(copy) = self.anchors.get(id).cloned().flatten() else {
                    let message = "this alias stands inside the value that it repeats";
                    return self.stop(Diagnostic::error("recursive-alias", message, &self.span(range)));
                };
                self.repeat(&copy)?;
                if self.open.len() + copy.depth > MAX_DEPTH {
                    return self.too_deep(range);
                }
                self.finish(0, copy)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        mapping: bool,
        style: granit_parser::StructureStyle,
        anchor: usize,
        tag: Option<std::borrow::Cow<Tag>>,
        span: Range,
    ) -> Result<(), Stop> {
        self.count_node(span)?;
        if self.open.len() >= MAX_DEPTH {
            return self.too_deep(span);
        }
        if anchor != 0 {
            self.remember(anchor, None);
        }
        let flow = style == granit_parser::StructureStyle::Flow;
        let tag = tag.map(std::borrow::Cow::into_owned);
        let children = Vec::new();
        self.open.push(Open { anchor, tag, span, mapping, flow, children, nodes: 1, bytes: 0, depth: 1 });
        Ok(())
    }

    fn count_node(&mut self, range: Range) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file holds more than {MAX_NODES} values");
            return self.stop(Diagnostic::error("file-too-large", message, &self.span(range)));
        }
        Ok(())
    }

    fn too_deep(&mut self, range: Range) -> Result<(), Stop> {
        let message = format!("more than {MAX_DEPTH} lists and mappings within each other");
        self.stop(Diagnostic::error("nested-too-deep", message, &self.span(range)))
    }

    fn stop(&mut self, diagnostic: Diagnostic) -> Result<(), Stop> {
        self.diags.push(diagnostic);
        Err(Stop)
    }

    fn remember(&mut self, anchor: usize, value: Option<Anchored>) {
        if self.anchors.len() <= anchor {
            self.anchors.resize(anchor + 1, None);
        }
        self.anchors[anchor] = value;
    }

    /// Puts a complete value where it belongs. An anchored one is kept a second time, which
    /// counts as a repetition.
    fn finish(&mut self, anchor: usize, value: Anchored) -> Result<(), Stop> {
        if anchor != 0 {
            self.repeat(&value)?;
            self.remember(anchor, Some(value.clone()));
        }
        match self.open.last_mut() {
            Some(parent) => {
                parent.nodes += value.nodes;
                parent.bytes += value.bytes;
                parent.depth = parent.depth.max(value.depth + 1);
                parent.children.push(value.node);
            }
            None => self.done.push(value.node),
        }
        Ok(())
    }

    fn repeat(&mut self, value: &Anchored) -> Result<(), Stop> {
        self.nodes += value.nodes;
        self.repeated += value.bytes;
        if self.nodes > MAX_NODES || self.repeated > MAX_REPEATED_BYTES {
            let message = "anchors and aliases repeat more than any real file does";
            return self.stop(Diagnostic::error("alias-bomb", message, &value.node.span));
        }
        Ok(())
    }

    fn close(&mut self, open: Open, end: Range) -> (usize, Anchored) {
        let mut span = self.span(open.span);
        // A block's end event stands where the next thing begins: its last child ends it.
        span.end = match (open.flow, open.children.last()) {
            (true, _) => self.span(end).end,
            (false, Some(last)) if Arc::ptr_eq(&last.span.file, self.file) => last.span.end.max(span.end),
            (false, _) => span.end,
        };
        let tag = open.tag.as_ref().map(|t| (tag_name(t), self.tag_span(open.span)));
        let allowed: &[&str] = if open.mapping { &["!!map", "!!python/dict"] } else { &["!!seq"] };
        let is_unsafe = match &tag {
            None => false,
            Some((name, _)) if name == "!unsafe" => true,
            Some((name, _)) if name == "!" || allowed.contains(&name.as_str()) => false,
            Some((name, at)) => {
                self.bad_tag(name, at, if open.mapping { "a mapping" } else { "a list" });
                false
            }
        };
        let kind =
            if open.mapping { Kind::Map(self.entries(open.children)) } else { Kind::List(open.children) };
        let mut node = Node { span, kind };
        if is_unsafe {
            make_unsafe(&mut node);
        }
        (open.anchor, Anchored { node, nodes: open.nodes, bytes: open.bytes, depth: open.depth })
    }

    /// Pairs of a mapping: merges applied (what is written here wins over what is merged, an
    /// earlier merged mapping over a later one), duplicates reported and the last one kept.
    fn entries(&mut self, children: Vec<Node>) -> Vec<Entry> {
        let mut written = Vec::with_capacity(children.len() / 2);
        let mut merged: Vec<Entry> = Vec::new();
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            match &key.kind {
                Kind::Text { text, plain: true } if text == "<<" => self.merge(value, &mut merged),
                Kind::List(_) | Kind::Map(_) | Kind::Vault(_) => self.bad_key(&key),
                _ => written.push(Entry { key, value }),
            }
        }
        let mut map: IndexMap<Key, Entry> =
            merged.into_iter().map(|entry| (Key::of(&entry.key), entry)).collect();
        let mut first_line: IndexMap<Key, u32> = IndexMap::with_capacity(written.len());
        for entry in written {
            let key = Key::of(&entry.key);
            if let Some(line) = first_line.get(&key) {
                let name = entry.key.to_val_sealed().key_text();
                self.diags.push(
                    Diagnostic::warning("duplicate-key", format!("`{name}` is given twice"), &entry.key.span)
                        .help(format!("it is already at line {line}; only the last one counts")),
                );
            }
            first_line.entry(key.clone()).or_insert(entry.key.span.line);
            map.insert(key, entry);
        }
        map.into_values().collect()
    }

    fn merge(&mut self, value: Node, into: &mut Vec<Entry>) {
        match value.kind {
            Kind::Map(entries) => into.extend(entries),
            Kind::List(maps) if maps.iter().all(|m| m.as_map().is_some()) => {
                for map in maps.into_iter().rev() {
                    if let Kind::Map(entries) = map.kind {
                        into.extend(entries);
                    }
                }
            }
            _ => {
                let message =
                    format!("`<<` merges a mapping or a list of mappings, not {}", value.type_name());
                self.diags.push(
                    Diagnostic::error("bad-merge", message, &value.span)
                        .help("quote \"<<\" if it is meant as a key"),
                );
            }
        }
    }

    fn bad_key(&mut self, key: &Node) {
        let source = &key.span.file.text[key.span.start..];
        let diagnostic =
            Diagnostic::error("bad-key", format!("{} can't be a key", key.type_name()), &key.span);
        self.diags.push(if source.starts_with('{') {
            diagnostic.help("a value that begins with `{{` must be quoted: \"{{ … }}\"")
        } else {
            diagnostic
        });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let is_plain = style == ScalarStyle::Plain;
        let name = tag.map(tag_name);
        let quoted = || Kind::Text { text: text.to_string(), plain: false };
        let read = match name.as_deref() {
            None if is_plain => scalar::resolve(text),
            None | Some("!" | "!!str" | "!!python/unicode") => Ok(quoted()),
            // Ansible reads what is under `!unsafe` as if it weren't quoted.
            Some("!unsafe") => scalar::resolve(text).map(|kind| match kind {
                Kind::Text { text, .. } => Kind::Unsafe(text),
                other => other,
            }),
            Some("!vault" | "!vault-encrypted") => Ok(Kind::Vault(text.to_string())),
            Some("!!null") => Ok(Kind::Null),
            Some("!!bool") => {
                scalar::boolean(text).map(Kind::Bool).ok_or_else(|| format!("`{text}` is not a boolean"))
            }
            Some("!!int") if scalar::is_int(text) => scalar::int(text),
            Some("!!int") => Err(format!("`{text}` is not an integer")),
            Some("!!float") if scalar::is_float(text) => scalar::float(text).map(Kind::Float),
            Some("!!float") => text.parse().map(Kind::Float).map_err(|_| format!("`{text}` is not a number")),
            Some("!!timestamp") => match scalar::timestamp(text) {
                Some(stamp) => stamp.map(|text| Kind::Text { text, plain: false }),
                None => Err(format!("`{text}` is not a date")),
            },
            Some("!!binary") => binary(text),
            Some(other) => {
                let at = span.clone();
                self.bad_tag(other, &at, "a scalar");
                Ok(quoted())
            }
        };
        let kind = read.unwrap_or_else(|why| {
            self.diags.push(Diagnostic::error("bad-scalar", why, &span));
            quoted()
        });
        Node { span, kind }
    }

    fn bad_tag(&mut self, name: &str, at: &Span, on: &str) {
        const KNOWN: [&str; 13] = [
            "!vault",
            "!unsafe",
            "!vault-encrypted",
            "!!str",
            "!!int",
            "!!float",
            "!!bool",
            "!!null",
            "!!binary",
            "!!timestamp",
            "!!seq",
            "!!map",
            "!!python/unicode",
        ];
        let diagnostic = Diagnostic::error("unknown-tag", format!("the tag `{name}` can't be on {on}"), at);
        let meant = super::diagnostic::nearest(name, KNOWN).filter(|k| *k != name);
        self.diags.push(match meant {
            Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
            None => diagnostic.help("quote the value if the `!` is part of it"),
        });
    }

    fn span(&self, range: Range) -> Span {
        let bytes = range.byte_range().unwrap_or(0..0);
        let text = &self.file.text;
        let start = floor_char(text, bytes.start);
        let end = floor_char(text, bytes.end).max(start);
        // A block scalar's range runs on to the next key.
        let end = start + text[start..end].trim_end().len();
        Span {
            file: self.file.clone(),
            start,
            end,
            line: count(range.start.line()),
            column: count(range.start.col() + 1),
        }
    }

    fn tag_span(&self, range: Range) -> Span {
        self.span(range.tag_span().unwrap_or(range))
    }

    fn syntax_error(&self, e: &granit_parser::ScanError) -> Diagnostic {
        use granit_parser::ErrorKind as E;
        let text = &self.file.text;
        let start = floor_char(text, e.marker().byte_offset().unwrap_or(0));
        let end = start + text[start..].chars().next().map_or(0, char::len_utf8);
        let span = Span {
            file: self.file.clone(),
            start,
            end,
            line: count(e.marker().line()),
            column: count(e.marker().col() + 1),
        };
        if matches!(e.kind(), E::RecursionLimitExceeded) {
            let message = format!("more than {MAX_DEPTH} lists and mappings within each other");
            return Diagnostic::error("nested-too-deep", message, &span);
        }
        let (message, help) = match e.kind() {
            E::MappingValueNotAllowed | E::InvalidColonPlacement => (
                "a `:` can't stand here".to_string(),
                Some("quote the value if the `: ` belongs to it, or check the indentation of this line"),
            ),
            E::TabInBlockIndentation | E::TabNotAllowed | E::TabInIndentation => {
                ("a tab can't indent a line".to_string(), Some("indent with spaces"))
            }
            E::UnknownAnchor => ("there is no anchor of this name before this alias".to_string(), None),
            E::UnclosedQuotedScalar => ("this quote is never closed".to_string(), None),
            E::UnexpectedCharacter { character } => {
                (format!("a value can't begin with `{character}`"), Some("quote the value"))
            }
            E::UnknownQuotedScalarEscape => (
                "there is an escape in these double quotes that YAML doesn't have".to_string(),
                Some("double the backslash, or use single quotes"),
            ),
            E::BomInsideDocument => {
                ("there is a byte order mark inside the document".to_string(), Some("remove it"))
            }
            E::ExpectedBlockSequenceEntry => (
                "a list goes on here without `-`".to_string(),
                Some("check the indentation of this line against the list above it"),
            ),
            E::ExpectedBlockMappingKey => (
                "a key was expected here".to_string(),
                Some("check the indentation of this line against the mapping above it"),
            ),
            _ => (e.info(), None),
        };
        let diagnostic = Diagnostic::error("yaml-syntax", message, &span);
        match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

/// `!vault`, `!!str`, `!<tag:other,2000:x>`: as people write it.
fn tag_name(tag: &Tag) -> String {
    match tag.core_suffix() {
        Some(core) => format!("!!{core}"),
        None => tag.original(),
    }
}

fn binary(text: &str) -> Result<Kind, String> {
    use base64::Engine as _;
    let packed: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .map_err(|_| "this is not base64".to_string())?;
    String::from_utf8(bytes)
        .map(Kind::Unsafe)
        .map_err(|_| "binary data that isn't text is not supported here".to_string())
}

/// Every text in it is no template.
fn make_unsafe(node: &mut Node) {
    match &mut node.kind {
        Kind::Text { text, .. } => node.kind = Kind::Unsafe(std::mem::take(text)),
        Kind::List(items) => items.iter_mut().for_each(make_unsafe),
        Kind::Map(entries) => entries.iter_mut().for_each(|e| {
            make_unsafe(&mut e.key);
            make_unsafe(&mut e.value);
        }),
        _ => {}
    }
}

/// A key by which Python's `dict` would find the entry: `1`, `1.0` and `true` are one key.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Null,
    Number(u64),
    Text(String),
}

impl Key {
    fn of(node: &Node) -> Key {
        match &node.kind {
            Kind::Bool(b) => Key::Number(f64::from(u8::from(*b)).to_bits()),
            Kind::Int(i) => Key::Number((*i as f64).to_bits()),
            Kind::Float(f) => Key::Number(f.to_bits()),
            Kind::Text { text, .. } | Kind::Unsafe(text) | Kind::Vault(text) => Key::Text(text.clone()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => Key::Null,
        }
    }
}

#[cfg(test)]
mod tests;
