//! The pure decision: a `.env` text and a wanted key in, the new text out, proved by reading it
//! again.

use super::read::{Entry, ReadError, Style, Value, line_of, read};

/// What shall be done to one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted<'a> {
    pub key: &'a str,
    /// `None`: the key shall not be there.
    pub value: Option<&'a str>,
    pub duplicates: Duplicates,
    /// How to quote; by default as it is, as far as that can carry the value.
    pub quote: Option<Quote>,
    /// For a new key: `export` in front. By default as all other keys of the file have it.
    pub export: Option<bool>,
}

/// What to do about a key that is there several times (the last one counts for Compose, the first
/// for some other readers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// Fail and name the lines.
    #[default]
    Refuse,
    /// Change (or remove) every one.
    All,
    /// Change the last one, which is the one that Compose reads.
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quote {
    None,
    Single,
    Double,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Edited {
    /// The whole new text; `None`: it is as wanted.
    pub text: Option<String>,
    pub was_there: bool,
    /// What the key was before, where that is known without the shell's environment.
    pub before: Option<String>,
    /// Keys whose value refers to this one (`${KEY}`) and so changed with it.
    pub derived: Vec<String>,
}

/// Why a key can't be edited. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// Compose couldn't read the file as it is.
    Unreadable(ReadError),
    BadKey(String),
    /// The value has a character that no environment variable can hold.
    Nul,
    Duplicates {
        key: String,
        lines: Vec<usize>,
    },
    /// Removing all but the last, or the last only, would bring an earlier value to life.
    RemoveLast,
    /// Another statement stands on the same line.
    SharedLine {
        key: String,
        line: usize,
    },
    /// This quoting can't carry the value.
    Quoting {
        key: String,
        quote: Quote,
    },
    /// Read again, the file wouldn't say what it shall; nothing is written.
    NotProved {
        key: String,
    },
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EditError::Unreadable(e) => write!(f, "Compose could not read it: {e}"),
            EditError::BadKey(key) => {
                write!(f, "{key:?} is no variable name: letters, digits, _ . - [ ], and no digit in front")
            }
            EditError::Nul => {
                f.write_str("the value has a NUL character, which no environment variable can hold")
            }
            EditError::Duplicates { key, lines } => {
                let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
                write!(f, "{key} is there {} times, on lines {}", lines.len(), lines.join(" and "))
            }
            EditError::RemoveLast => {
                f.write_str("removing only the last of several would bring an earlier value to life")
            }
            EditError::SharedLine { key, line } => {
                write!(f, "{key} shares line {line} with another variable")
            }
            EditError::Quoting { key, quote } => {
                write!(
                    f,
                    "the value of {key} can't be written with quote: {}",
                    match quote {
                        Quote::None => "none",
                        Quote::Single => "single",
                        Quote::Double => "double",
                    }
                )
            }
            EditError::NotProved { key } => write!(
                f,
                "after the edit Compose would not read {key} and the other variables as they shall be; nothing was written"
            ),
        }
    }
}
impl std::error::Error for EditError {}

impl EditError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            EditError::Unreadable(_) => "correct that line by hand first".into(),
            EditError::Duplicates { .. } => {
                "remove all but one, or set duplicates: all (change each) or last (the one that Compose reads)".into()
            }
            EditError::RemoveLast => "set duplicates: all to remove every one".into(),
            EditError::SharedLine { .. } => "put each variable on a line of its own".into(),
            EditError::Quoting { .. } => "leave out quote: to have one chosen that can".into(),
            _ => return None,
        })
    }
}

/// Edits one key of a `.env` text. Comments, order, spacing, `export`, line ends and everything
/// else stay as they are.
///
/// # Errors
/// [`EditError`]
pub fn edit(text: &str, wanted: &Wanted<'_>) -> Result<Edited, EditError> {
    check_key(wanted.key)?;
    if wanted.value.is_some_and(|v| v.contains('\0')) {
        return Err(EditError::Nul);
    }
    let entries = read(text).map_err(EditError::Unreadable)?;
    let mine: Vec<&Entry> = entries.iter().filter(|e| e.key == wanted.key).collect();
    if mine.len() > 1 {
        match (wanted.duplicates, wanted.value) {
            (Duplicates::Refuse, _) => {
                let lines = mine.iter().map(|e| e.line).collect();
                return Err(EditError::Duplicates { key: wanted.key.into(), lines });
            }
            (Duplicates::Last, None) => return Err(EditError::RemoveLast),
            _ => {}
        }
    }
    let was_there = !mine.is_empty();
    let before = mine.last().and_then(|e| e.value.known()).map(String::from);
    let chosen: Vec<&Entry> = match wanted.duplicates {
        Duplicates::Last => mine.into_iter().next_back().into_iter().collect(),
        _ => mine,
    };
    let new = match wanted.value {
        None => remove(text, &entries, &chosen)?,
        Some(_) if chosen.is_empty() => append(text, &entries, wanted)?,
        Some(value) => set(text, &chosen, wanted, value)?,
    };
    if new == text {
        return Ok(Edited { text: None, was_there, before, derived: Vec::new() });
    }
    let derived = prove(&entries, &new, wanted)?;
    Ok(Edited { text: Some(new), was_there, before, derived })
}

/// What Compose would accept as a name and a shell or container could carry.
fn check_key(key: &str) -> Result<(), EditError> {
    let fits = |c: char| c.is_alphanumeric() || "_.-[]".contains(c);
    let first = key.chars().next();
    if first.is_some_and(|c| fits(c) && !c.is_numeric()) && key.chars().all(fits) && key != "export" {
        Ok(())
    } else {
        Err(EditError::BadKey(key.into()))
    }
}

fn set(text: &str, chosen: &[&Entry], wanted: &Wanted<'_>, value: &str) -> Result<String, EditError> {
    let mut new = text.to_string();
    // From the last to the first, so that places stay true.
    for entry in chosen.iter().rev() {
        let quoted_as_asked = match (wanted.quote, entry.style) {
            (None, _)
            | (Some(Quote::None), Style::Unquoted)
            | (Some(Quote::Single), Style::Single)
            | (Some(Quote::Double), Style::Double) => true,
            (Some(_), _) => false,
        };
        if quoted_as_asked && entry.value.known() == Some(value) {
            continue;
        }
        let present = match entry.style {
            Style::Unquoted => Some(Quote::None),
            Style::Single => Some(Quote::Single),
            Style::Double => Some(Quote::Double),
            Style::Inherited => None,
        };
        let mut quoted = quote(wanted, value, present)?;
        let place = entry.value_span.clone();
        if entry.style == Style::Inherited {
            quoted.insert(0, '=');
        } else if text[place.clone()].starts_with('#') {
            // `KEY= # words` is a value for Compose; to people it is a comment, so it stays one.
            let space = if text[..place.start].ends_with([' ', '\t']) { "" } else { " " };
            new.insert_str(place.start, &format!("{space}{quoted} "));
            continue;
        }
        new.replace_range(place, &quoted);
    }
    Ok(new)
}

fn append(text: &str, entries: &[Entry], wanted: &Wanted<'_>) -> Result<String, EditError> {
    let Some(value) = wanted.value else { return Ok(text.to_string()) };
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let export = wanted.export.unwrap_or(!entries.is_empty() && entries.iter().all(|e| e.export));
    let mut new = text.to_string();
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !body.is_empty() && !body.ends_with('\n') {
        new.push_str(line_end);
    }
    let export = if export { "export " } else { "" };
    new.push_str(&format!("{export}{}={}{line_end}", wanted.key, quote(wanted, value, None)?));
    Ok(new)
}

fn remove(text: &str, entries: &[Entry], chosen: &[&Entry]) -> Result<String, EditError> {
    let mut new = text.to_string();
    for entry in chosen.iter().rev() {
        let start = text[..entry.span.start].rfind('\n').map_or(0, |i| i + 1);
        let start = if start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start };
        let end = text[entry.span.end..].find('\n').map_or(text.len(), |i| entry.span.end + i + 1);
        let shared =
            |other: &&Entry| other.span != entry.span && other.span.start < end && other.span.end > start;
        if entries.iter().any(|e| shared(&e)) {
            return Err(EditError::SharedLine {
                key: entry.key.clone(),
                line: line_of(text, entry.span.start),
            });
        }
        new.replace_range(start..end, "");
        // The last line had no line break: neither has the one that is the last now.
        if end == text.len() && !text.ends_with('\n') {
            let kept = new.strip_suffix('\n').map(|n| n.strip_suffix('\r').unwrap_or(n)).map(str::len);
            new.truncate(kept.unwrap_or(new.len()));
        }
    }
    Ok(new)
}

/// The value as written: in `present` quotes or those asked for, if they can carry it, else in the
/// plainest that can.
fn quote(wanted: &Wanted<'_>, value: &str, present: Option<Quote>) -> Result<String, EditError> {
    if let Some(asked) = wanted.quote {
        return quoted(value, asked)
            .ok_or_else(|| EditError::Quoting { key: wanted.key.into(), quote: asked });
    }
    present
        .into_iter()
        .chain([Quote::None, Quote::Single, Quote::Double])
        .find_map(|quote| quoted(value, quote))
        .ok_or_else(|| EditError::NotProved { key: wanted.key.into() })
}

/// `None`: this quoting can't carry it, for Compose or for a shell that sources the file.
fn quoted(value: &str, quote: Quote) -> Option<String> {
    match quote {
        Quote::None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c);
            value.chars().all(plain).then(|| value.to_string())
        }
        Quote::Single => {
            // A backslash keeps its place, but not in front of the closing quote.
            let odd_end = value.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
            (!value.contains('\'') && !odd_end && !value.contains('\r')).then(|| format!("'{value}'"))
        }
        Quote::Double => {
            let mut out = String::from("\"");
            for c in value.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '$' => out.push_str("\\$"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    c => out.push(c),
                }
            }
            Some(out + "\"")
        }
    }
}

/// Reads the new text and compares: the key is as wanted, everything else as it was. Gives the keys
/// whose value follows this one.
fn prove(before: &[Entry], new: &str, wanted: &Wanted<'_>) -> Result<Vec<String>, EditError> {
    let not_proved = || EditError::NotProved { key: wanted.key.into() };
    let after = read(new).map_err(|_| not_proved())?;
    let now = after.iter().rfind(|e| e.key == wanted.key).map(|e| &e.value);
    if now != wanted.value.map(|v| Value::Known(v.to_string())).as_ref() {
        return Err(not_proved());
    }
    let others = |entries: &[Entry]| -> Vec<Entry> {
        entries.iter().filter(|e| e.key != wanted.key).cloned().collect()
    };
    let (before, after) = (others(before), others(&after));
    let same = |a: &Entry, b: &Entry| a.key == b.key && a.style == b.style && a.export == b.export;
    if before.len() != after.len() || !before.iter().zip(&after).all(|(a, b)| same(a, b)) {
        return Err(not_proved());
    }
    let follows = |(_, after): &(&Entry, &Entry)| matches!(after.style, Style::Unquoted | Style::Double);
    let (following, fixed): (Vec<_>, Vec<_>) =
        before.iter().zip(&after).filter(|(a, b)| a.value != b.value).partition(follows);
    if !fixed.is_empty() {
        return Err(not_proved());
    }
    Ok(following.into_iter().map(|(_, after)| after.key.clone()).collect())
}
