//! Literals of texts, by Python's rules and not by the parser's.

/// The text at the same offsets with what the parser doesn't take: escapes made harmless (literals
/// are read again from the original by our own rules, so that `'C:\users'` is not its affair), and
/// without the sign of `+1`.
pub fn mask(text: &str) -> Option<String> {
    if !text.contains(['\\', '+']) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\'' | '"' | '\\')) => {
                out.push(c);
                out.extend(chars.next());
            }
            ('\\', _) => out.push('_'),
            ('+', Some(next)) if (next.is_alphanumeric() || *next == '(') && takes_operand(&out) => {
                out.push(' ')
            }
            _ => out.push(c),
        }
    }
    Some(out)
}

/// Whether an operand follows what was read, so that a `+` there is only a sign.
fn takes_operand(before: &str) -> bool {
    let before = before.trim_end();
    before.ends_with(['(', '[', ',', ':', '=', '<', '>', '*', '/', '~', '+', '-']) && !before.ends_with("[[")
}

/// The literal (or several, which join) as it is written, quotes and all.
///
/// # Errors
/// An escape that Python doesn't take.
pub fn read(written: &str, keep_backslashes: bool) -> Result<String, String> {
    let mut out = String::with_capacity(written.len());
    let mut chars = written.chars();
    while let Some(quote) = chars.by_ref().find(|c| matches!(c, '\'' | '"')) {
        let mut raw = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    raw.push(c);
                    raw.extend(chars.next());
                }
                c if c == quote => break,
                c => raw.push(c),
            }
        }
        if keep_backslashes {
            out.push_str(&raw);
        } else {
            out.push_str(&unescape(&raw)?);
        }
    }
    Ok(out)
}

/// Python's escapes of string literals.
fn unescape(raw: &str) -> Result<String, String> {
    if !raw.contains('\\') {
        return Ok(raw.to_string());
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        rest = &rest[slash + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        rest = &rest[c.len_utf8()..];
        let hex = |rest: &str, n: usize| {
            rest.get(..n)
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32)
                .ok_or_else(|| format!("'\\{c}' needs {n} hexadecimal digits of a character"))
        };
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            'x' | 'u' | 'U' => {
                let n = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                out.push(hex(rest, n)?);
                rest = &rest[n..];
            }
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let value = rest[..more].bytes().fold(c as u32 - 48, |v, b| v * 8 + u32::from(b - b'0'));
                out.push(char::from_u32(value).unwrap_or('\u{fffd}'));
                rest = &rest[more..];
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}
