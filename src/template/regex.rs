//! Python's `re` on fancy-regex.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use fancy_regex::{Captures, Regex, RegexBuilder};

use super::eval::Run;
use super::fault::Fault;

/// Backtracking steps after which a pattern is called too slow.
const MOST_STEPS: usize = 10_000_000;
/// Compiled patterns that are kept.
const KEPT: usize = 256;

type Key = (String, bool, bool);
static COMPILED: LazyLock<Mutex<HashMap<Key, Arc<Regex>>>> = LazyLock::new(Mutex::default);

/// Compiles a pattern of Python's `re`.
pub fn compile(pattern: &str, ignore_case: bool, multi_line: bool) -> Run<Arc<Regex>> {
    let key = (pattern.to_string(), ignore_case, multi_line);
    let mut kept = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(regex) = kept.get(&key) {
        return Ok(regex.clone());
    }
    let translated = translate(pattern, multi_line);
    let regex = RegexBuilder::new(&translated)
        .case_insensitive(ignore_case)
        .multi_line(multi_line)
        .backtrack_limit(MOST_STEPS)
        .build()
        .map_err(|e| Fault::new(format!("invalid regular expression '{pattern}': {}", reason(&e))))?;
    let regex = Arc::new(regex);
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(key, regex.clone());
    Ok(regex)
}

fn reason(e: &fancy_regex::Error) -> String {
    let text = e.to_string();
    text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_string()
}

/// What Python writes differently: `\Z` is the very end, `$` also matches before a last line end,
/// `[` inside a class is a character, and a brace that counts nothing is one.
fn translate(pattern: &str, multi_line: bool) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let chars: Vec<char> = pattern.chars().collect();
    let mut class_from = None;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        let next = chars.get(i + 1).copied();
        let in_class = class_from.is_some();
        match c {
            '\\' => {
                match next {
                    Some('Z') if !in_class => out.push_str("\\z"),
                    // Escapes that only Python takes for the character itself.
                    Some(
                        n @ ('"' | '\'' | '`' | '@' | '!' | ',' | ';' | ':' | '=' | '%' | '/' | '<' | '>'
                        | '_'),
                    ) => {
                        out.push(n);
                    }
                    Some(n) => {
                        out.push('\\');
                        out.push(n);
                    }
                    None => out.push('\\'),
                }
                i += 2;
                continue;
            }
            '[' if !in_class => {
                class_from = Some(i);
                out.push('[');
                if next == Some('^') {
                    out.push('^');
                    i += 1;
                    class_from = Some(i);
                }
                if chars.get(i + 1) == Some(&']') {
                    out.push_str("\\]");
                    i += 1;
                }
            }
            '[' => out.push_str("\\["),
            '&' | '~' if in_class && next == Some(c) => {
                out.push('\\');
                out.push(c);
            }
            ']' if in_class => {
                class_from = None;
                out.push(']');
            }
            '$' if !in_class && !multi_line => out.push_str("(?=\\n?\\z)"),
            '{' if !in_class && !counts(&chars[i..]) => out.push_str("\\{"),
            '(' if !in_class
                && next == Some('?')
                && chars.get(i + 2) == Some(&'P')
                && chars.get(i + 3) == Some(&'=') =>
            {
                let name: String = chars[i + 4..].iter().take_while(|c| **c != ')').collect();
                out.push_str(&format!("\\k<{name}>"));
                i += 4 + name.chars().count() + 1;
                continue;
            }
            c => out.push(c),
        }
        i += 1;
    }
    out
}

/// Whether `{…` is a repetition.
fn counts(from: &[char]) -> bool {
    let inside: String = from[1..].iter().take_while(|c| **c != '}').collect();
    let closed = from.len() > inside.chars().count() + 1;
    let (low, high) = inside.split_once(',').unwrap_or((&inside, "0"));
    let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    closed && !inside.is_empty() && inside != "," && digits(low) && digits(high)
}

fn too_slow(e: &fancy_regex::Error) -> Fault {
    Fault::plain(format!("the regular expression gave up: {e}"))
}

pub fn search<'t>(regex: &Regex, text: &'t str) -> Run<Option<Captures<'t, str>>> {
    regex.captures(text).map_err(|e| too_slow(&e))
}

/// Python's `re.match`: at the start only.
pub fn matches_at_start(regex: &Regex, text: &str) -> Run<bool> {
    // A match that starts later may hide one that starts here only when alternatives overlap;
    // the leftmost match is the one at the start if there is any.
    Ok(regex.find(text).map_err(|e| too_slow(&e))?.is_some_and(|m| m.start() == 0))
}

pub fn find_all<'t>(regex: &Regex, text: &'t str) -> Run<Vec<Captures<'t, str>>> {
    regex.captures_iter(text).collect::<Result<_, _>>().map_err(|e| too_slow(&e))
}

/// Python's `re.subn`: the text and the number of replacements. `count` 0 replaces all.
pub fn replace(regex: &Regex, text: &str, replacement: &str, count: usize) -> Run<(String, usize)> {
    let template = Replacement::parse(replacement, regex)?;
    let mut out = String::with_capacity(text.len());
    let (mut from, mut n) = (0, 0);
    for captures in regex.captures_iter(text) {
        let captures = captures.map_err(|e| too_slow(&e))?;
        let Some(whole) = captures.get(0) else { continue };
        if count != 0 && n >= count {
            break;
        }
        out.push_str(&text[from..whole.start()]);
        template.expand(&captures, &mut out);
        from = whole.end();
        n += 1;
    }
    out.push_str(&text[from..]);
    Ok((out, n))
}

enum Piece {
    Text(String),
    Group(usize),
}

/// A replacement as Python reads it: `\1`, `\g<1>`, `\g<name>`, and its escapes.
struct Replacement(Vec<Piece>);

impl Replacement {
    fn parse(text: &str, regex: &Regex) -> Run<Replacement> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        let groups = regex.captures_len();
        let group = |pieces: &mut Vec<Piece>, plain: &mut String, n: usize| {
            if n >= groups {
                return Err(Fault::plain(format!("invalid group reference {n}")));
            }
            pieces.push(Piece::Text(std::mem::take(plain)));
            pieces.push(Piece::Group(n));
            Ok(())
        };
        while let Some(c) = chars.next() {
            if c != '\\' {
                plain.push(c);
                continue;
            }
            match chars.next() {
                None => return Err(Fault::plain("bad escape (end of pattern)")),
                Some('g') if chars.peek() == Some(&'<') => {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                    let n = match name.parse() {
                        Ok(n) => n,
                        Err(_) => regex
                            .capture_names()
                            .position(|known| known == Some(name.as_str()))
                            .ok_or_else(|| Fault::plain(format!("unknown group name '{name}'")))?,
                    };
                    group(&mut pieces, &mut plain, n)?;
                }
                Some(d @ '1'..='9') => {
                    let mut n = d as usize - '0' as usize;
                    if let Some(second) = chars.next_if(char::is_ascii_digit) {
                        n = n * 10 + second as usize - '0' as usize;
                    }
                    group(&mut pieces, &mut plain, n)?;
                }
                Some('0') => plain.push('\0'),
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('a') => plain.push('\x07'),
                Some('b') => plain.push('\x08'),
                Some('f') => plain.push('\x0c'),
                Some('v') => plain.push('\x0b'),
                Some('\\') => plain.push('\\'),
                Some(c) if c.is_ascii_alphabetic() => {
                    return Err(Fault::plain(format!("bad escape \\{c}")));
                }
                Some(c) => {
                    plain.push('\\');
                    plain.push(c);
                }
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Replacement(pieces))
    }

    fn expand(&self, captures: &Captures<str>, out: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(n) => out.push_str(captures.get(*n).map_or("", |m| m.as_str())),
            }
        }
    }
}

/// Python's `re.escape`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
