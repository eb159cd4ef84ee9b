//! Python's `re` over fancy-regex: the pattern language of every `regexp` argument and filter.
//!
//! A Python pattern is rewritten, construct by construct, into one that means the same there;
//! flags `m`, `s` and `x` are resolved while rewriting. Reference: docs.python.org/3/library/re.html

use std::fmt;
use std::ops::Range;

use fancy_regex::{BytesMode, Captures, Regex, RegexBuilder};

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

enum Part {
    Literal(Vec<u8>),
    Group(usize),
    Named(String),
}

/// `\1`, `\g<name>`, `\g<1>`, `\n`, `\\`, octal: the language of `re.sub` replacements.
fn parse_template(template: &[u8]) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut at = 0;
    while at < template.len() {
        if template[at] != b'\\' {
            literal.push(template[at]);
            at += 1;
            continue;
        }
        at += 1;
        let Some(&c) = template.get(at) else {
            return Err(PatternError("bad escape (end of pattern) in replacement".into()));
        };
        at += 1;
        let digits = |from: usize, max: usize, ok: fn(&u8) -> bool| {
            template[from..].iter().take(max).take_while(|b| ok(b)).count()
        };
        let octal: fn(&u8) -> bool = |b| (b'0'..=b'7').contains(b);
        let mut reference = None;
        match c {
            b'g' => {
                let rest = &template[at..];
                let (Some(b'<'), Some(end)) = (rest.first(), rest.iter().position(|&b| b == b'>')) else {
                    return Err(PatternError("missing < or > after \\g in replacement".into()));
                };
                let name = String::from_utf8_lossy(&rest[1..end]).into_owned();
                at += end + 1;
                reference = Some(name.parse().map_or(Part::Named(name), Part::Group));
            }
            b'0' => {
                let n = digits(at, 2, octal);
                literal.push(octal_value(&template[at..at + n]));
                at += n;
            }
            b'1'..=b'9' => {
                let is_octal = octal(&c) && digits(at, 2, octal) == 2;
                if is_octal {
                    literal.push(octal_value(&template[at - 1..at + 2]));
                    at += 2;
                } else {
                    let n = digits(at, 1, u8::is_ascii_digit);
                    let number = String::from_utf8_lossy(&template[at - 1..at + n]).parse().unwrap_or(0);
                    at += n;
                    reference = Some(Part::Group(number));
                }
            }
            b'n' => literal.push(b'\n'),
            b't' => literal.push(b'\t'),
            b'r' => literal.push(b'\r'),
            b'a' => literal.push(7),
            b'b' => literal.push(8),
            b'f' => literal.push(12),
            b'v' => literal.push(11),
            b'\\' => literal.push(b'\\'),
            c if c.is_ascii_alphabetic() => {
                return Err(PatternError(format!("bad escape \\{} in replacement", c as char)));
            }
            c => literal.extend_from_slice(&[b'\\', c]),
        }
        if let Some(reference) = reference {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            parts.push(reference);
        }
    }
    parts.push(Part::Literal(literal));
    Ok(parts)
}

fn octal_value(digits: &[u8]) -> u8 {
    digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0')) as u8
}

/// A Python pattern as one that fancy-regex reads the same way, and the flags in force for all of it.
fn translate(pattern: &str, flags: Flags, alphabet: Alphabet) -> Result<(String, Flags), PatternError> {
    let mut t = Translator { chars: pattern.chars().collect(), at: 0, out: String::new(), alphabet, pattern };
    let flags = t.run(flags)?;
    Ok((t.out, flags))
}

struct Translator<'p> {
    chars: Vec<char>,
    at: usize,
    out: String,
    alphabet: Alphabet,
    pattern: &'p str,
}

impl Translator<'_> {
    fn error<T>(&self, what: &str) -> Result<T, PatternError> {
        Err(PatternError(format!("{what} at position {} of regular expression '{}'", self.at, self.pattern)))
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }

    fn until(&mut self, end: char) -> Result<String, PatternError> {
        let mut name = String::new();
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == end {
                return Ok(name);
            }
            name.push(c);
        }
        self.error(&format!("missing {end}, unterminated name"))
    }

    fn run(&mut self, flags: Flags) -> Result<Flags, PatternError> {
        // One entry per open group: the flags to go back to when it closes.
        let mut stack: Vec<Flags> = Vec::new();
        let mut flags = flags;
        while let Some(c) = self.peek(0) {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => {
                    let outer = flags;
                    if self.group(&mut flags)? {
                        stack.push(outer);
                    }
                }
                ')' => {
                    let Some(outer) = stack.pop() else { return self.error("unbalanced parenthesis") };
                    flags = outer;
                    self.out.push(')');
                    self.at += 1;
                }
                '^' => {
                    self.out.push_str(if flags.multiline { "(?m:^)" } else { "\\A" });
                    self.at += 1;
                }
                '$' => {
                    // Python's `$` is also just before a final newline.
                    self.out.push_str(if flags.multiline { "(?m:$)" } else { "(?=\\n?\\z)" });
                    self.at += 1;
                }
                '.' => {
                    self.out.push_str(if flags.dotall { "(?s:.)" } else { "[^\\n]" });
                    self.at += 1;
                }
                '{' => self.repeat(),
                '*' | '+' | '?' | '|' => {
                    self.out.push(c);
                    self.at += 1;
                }
                '#' if flags.verbose => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                c if flags.verbose && c.is_ascii_whitespace() => self.at += 1,
                c => {
                    self.literal(c);
                    self.at += 1;
                }
            }
        }
        if stack.is_empty() { Ok(flags) } else { self.error("missing ), unterminated subpattern") }
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_punctuation() {
            self.out.push('\\');
        }
        // fancy-regex takes `\<` and `\>` for word boundaries.
        match c {
            '<' | '>' => {
                self.out.pop();
                self.out.push(c);
            }
            c => self.out.push(c),
        }
    }

    /// `{m}`, `{m,}`, `{,n}`, `{m,n}`; anything else is a literal brace.
    fn repeat(&mut self) {
        let body: String = self.chars[self.at + 1..].iter().take_while(|c| **c != '}').collect();
        let closed = self.peek(body.chars().count() + 1) == Some('}');
        let number = |s: &str| s.chars().all(|c| c.is_ascii_digit());
        let valid = match body.split_once(',') {
            Some((low, high)) => number(low) && number(high),
            None => number(&body) && !body.is_empty(),
        };
        if closed && valid {
            let body_with_floor = if body.starts_with(',') { format!("0{body}") } else { body.clone() };
            self.out.push_str(&format!("{{{body_with_floor}}}"));
            self.at += body.chars().count() + 2;
        } else {
            self.out.push_str("\\{");
            self.at += 1;
        }
    }

    /// What begins with `(`. Says whether a group was opened that a `)` closes.
    fn group(&mut self, flags: &mut Flags) -> Result<bool, PatternError> {
        if !self.starts("(?") {
            self.out.push('(');
            self.at += 1;
            return Ok(true);
        }
        for (python, ours) in [
            ("(?:", "(?:"),
            ("(?=", "(?="),
            ("(?!", "(?!"),
            ("(?<=", "(?<="),
            ("(?<!", "(?<!"),
            ("(?>", "(?>"),
        ] {
            if self.starts(python) {
                self.out.push_str(ours);
                self.at += python.len();
                return Ok(true);
            }
        }
        if self.starts("(?P<") {
            self.at += 4;
            let name = self.until('>')?;
            self.out.push_str(&format!("(?<{name}>"));
            return Ok(true);
        }
        if self.starts("(?P=") {
            self.at += 4;
            let name = self.until(')')?;
            self.out.push_str(&format!("\\k<{name}>"));
            return Ok(false);
        }
        if self.starts("(?#") {
            self.until(')')?;
            return Ok(false);
        }
        if self.starts("(?(") {
            self.at += 3;
            let name = self.until(')')?;
            let numbered = name.chars().all(|c| c.is_ascii_digit());
            self.out.push_str(&if numbered { format!("(?({name})") } else { format!("(?(<{name}>)") });
            return Ok(true);
        }
        self.at += 2;
        let (mut on, mut case) = (true, None);
        loop {
            let Some(c) = self.peek(0) else { return self.error("missing ), unterminated flags") };
            self.at += 1;
            match c {
                'i' => case = Some(on),
                'm' => flags.multiline = on,
                's' => flags.dotall = on,
                'x' => flags.verbose = on,
                'a' | 'u' | 'L' if on => {}
                '-' if on => on = false,
                ':' | ')' => {
                    let opened = c == ':';
                    self.out.push_str(match case {
                        Some(true) => "(?i",
                        Some(false) => "(?-i",
                        None if opened => "(?",
                        None => "",
                    });
                    if opened || case.is_some() {
                        self.out.push(c);
                    }
                    return Ok(opened);
                }
                _ => return self.error("unknown extension (?"),
            }
        }
    }

    fn escape(&mut self, in_class: bool) -> Result<(), PatternError> {
        self.at += 1;
        let Some(c) = self.peek(0) else { return self.error("bad escape (end of pattern)") };
        self.at += 1;
        match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 't' | 'r' | 'f' | 'v' | 'a' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' if in_class => self.out.push_str("\\x08"),
            'A' | 'b' | 'B' if !in_class => {
                self.out.push('\\');
                self.out.push(c);
            }
            'Z' if !in_class => self.out.push_str("\\z"),
            'x' => self.code_point(2)?,
            'u' if self.alphabet == Alphabet::Unicode => self.code_point(4)?,
            'U' if self.alphabet == Alphabet::Unicode => self.code_point(8)?,
            '0'..='9' => {
                let digits: String =
                    self.chars[self.at - 1..].iter().take(3).take_while(|d| d.is_ascii_digit()).collect();
                let octal: String = digits.chars().take_while(|d| *d < '8').collect();
                if c == '0' || octal.len() == 3 || in_class {
                    if octal.is_empty() {
                        return self.error(&format!("bad escape \\{c}"));
                    }
                    let code = u32::from_str_radix(&octal, 8).unwrap_or(0);
                    self.out.push_str(&format!("\\x{{{code:x}}}"));
                    self.at += octal.len() - 1;
                } else {
                    let reference: String = digits.chars().take(2).collect();
                    self.out.push_str(&format!("(?:\\{reference})"));
                    self.at += reference.len() - 1;
                }
            }
            c if c.is_ascii_alphabetic() => return self.error(&format!("bad escape \\{c}")),
            c => self.literal(c),
        }
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Result<(), PatternError> {
        let hex: String = self.chars[self.at..].iter().take(digits).collect();
        match u32::from_str_radix(&hex, 16) {
            Ok(code) if hex.len() == digits => {
                self.out.push_str(&format!("\\x{{{code:x}}}"));
                self.at += digits;
                Ok(())
            }
            _ => self.error("incomplete escape"),
        }
    }

    fn class(&mut self) -> Result<(), PatternError> {
        self.out.push('[');
        self.at += 1;
        if self.peek(0) == Some('^') {
            self.out.push('^');
            self.at += 1;
        }
        let first = self.at;
        loop {
            let Some(c) = self.peek(0) else { return self.error("unterminated character set") };
            match c {
                ']' if self.at > first => {
                    self.out.push(']');
                    self.at += 1;
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                // Between two members it makes a range; elsewhere it is itself.
                '-' if self.at > first && self.peek(1).is_some_and(|next| next != ']') => {
                    self.out.push('-');
                    self.at += 1;
                }
                c => {
                    if c.is_ascii_punctuation() && c != '<' && c != '>' {
                        self.out.push('\\');
                    }
                    if self.alphabet == Alphabet::Bytes && !c.is_ascii() {
                        c.encode_utf8(&mut [0; 4])
                            .bytes()
                            .for_each(|b| self.out.push_str(&format!("\\x{b:02x}")));
                    } else {
                        self.out.push(c);
                    }
                    self.at += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(pattern: &str, text: &[u8]) -> Option<Vec<u8>> {
        let p = Pattern::bytes(pattern, Flags::default()).unwrap_or_else(|e| panic!("{e}"));
        p.search(text).unwrap().map(|f| f.group(0).unwrap().to_vec())
    }

    #[test]
    fn matches_where_python_does() {
        // pattern, text, what Python's re.search finds
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("^foo$", "foo\n", Some("foo")),
            ("^foo$", "foo\n\n", None),
            ("foo\\Z", "foo\n", None),
            ("^b", "a\nb", None),
            ("(?m)^b$", "a\nb\nc", Some("b")),
            ("(?s)a.b", "a\nb", Some("a\nb")),
            ("a.b", "a\nb", None),
            ("(?i)FOO", "xfoo", Some("foo")),
            ("(?i:F)oo", "foO foo", Some("foo")),
            ("(?x) a b # no\n c", "abc", Some("abc")),
            ("a{2}b{,1}c{1,}", "aacc", Some("aacc")),
            ("{foo}", "x{foo}", Some("{foo}")),
            ("\\${A}", "${A}", Some("${A}")),
            ("[[]x[]]", "[x]", Some("[x]")),
            ("[a&&b]+", "a&b", Some("a&b")),
            ("[^]]+", "ab]", Some("ab")),
            ("[a-c-]+", "-abcd", Some("-abc")),
            ("[\\w.-]+", " a.b-c ", Some("a.b-c")),
            ("[\\]]", "]", Some("]")),
            ("(?P<q>['\"]).*?(?P=q)", "say \"it's\"", Some("\"it's\"")),
            ("(a)\\1", "aa", Some("aa")),
            ("(a)?(?(1)b|c)", "c", Some("c")),
            ("(?<!x)y(?=z)", "xy yz", Some("y")),
            ("\\<b\\>", "<b>", Some("<b>")),
            ("\\/\\-\\ \\\"\\#", "/- \"#", Some("/- \"#")),
            ("\\bword\\b", "a word.", Some("word")),
            ("\\x41\\101\\0?", "AA", Some("AA")),
            ("é+", "caféé", Some("éé")),
            ("^#?\\s*PermitRootLogin\\s", "#PermitRootLogin no\n", Some("#PermitRootLogin ")),
        ];
        for (pattern, text, want) in cases {
            let got = search(pattern, text.as_bytes());
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_match_one_by_one() {
        assert_eq!(search("a.b", b"a\xffb"), Some(b"a\xffb".to_vec()));
        assert_eq!(search("\\w+", b"caf\xe9"), Some(b"caf".to_vec()));
        assert_eq!(search("^k=.*$", b"k=\xc3\x28\n"), Some(b"k=\xc3\x28".to_vec()));
        assert_eq!(search("[é]", "é".as_bytes()), Some(b"\xc3".to_vec()));
        assert_eq!(search("\\xff", b"a\xff"), Some(b"\xff".to_vec()));
    }

    #[test]
    fn unicode_patterns_take_characters() {
        let p = Pattern::unicode("\\w+|[é]", Flags::default()).unwrap();
        assert_eq!(p.search("café!".as_bytes()).unwrap().unwrap().group(0), Some("café".as_bytes()));
        let dashed = Pattern::unicode("x*", Flags::default()).unwrap();
        assert_eq!(dashed.replace_all("é".as_bytes(), b"-").unwrap().0, "-é-".as_bytes());
        assert!(Pattern::bytes("(?m)^a", Flags::default()).unwrap().flags().multiline);
        assert!(!Pattern::bytes("(?m:^a)", Flags::default()).unwrap().flags().multiline);
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for bad in ["(", ")", "[a", "*", "\\q", "(?P<n", "(?k)", "\\"] {
            assert!(Pattern::bytes(bad, Flags::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn replacements_expand_as_in_python() {
        let replace = |pattern: &str, template: &str, text: &str| {
            let p = Pattern::bytes(pattern, Flags { multiline: true, ..Flags::default() }).unwrap();
            p.replace_all(text.as_bytes(), template.as_bytes())
                .map(|(b, n)| (String::from_utf8(b).unwrap(), n))
        };
        let cases: &[(&str, &str, &str, &str, usize)] = &[
            ("(a)(x)?", "\\2<\\1>", "aa", "<a><a>", 2),
            ("(?P<k>\\w+)=", "\\g<k>: ", "k=v", "k: v", 1),
            ("(a)", "\\g<1>0", "a", "a0", 1),
            ("^", "# ", "x\ny", "# x\n# y", 2),
            ("b*", "-", "abc", "-a--c-", 4),
            ("a", "\\n\\t\\\\\\.", "a", "\n\t\\\\.", 1),
        ];
        for (pattern, template, text, want, count) in cases {
            assert_eq!(replace(pattern, template, text), Ok((want.to_string(), *count)), "{pattern}");
        }
        assert!(replace("a", "\\1", "a").is_err());
        assert!(replace("a", "\\g<x>", "a").is_err());
        assert!(replace("a", "\\q", "a").is_err());
        assert!(replace("a", "\\q", "nothing to replace").is_err());
    }
}
