//! Reads a `.env` file as Docker Compose v2 does (compose-go's `dotenv`), quirks included, keeping
//! the place of everything.

use std::collections::HashMap;
use std::ops::Range;

use super::interpolate::{self, Problem};

/// One statement of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Line on which the key stands, counted from 1.
    pub line: usize,
    /// From the beginning of the statement (`export` included) to the end of its value.
    pub span: Range<usize>,
    /// The value as written, quotes included; empty where nothing is.
    pub value_span: Range<usize>,
    pub style: Style,
    pub export: bool,
    /// What Compose reads.
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Unquoted,
    Single,
    Double,
    /// `KEY` alone on its line: the value comes from the environment of the shell.
    Inherited,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The same wherever the file is read, but for variables of the shell that override those of
    /// the file.
    Known(String),
    /// It depends on variables that the file doesn't set before; read without them.
    NeedsEnvironment { variables: Vec<String>, without: String },
    /// `${NAME:?message}` of a variable that the file doesn't set before.
    Required(String),
}

impl Value {
    pub fn known(&self) -> Option<&str> {
        match self {
            Value::Known(text) => Some(text),
            _ => None,
        }
    }

    /// What it is where the shell sets nothing.
    fn without_environment(&self) -> &str {
        match self {
            Value::Known(text) | Value::NeedsEnvironment { without: text, .. } => text,
            Value::Required(_) => "",
        }
    }
}

/// Why Compose could not read the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    pub line: usize,
    /// Shows keys, never values.
    pub message: String,
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}
impl std::error::Error for ReadError {}

/// Every statement, in order; of several with one key the last counts.
///
/// # Errors
/// What Compose would refuse to read.
pub fn read(text: &str) -> Result<Vec<Entry>, ReadError> {
    let mut reader = Reader { text, at: if text.starts_with('\u{feff}') { 3 } else { 0 } };
    let mut values: HashMap<String, Value> = HashMap::new();
    let mut entries = Vec::new();
    while reader.skip_to_statement() {
        let entry = reader.statement(&values)?;
        values.insert(entry.key.clone(), entry.value.clone());
        entries.push(entry);
    }
    Ok(entries)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn error<T>(&self, at: usize, message: String) -> Result<T, ReadError> {
        Err(ReadError { line: line_of(self.text, at), message })
    }

    /// Over white space and comments; false at the end of the file.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return !trimmed.is_empty();
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn statement(&mut self, before: &HashMap<String, Value>) -> Result<Entry, ReadError> {
        let start = self.at;
        let line = line_of(self.text, start);
        let export = self.rest().strip_prefix("export").is_some_and(|r| r.starts_with(REGEX_SPACE));
        if export {
            self.at += "export".len();
            self.skip_space();
        }
        let (key, found) = self.key()?;
        if found == KeyEnd::Newline {
            // The value of the shell, which we can't know.
            let value = Value::NeedsEnvironment { variables: vec![key.clone()], without: String::new() };
            let end = start + self.text[start..self.at].trim_end().len();
            let value_span = end..end;
            return Ok(Entry {
                key,
                line,
                span: start..end,
                value_span,
                style: Style::Inherited,
                export,
                value,
            });
        }
        let value_start = self.at;
        let (style, raw) = self.value()?;
        let value_end = self.at;
        if style == Style::Unquoted {
            // To the end of its line, past what is cut off as a comment.
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
        let value = match style {
            Style::Single | Style::Inherited => Value::Known(raw),
            Style::Unquoted => self.interpolated(&raw, before, value_start)?,
            Style::Double => self.interpolated(&expand_escapes(&raw), before, value_start)?,
        };
        Ok(Entry {
            key,
            line,
            span: start..value_end,
            value_span: value_start..value_end,
            style,
            export,
            value,
        })
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_inline_space).len();
    }

    /// The key, leaving the reader at its value.
    fn key(&mut self) -> Result<(String, KeyEnd), ReadError> {
        let start = self.at;
        let mut end = None;
        for (i, c) in self.rest().char_indices() {
            match c {
                '=' | ':' => end = Some((i, KeyEnd::Value)),
                '\n' => end = Some((i, KeyEnd::Newline)),
                c if is_inline_space(c) || matches!(c, '_' | '.' | '-' | '[' | ']') => continue,
                c if c.is_alphabetic() || c.is_numeric() => continue,
                c => return self.error(start + i, format!("unexpected character {c:?} in a variable name")),
            }
            break;
        }
        let Some((length, end)) = end else {
            // The last line without `=` or line break: Compose takes it as the value of no name.
            return Ok((String::new(), KeyEnd::Value));
        };
        let key = self.rest()[..length].trim_end().to_string();
        if key.contains(' ') {
            return self.error(start, format!("the key {key:?} contains a space"));
        }
        self.at += length + 1;
        self.skip_space();
        Ok((key, end))
    }

    /// The value without quotes, as far as the quotes themselves go.
    fn value(&mut self) -> Result<(Style, String), ReadError> {
        let (quote, style) = match self.rest().as_bytes().first() {
            Some(b'\'') => ('\'', Style::Single),
            Some(b'"') => ('"', Style::Double),
            _ => {
                let line = self.rest().split('\n').next().unwrap_or("");
                let value = line.split(" #").next().unwrap_or("").trim_end().to_string();
                self.at += value.len();
                return Ok((Style::Unquoted, value));
            }
        };
        let mut raw = String::new();
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match (c, escaped) {
                (c, false) if c == quote => {
                    self.at += i + 1;
                    return Ok((style, raw));
                }
                ('\\', false) => escaped = true,
                (c, true) => {
                    if c != quote {
                        raw.push('\\');
                    }
                    raw.push(c);
                    escaped = false;
                }
                (c, false) => raw.push(c),
            }
        }
        self.error(self.at, format!("the quoted value has no closing {quote}"))
    }

    fn interpolated(
        &self,
        text: &str,
        before: &HashMap<String, Value>,
        at: usize,
    ) -> Result<Value, ReadError> {
        let mut missing: Vec<String> = Vec::new();
        let value = interpolate::interpolate(text, &mut |name| match before.get(name) {
            Some(Value::Known(text)) => Some(text.clone()),
            other => {
                if !missing.iter().any(|m| m == name) {
                    missing.push(name.to_string());
                }
                other.map(|v| v.without_environment().to_string())
            }
        });
        match value {
            Ok(text) if missing.is_empty() => Ok(Value::Known(text)),
            Ok(without) => Ok(Value::NeedsEnvironment { variables: missing, without }),
            Err(Problem::Required(name)) => Ok(Value::Required(name)),
            Err(Problem::Invalid) => self.error(at, "the value has an invalid ${…} reference".to_string()),
        }
    }
}

#[derive(PartialEq)]
enum KeyEnd {
    Value,
    Newline,
}

/// What `\s` is in Go's regular expressions.
const REGEX_SPACE: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

/// White space that doesn't end a line, as compose-go counts it.
fn is_inline_space(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// The escapes of double quotes. `\$` becomes `$$`, which interpolation reads as a plain `$`.
fn expand_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(i) = rest.find('\\') {
        out.push_str(&rest[..i]);
        let after = &rest[i + 1..];
        let Some(c) = after.chars().next() else {
            rest = "\\";
            break;
        };
        rest = &after[c.len_utf8()..];
        match c {
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '$' => out.push_str("$$"),
            '"' | '\\' => out.push(c),
            '0' => {
                let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
                let (octal, after) = rest.split_at(digits);
                match u32::from_str_radix(octal, 8) {
                    Ok(code) if digits == 3 && code < 256 => out.extend(char::from_u32(code)),
                    // The `0` is gone all the same.
                    _ => {
                        out.push('\\');
                        out.push_str(octal);
                    }
                }
                rest = after;
            }
            c => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, Value) {
        let mut entries = read(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        let last = entries.pop().unwrap();
        (last.key, last.value)
    }

    #[test]
    fn values_as_compose_reads_them() {
        for (text, key, value) in [
            ("FOO=bar", "FOO", "bar"),
            ("FOO =bar", "FOO", "bar"),
            ("FOO= bar ", "FOO", "bar"),
            ("FOO: bar=baz", "FOO", "bar=baz"),
            ("FOO=a:b", "FOO", "a:b"),
            ("  export FOO=2", "FOO", "2"),
            ("export\tFOO=2", "FOO", "2"),
            ("exportFOO=2", "exportFOO", "2"),
            ("FOO.BAR-1[0]=x", "FOO.BAR-1[0]", "x"),
            ("FOO=foobar=", "FOO", "foobar="),
            ("FOO=bar # comment", "FOO", "bar"),
            ("FOO=bar #comment", "FOO", "bar"),
            ("FOO=123#no-comment", "FOO", "123#no-comment"),
            ("FOO= # not a comment", "FOO", "# not a comment"),
            ("FOO='bar#baz' # comment", "FOO", "bar#baz"),
            ("FOO=\"bar#baz\"#c", "FOO", "bar#baz"),
            (r#"FOO="escaped\"bar""#, "FOO", "escaped\"bar"),
            (r"FOO='Let\'s go'", "FOO", "Let's go"),
            (r"FOO='a\\b\n'", "FOO", r"a\\b\n"),
            (r#"FOO="bar\nbaz\\""#, "FOO", "bar\nbaz\\"),
            (r"FOO=a\tb", "FOO", r"a\tb"),
            (r#"KEY="Z\aZ\bZ\fZ\nZ\rZ\tZ\vZ\\Z\0123Z""#, "KEY", "Z\u{7}Z\u{8}Z\u{c}Z\nZ\rZ\tZ\u{b}Z\\ZSZ"),
            (r#"KEY="\x07\c\012\0""#, "KEY", r"\x07\c\12\"),
            ("KEY='one\ntwo'", "KEY", "one\ntwo"),
            ("KEY=\"one\r\ntwo\"", "KEY", "one\r\ntwo"),
            ("KEY=one\r\n", "KEY", "one"),
            ("\u{feff}KEY=one", "KEY", "one"),
            ("# c\n\n\t# d\nKEY=", "KEY", ""),
            ("A=1 B=2", "A", "1 B=2"),
            ("A='1' B=2", "B", "2"),
            ("A=1\nA=2", "A", "2"),
            ("FOO=test\nBAR=$FOO", "BAR", "test"),
            ("FOO=test\nBAR='$FOO'", "BAR", "$FOO"),
            (r#"FOO="a\$B""#, "FOO", "a$B"),
            ("FOO=a$$B", "FOO", "a$B"),
            ("P=p$5$", "P", "p$5$"),
            ("árvíz-TŰRŐ=é", "árvíz-TŰRŐ", "é"),
            ("NAME", "", "NAME"),
        ] {
            assert_eq!(one(text), (key.to_string(), Value::Known(value.into())), "{text:?}");
        }
    }

    #[test]
    fn values_that_need_the_environment() {
        let needs = |names: &[&str], without: &str| Value::NeedsEnvironment {
            variables: names.iter().map(|n| n.to_string()).collect(),
            without: without.into(),
        };
        assert_eq!(one("P=p$x$$y").1, needs(&["x"], "p$y"));
        assert_eq!(one("A=$HOME/x\nB=\"$A:${C:-d}\"").1, needs(&["A", "C"], "/x:d"));
        assert_eq!(one("A=${B:?must be set}").1, Value::Required("B".into()));
        assert_eq!(one("INHERITED\n"), ("INHERITED".into(), needs(&["INHERITED"], "")));
    }

    #[test]
    fn what_compose_refuses() {
        for (text, line, message) in [
            ("A=1\nKEY=\"x", 2, "no closing \""),
            ("KEY='x\\'", 1, "no closing '"),
            ("a b=1", 1, "contains a space"),
            ("lol$wut", 1, "unexpected character '$'"),
            ("A=1\n\nB=${", 3, "invalid ${…} reference"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.line == line && error.message.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn places() {
        let text = "# top\nexport A = 'x' # c\r\nB=y # d\nC\n";
        let entries = read(text).unwrap();
        let at = |i: usize| {
            (&text[entries[i].span.clone()], &text[entries[i].value_span.clone()], entries[i].line)
        };
        assert_eq!(at(0), ("export A = 'x'", "'x'", 2));
        assert_eq!(at(1), ("B=y", "y", 3));
        assert_eq!(at(2), ("C", "", 4));
        assert!(entries[0].export && entries[2].style == Style::Inherited);
    }
}
