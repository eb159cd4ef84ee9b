//! A Python pattern, rewritten construct by construct.

use super::{Alphabet, Flags, PatternError};

/// A Python pattern as one that fancy-regex reads the same way, and the flags in force for all of it.
pub fn translate(pattern: &str, flags: Flags, alphabet: Alphabet) -> Result<(String, Flags), PatternError> {
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
