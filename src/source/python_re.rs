//! Python's `re` over fancy-regex: the pattern language of every `regexp` argument and filter.
//!
//! A Python pattern is rewritten, construct by construct, into one that means the same there;
//! flags `m`, `s` and `x` are resolved while rewriting. Reference: docs.python.org/3/library/re.html

use std::fmt;
use std::ops::Range;

use fancy_regex::{BytesMode, Captures, Regex, RegexBuilder};

mod replacement;
#[cfg(test)]
mod tests;
mod translate;

use replacement::{Part, parse_template};
use translate::translate;

/// A compiled pattern. It is matched against bytes; those that are not UTF-8 pass unharmed.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    source: String,
    flags: Flags,
    alphabet: Alphabet,
}

/// What `.` and `\w` match one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Bytes,
    Unicode,
}

/// Flags given beside the pattern (`re.MULTILINE`), which it can also set itself (`(?m)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    pub multiline: bool,
    pub dotall: bool,
    pub ignorecase: bool,
    pub verbose: bool,
}

/// A pattern or replacement that Python would refuse, or a search that went on for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError(pub String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for PatternError {}

/// What matched where; group 0 is the whole match.
#[derive(Debug, Clone, Default)]
pub struct Found<'t> {
    bytes: &'t [u8],
    groups: Vec<Option<Range<usize>>>,
    names: Vec<(String, usize)>,
}

impl<'t> Found<'t> {
    pub fn range(&self) -> Range<usize> {
        self.groups.first().cloned().flatten().unwrap_or(0..0)
    }

    pub fn group(&self, index: usize) -> Option<&'t [u8]> {
        self.groups.get(index).cloned().flatten().map(|r| &self.bytes[r])
    }

    pub fn group_range(&self, name: &str) -> Option<Range<usize>> {
        let (_, index) = self.names.iter().find(|(n, _)| n == name)?;
        self.groups.get(*index).cloned().flatten()
    }

    /// Numbered groups from 1, as `match.groups()`.
    pub fn groups(&self) -> impl Iterator<Item = Option<&'t [u8]>> + '_ {
        (1..self.groups.len()).map(|i| self.group(i))
    }

    /// Named groups, as `match.groupdict()`.
    pub fn named(&self) -> impl Iterator<Item = (&str, Option<&'t [u8]>)> + '_ {
        self.names.iter().map(|(name, i)| (name.as_str(), self.group(*i)))
    }

    /// A replacement template with its references filled in, as `match.expand(template)`. A group
    /// that took no part is empty.
    ///
    /// # Errors
    /// A reference to a group that the pattern doesn't have, or a bad escape.
    pub fn expand(&self, template: &[u8]) -> Result<Vec<u8>, PatternError> {
        let mut out = Vec::with_capacity(template.len());
        for part in parse_template(template)? {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(&bytes),
                Part::Group(n) if n < self.groups.len() => {
                    out.extend_from_slice(self.group(n).unwrap_or_default());
                }
                Part::Group(n) => return Err(PatternError(format!("invalid group reference {n}"))),
                Part::Named(name) => {
                    let Some((_, index)) = self.names.iter().find(|(n, _)| *n == name) else {
                        return Err(PatternError(format!("unknown group name '{name}'")));
                    };
                    out.extend_from_slice(self.group(*index).unwrap_or_default());
                }
            }
        }
        Ok(out)
    }
}

impl Pattern {
    /// As Python compiles `bytes`: `.` is one byte, `\w` and friends are ASCII.
    ///
    /// # Errors
    /// What is wrong with the pattern, with the pattern.
    pub fn bytes(pattern: &str, flags: Flags) -> Result<Pattern, PatternError> {
        Pattern::new(pattern, flags, Alphabet::Bytes)
    }

    /// As Python compiles `str`.
    ///
    /// # Errors
    /// As [`Pattern::bytes`].
    pub fn unicode(pattern: &str, flags: Flags) -> Result<Pattern, PatternError> {
        Pattern::new(pattern, flags, Alphabet::Unicode)
    }

    fn new(pattern: &str, flags: Flags, alphabet: Alphabet) -> Result<Pattern, PatternError> {
        let (translated, flags) = translate(pattern, flags, alphabet)?;
        let mode = match alphabet {
            Alphabet::Bytes => BytesMode::Ascii,
            Alphabet::Unicode => BytesMode::UnicodeBytes,
        };
        let regex = RegexBuilder::new(&translated)
            .bytes_mode(mode)
            .case_insensitive(flags.ignorecase)
            .build()
            .map_err(|e| PatternError(format!("{e} in regular expression '{pattern}'")))?;
        Ok(Pattern { regex, source: pattern.to_string(), flags, alphabet })
    }

    /// Flags in force for the whole pattern, those that it sets itself (`(?m)`) included.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    fn failed(&self, e: &fancy_regex::Error) -> PatternError {
        PatternError(format!("regular expression '{}' gave up: {e}", self.source))
    }

    fn found<'t>(&self, bytes: &'t [u8], caps: &Captures<'_, [u8]>) -> Found<'t> {
        let names = self.regex.capture_names().enumerate();
        Found {
            bytes,
            groups: (0..caps.len()).map(|i| caps.get(i).map(|m| m.start()..m.end())).collect(),
            names: names.filter_map(|(i, n)| Some((n?.to_string(), i))).collect(),
        }
    }

    fn next_position(&self, bytes: &[u8], at: usize) -> usize {
        let inside_char = |i: usize| bytes.get(i).is_some_and(|b| b & 0xC0 == 0x80);
        let mut next = at + 1;
        while self.alphabet == Alphabet::Unicode && inside_char(next) {
            next += 1;
        }
        next
    }

    /// # Errors
    /// The search went on for too long (catastrophic backtracking).
    pub fn is_match(&self, bytes: &[u8]) -> Result<bool, PatternError> {
        self.regex.is_match(bytes).map_err(|e| self.failed(&e))
    }

    /// The first match, as `re.search`.
    ///
    /// # Errors
    /// As [`Pattern::is_match`].
    pub fn search<'t>(&self, bytes: &'t [u8]) -> Result<Option<Found<'t>>, PatternError> {
        let caps = self.regex.captures(bytes).map_err(|e| self.failed(&e))?;
        Ok(caps.map(|c| self.found(bytes, &c)))
    }

    /// Every match replaced and how many there were, as `re.subn`.
    ///
    /// # Errors
    /// As [`Pattern::search`] and [`Found::expand`].
    pub fn replace_all(&self, bytes: &[u8], template: &[u8]) -> Result<(Vec<u8>, usize), PatternError> {
        // Wrong even where nothing matches.
        parse_template(template)?;
        let (mut out, mut done, mut count, mut from) = (Vec::with_capacity(bytes.len()), 0, 0, 0);
        // Not `captures_iter`: since 3.7 Python also replaces an empty match that touches the match
        // before it.
        while from <= bytes.len() {
            let caps = self.regex.captures_from_pos(bytes, from).map_err(|e| self.failed(&e))?;
            let Some(found) = caps.map(|c| self.found(bytes, &c)) else { break };
            let range = found.range();
            out.extend_from_slice(&bytes[done..range.start]);
            out.extend_from_slice(&found.expand(template)?);
            done = range.end;
            from = if range.is_empty() { self.next_position(bytes, range.end) } else { range.end };
            count += 1;
        }
        out.extend_from_slice(&bytes[done..]);
        Ok((out, count))
    }
}
