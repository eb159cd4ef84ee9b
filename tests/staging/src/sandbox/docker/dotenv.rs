//! `.env` files and `$` references as Compose v2 reads them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

/// The values that a Compose file is filled in with: `.env`, overridden by the shell.
#[derive(Debug, Default)]
pub struct Values {
    shell: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    /// Names that were asked for in vain; each is warned about once.
    missing: BTreeSet<String>,
}

impl Values {
    pub fn new(shell: impl IntoIterator<Item = (String, String)>) -> Values {
        Values { shell: shell.into_iter().collect(), ..Values::default() }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.shell.get(name).or_else(|| self.file.get(name));
        found.map(String::as_str)
    }

    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    /// Reads a `.env` file. Later lines see the values of earlier ones.
    pub fn read(&mut self, text: &str) -> Result<()> {
        let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Ok(());
            }
            if rest.starts_with('#') {
                rest = after_line(rest);
                continue;
            }
            rest = self.read_statement(rest)?;
        }
    }

    /// The values of another file that is read with the help of these.
    pub fn read_beside(&self, text: &str) -> Result<BTreeMap<String, String>> {
        let mut known = self.file.clone();
        known.extend(self.shell.clone());
        let mut values = Values { shell: known, ..Values::default() };
        values.read(text)?;
        Ok(values.file)
    }

    fn read_statement<'a>(&mut self, text: &'a str) -> Result<&'a str> {
        let text = match text.strip_prefix("export") {
            Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
            _ => text,
        };
        let end = text.find(['=', ':', '\n']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let name = name.trim_end();
        let odd = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'));
        if let Some(found) = name.chars().find(|c| odd(*c)) {
            // Never with the line itself, which may hold a secret.
            bail!("unexpected character {found:?} in variable name near {name:?}");
        }
        if name.is_empty() {
            bail!("a line of .env has no variable name");
        }
        if rest.is_empty() || rest.starts_with('\n') {
            // A name alone takes the shell's value, which `get` finds anyway.
            return Ok(rest);
        }
        let rest = rest[1..].trim_start_matches([' ', '\t', '\r']);
        let (value, rest) = match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(name, quote, &rest[1..])?,
            _ => {
                let end = rest.find('\n').unwrap_or(rest.len());
                let (line, rest) = rest.split_at(end);
                let value = line.split(" #").next().unwrap_or(line).trim_end();
                (self.fill_in(value)?, rest)
            }
        };
        self.file.insert(name.to_owned(), value);
        Ok(rest)
    }

    /// A quoted value may go over several lines; what follows it on its line is dropped.
    fn quoted<'a>(&mut self, name: &str, quote: char, text: &'a str) -> Result<(String, &'a str)> {
        let mut escaped = false;
        let end = text.char_indices().find(|(_, c)| {
            let is_end = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            is_end
        });
        let Some((end, _)) = end else {
            bail!("unterminated quoted value of {name}");
        };
        let value = text[..end].to_owned();
        let value = match quote {
            '"' => self.fill_in(&unescape(&value))?,
            _ => value.replace("\\'", "'"),
        };
        Ok((value, after_line(&text[end + 1..])))
    }

    /// Replaces `$NAME`, `${NAME}` and its forms with a default, an error or an alternative.
    pub fn fill_in(&mut self, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some(end) = closing_brace(after) else {
                    bail!("invalid interpolation format: a `${{` is not closed");
                };
                out.push_str(&self.braced(&after[..end])?);
                rest = &after[end + 1..];
            } else {
                let end = name_length(rest);
                if end == 0 {
                    out.push('$');
                    continue;
                }
                out.push_str(&self.or_blank(&rest[..end]));
                rest = &rest[end..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn braced(&mut self, text: &str) -> Result<String> {
        let (name, rest) = text.split_at(name_length(text));
        if name.is_empty() {
            bail!("invalid interpolation format: ${{{text}}}");
        }
        if rest.is_empty() {
            return Ok(self.or_blank(name));
        }
        let (blank_counts, rest) = match rest.strip_prefix(':') {
            Some(rest) => (false, rest),
            None => (true, rest),
        };
        let value = self.get(name).map(ToOwned::to_owned);
        let value = value.filter(|value| blank_counts || !value.is_empty());
        let mut parts = rest.chars();
        match (parts.next(), value) {
            (Some('-'), Some(value)) | (Some('?'), Some(value)) => Ok(value),
            (Some('-'), None) => self.fill_in(parts.as_str()),
            (Some('?'), None) => {
                let why = self.fill_in(parts.as_str())?;
                let colon = if why.is_empty() { "" } else { ": " };
                bail!("required variable {name} is missing a value{colon}{why}")
            }
            (Some('+'), Some(_)) => self.fill_in(parts.as_str()),
            (Some('+'), None) => Ok(String::new()),
            _ => bail!("invalid interpolation format: ${{{text}}}"),
        }
    }

    fn or_blank(&mut self, name: &str) -> String {
        match self.get(name) {
            Some(value) => value.to_owned(),
            None => {
                self.missing.insert(name.to_owned());
                String::new()
            }
        }
    }
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |at| &text[at..])
}

fn name_length(text: &str) -> usize {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let odd = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    match starts {
        true => text.find(odd).unwrap_or(text.len()),
        false => 0,
    }
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// The escapes of a double-quoted value. An escaped `$` becomes `$$`, which stays one.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(other @ ('\\' | '"')) => out.push(other),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Values {
        let mut values = Values::default();
        values.read(text).unwrap();
        values
    }

    /// Each pair is what Compose 2.26.1 made of it.
    #[test]
    fn values_are_read_as_compose_reads_them() {
        let table = [
            ("p$x$$y", "p$y"),
            (r#""q$x$$y \"in\" \n \t \\ \$W `x`""#, "q$y \"in\" \n \t \\ $W `x`"),
            (r"'lit$x \n a'", r"lit$x \n a"),
            ("abc # comment", "abc"),
            ("abc#nocomment", "abc#nocomment"),
            ("  spaced  ", "spaced"),
            ("${W}-${NOPE:-def}-${W:+alt}", "exp-def-alt"),
            ("\"multi\nline\"", "multi\nline"),
            ("'a' # trailing", "a"),
            ("", ""),
            ("a=b:c'd\"e", "a=b:c'd\"e"),
            (r"a\nb\$W", r"a\nb\exp"),
            (r"'it\'s'", "it's"),
            ("a\t#tabbed", "a\t#tabbed"),
            ("#x", "#x"),
            (r#""a\qb""#, r"a\qb"),
            ("$", "$"),
            ("$$$", "$$"),
            ("a$1b", "a$1b"),
            ("${W}x$W.y", "expxexp.y"),
            (r"x\", r"x\"),
            ("\"p@ss:w/rd%#1\"", "p@ss:w/rd%#1"),
            ("${E:-blank}${E-notblank}", "blank"),
            (r#""back\\$W""#, r"back\exp"),
            (r#""a\\nb""#, r"a\nb"),
            (r"'a\\b'", r"a\\b"),
        ];
        for (written, meant) in table {
            let values = read(&format!("export W=exp\nE=\nV={written}\nLAST=last\n"));
            assert_eq!(values.get("V"), Some(meant), "{written}");
            assert_eq!(values.get("LAST"), Some("last"), "{written}");
        }
    }

    #[test]
    fn the_shell_overrides_the_file() {
        let mut values = Values::new([("A".to_owned(), "shell".to_owned())]);
        values.read("A=file\nB=$A\nC: yaml\n").unwrap();
        assert_eq!(values.get("A"), Some("shell"));
        assert_eq!(values.get("B"), Some("shell"));
        assert_eq!(values.get("C"), Some("yaml"));
    }

    #[test]
    fn another_file_keeps_its_own_values() {
        let values = read("A=outer\n").read_beside("A=inner\nB=${A}-${C:-none}\n").unwrap();
        assert_eq!(values["A"], "inner");
        assert_eq!(values["B"], "outer-none");
    }

    #[test]
    fn errors_name_no_value() {
        for text in ["A B=secret", "A=\"secret", "A=${secret", "A!=secret", "=secret"] {
            let error = Values::default().read(text).unwrap_err().to_string();
            assert!(text == "A=${secret" || !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_required_variable_that_is_missing_is_an_error() {
        let mut values = read("BLANK=\n");
        assert!(values.fill_in("${BLANK:?is blank}").is_err());
        assert_eq!(values.fill_in("${BLANK?}").unwrap(), "");
        assert_eq!(values.fill_in("$NOPE").unwrap(), "");
        assert_eq!(values.missing().collect::<Vec<_>>(), ["NOPE"]);
    }
}
