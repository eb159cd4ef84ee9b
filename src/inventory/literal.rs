//! Python literals, as the values of ini inventories are read (`ast.literal_eval`): `5`, `True`,
//! `'text'`, `[1, 'a']`, `{'k': None}`. What is no literal is text.

use crate::source::{Map, Span, Text, Val};

/// Deeper nesting is no literal.
const DEEPEST: usize = 90;

/// The value of a Python literal whose texts were written at `span`; `None` for anything else.
/// Tuples and sets become lists. Numbers too big for us, and complex ones, are no literals.
pub(super) fn literal(text: &str, span: &Span) -> Option<Val> {
    let mut p = Parser { rest: text.trim_start_matches([' ', '\t']), span, depth: 0 };
    let value = p.expressions()?;
    p.space();
    (p.rest.is_empty() || p.rest.starts_with('#')).then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
    span: &'a Span,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\u{c}']);
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// One value, or a tuple without parentheses.
    fn expressions(&mut self) -> Option<Val> {
        let first = self.value()?;
        if !self.take(",") {
            return Some(first);
        }
        let mut items = vec![first];
        loop {
            self.space();
            if self.rest.is_empty() || self.rest.starts_with('#') {
                return Some(Val::list(items));
            }
            items.push(self.value()?);
            if !self.take(",") {
                return Some(Val::list(items));
            }
        }
    }

    fn value(&mut self) -> Option<Val> {
        self.space();
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = match self.rest.chars().next()? {
            '[' => self.items("[", "]").map(|(items, _)| Val::list(items)),
            '(' => self.items("(", ")").and_then(|(mut items, comma)| match items.len() {
                1 if !comma => items.pop(),
                _ => Some(Val::list(items)),
            }),
            '{' => self.braces(),
            '+' | '-' => self.signed(),
            '.' | '0'..='9' => self.number(),
            _ => self.string().or_else(|| self.word()),
        };
        self.depth -= 1;
        value
    }

    fn items(&mut self, open: &str, close: &str) -> Option<(Vec<Val>, bool)> {
        self.take(open);
        let (mut items, mut comma) = (vec![], false);
        while !self.take(close) {
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value()?);
            comma = self.take(",");
        }
        Some((items, comma))
    }

    fn braces(&mut self) -> Option<Val> {
        self.take("{");
        if self.take("}") {
            return Some(Val::map(Map::new()));
        }
        let first = self.value()?;
        if self.take(":") {
            let mut map = Map::new();
            map.insert(hashable(first)?, self.value()?);
            while !self.take("}") {
                if !self.take(",") {
                    return None;
                }
                if self.take("}") {
                    break;
                }
                let key = hashable(self.value()?)?;
                if !self.take(":") {
                    return None;
                }
                map.insert(key, self.value()?);
            }
            return Some(Val::map(map));
        }
        let mut items = vec![hashable(first)?];
        while !self.take("}") {
            if !self.take(",") {
                return None;
            }
            if self.take("}") {
                break;
            }
            let item = hashable(self.value()?)?;
            if !items.contains(&item) {
                items.push(item);
            }
        }
        Some(Val::list(items))
    }

    fn word(&mut self) -> Option<Val> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "None" => Some(Val::Null),
            "True" => Some(Val::Bool(true)),
            "False" => Some(Val::Bool(false)),
            "set" if self.take("(") && self.take(")") => Some(Val::list(vec![])),
            _ => None,
        }
    }

    fn signed(&mut self) -> Option<Val> {
        let negative = self.rest.starts_with('-');
        self.rest = &self.rest[1..];
        self.space();
        if !self.rest.starts_with(|c: char| c == '.' || c.is_ascii_digit()) {
            return None;
        }
        match (self.number()?, negative) {
            (Val::Int(i), true) => Some(Val::Int(-i)),
            (Val::Float(f), true) => Some(Val::Float(-f)),
            (number, _) => Some(number),
        }
    }

    fn number(&mut self) -> Option<Val> {
        let mut end = 0;
        let bytes = self.rest.as_bytes();
        let hex = bytes.len() > 1 && bytes[0] == b'0' && matches!(bytes[1] | 32, b'x' | b'o' | b'b');
        while let Some(c) = bytes.get(end) {
            let sign = matches!(c, b'+' | b'-') && !hex && end > 0 && bytes[end - 1] | 32 == b'e';
            if c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.') || sign {
                end += 1;
            } else {
                break;
            }
        }
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Underscores only between digits.
        let between = |i: usize| {
            i > 0
                && token.as_bytes()[i - 1].is_ascii_alphanumeric()
                && token.as_bytes().get(i + 1).is_some_and(u8::is_ascii_alphanumeric)
        };
        if !token.match_indices('_').all(|(i, _)| between(i)) {
            return None;
        }
        let digits = token.replace('_', "");
        if hex {
            let radix = match digits.as_bytes()[1] | 32 {
                b'x' => 16,
                b'o' => 8,
                _ => 2,
            };
            return i64::from_str_radix(&digits[2..], radix).ok().map(Val::Int);
        }
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            // 0644 is no number in Python 3, 00 is.
            let padded = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0');
            return if padded { None } else { digits.parse().ok().map(Val::Int) };
        }
        // Rust would also read `inf` and `nan`; these can't begin with a digit.
        digits.parse().ok().map(Val::Float)
    }

    /// Strings beside each other are one.
    fn string(&mut self) -> Option<Val> {
        let mut whole: Option<String> = None;
        let mut is_bytes = None;
        loop {
            self.space();
            let before = self.rest;
            let prefix_len = before.find(['\'', '"']).filter(|n| *n <= 2);
            let prefix = prefix_len.map(|n| before[..n].to_ascii_lowercase());
            let Some(prefix @ ("" | "r" | "b" | "u" | "br" | "rb")) = prefix.as_deref() else { break };
            if *is_bytes.get_or_insert(prefix.contains('b')) != prefix.contains('b') {
                return None;
            }
            self.rest = &before[prefix.len()..];
            let part = self.quoted(prefix.contains('r'))?;
            whole.get_or_insert_default().push_str(&part);
        }
        whole.map(|text| Val::Text(Text::template(text, self.span)))
    }

    fn quoted(&mut self, raw: bool) -> Option<String> {
        let one = &self.rest[..1];
        let triple = one.repeat(3);
        let close = if self.rest.starts_with(&triple) { triple.as_str() } else { one };
        let mut rest = &self.rest[close.len()..];
        let mut text = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(close) {
                self.rest = after;
                return Some(text);
            }
            let c = rest.chars().next()?;
            rest = &rest[c.len_utf8()..];
            if c != '\\' {
                text.push(c);
            } else if raw {
                text.push(c);
                let escaped = rest.chars().next()?;
                text.push(escaped);
                rest = &rest[escaped.len_utf8()..];
            } else {
                rest = unescape(rest, &mut text)?;
            }
        }
    }
}

/// Lists and maps can't be keys or members of sets.
fn hashable(val: Val) -> Option<Val> {
    (val.as_list().is_none() && val.as_map().is_none()).then_some(val)
}

/// Reads what follows a backslash; returns what is left. An unknown escape is kept as it is.
fn unescape<'a>(rest: &'a str, text: &mut String) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let after = &rest[c.len_utf8()..];
    let code = |digits: usize| {
        let hex = after.get(..digits).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, &after[digits..]))
    };
    let (c, after) = match c {
        'n' => ('\n', after),
        't' => ('\t', after),
        'r' => ('\r', after),
        'a' => ('\u{7}', after),
        'b' => ('\u{8}', after),
        'f' => ('\u{c}', after),
        'v' => ('\u{b}', after),
        '\\' | '\'' | '"' => (c, after),
        'x' => code(2)?,
        'u' => code(4)?,
        'U' => code(8)?,
        'N' => return None,
        '0'..='7' => {
            let len = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            (char::from_u32(u32::from_str_radix(&rest[..len], 8).ok()?)?, &rest[len..])
        }
        other => {
            text.push('\\');
            (other, after)
        }
    };
    text.push(c);
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;

    fn parse(text: &str) -> Option<Val> {
        literal(text, &Span::whole(&SourceFile::typed("<t>", String::new())))
    }

    #[test]
    fn literals_are_pythons() {
        let l = |items: &[i64]| Some(Val::from(items.to_vec()));
        for (text, want) in [
            ("5", Some(Val::Int(5))),
            ("-5", Some(Val::Int(-5))),
            ("1_000", Some(Val::Int(1000))),
            ("0x1F", Some(Val::Int(31))),
            ("0o17", Some(Val::Int(15))),
            ("1.5", Some(Val::Float(1.5))),
            (".5e1", Some(Val::Float(5.0))),
            ("1e-3", Some(Val::Float(0.001))),
            ("00", Some(Val::Int(0))),
            ("0644", None),
            ("1__0", None),
            ("10.0.0.1", None),
            ("99999999999999999999", None),
            ("True", Some(Val::Bool(true))),
            ("true", None),
            ("None", Some(Val::Null)),
            ("'a b'", Some(Val::from("a b"))),
            (r#""it's""#, Some(Val::from("it's"))),
            (r"'a\tb\x41\u00e9\101\d'", Some(Val::from("a\tbA\u{e9}A\\d"))),
            (r"r'a\t'", Some(Val::from("a\\t"))),
            ("b'x'", Some(Val::from("x"))),
            ("'a' 'b'", Some(Val::from("ab"))),
            ("'a' b'b'", None),
            ("'''a'b'''", Some(Val::from("a'b"))),
            ("''", Some(Val::from(""))),
            ("f'x'", None),
            ("'open", None),
            ("[1, 2]", l(&[1, 2])),
            ("[1, 2,]", l(&[1, 2])),
            ("(1, 2)", l(&[1, 2])),
            ("(1)", Some(Val::Int(1))),
            ("(1,)", l(&[1])),
            ("()", l(&[])),
            ("1, 2", l(&[1, 2])),
            ("{1, 2, 1}", l(&[1, 2])),
            ("set()", l(&[])),
            ("[1 2]", None),
            ("[1", None),
            ("5 # five", Some(Val::Int(5))),
            ("abc # d", None),
            ("abc", None),
            ("1 + 1", None),
            ("{[1]: 2}", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        let map = parse("{'a': [True], \"b\": None,}").unwrap();
        assert_eq!(map.get("a"), Some(&Val::from(vec![true])));
        assert_eq!(map.get("b"), Some(&Val::Null));
        assert_eq!(parse(&"[".repeat(100_000)), None);
    }
}
