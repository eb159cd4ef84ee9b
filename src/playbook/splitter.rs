//! `key=value` arguments in one string, split as Ansible's `parsing/splitter.py` does: quotes and
//! Jinja blocks stay whole, backslash escapes are decoded.

use super::FreeForm;

/// What a module's text argument holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyValues {
    /// In the order written.
    pub pairs: Vec<(String, String)>,
    /// Words that are no pair, joined; the argument `_raw_params`.
    pub raw: Option<String>,
}

/// The arguments that command-like modules take beside their command line.
const COMMAND_OPTIONS: [&str; 8] =
    ["creates", "removes", "chdir", "executable", "warn", "stdin", "stdin_add_newline", "strip_empty_ends"];

/// Parts a module's text into arguments. For [`FreeForm::Command`] only the options of commands
/// are pairs, everything else stays part of the command line.
///
/// # Errors
/// Quotes or a Jinja block that are never closed.
pub fn key_values(text: &str, form: FreeForm) -> Result<KeyValues, &'static str> {
    let mut found = KeyValues::default();
    let mut raw: Vec<String> = Vec::new();
    for word in split(text)? {
        let decoded = decode_escapes(&word);
        if !decoded.contains('=') {
            raw.push(word);
            continue;
        }
        // `=x` is no pair, and neither is `a\=b`.
        let at = decoded
            .char_indices()
            .skip(1)
            .find(|(at, c)| *c == '=' && !decoded[..*at].ends_with('\\'))
            .map(|(at, _)| at);
        match at {
            None => raw.push(decoded.replace("\\=", "=")),
            Some(at) => {
                let key = &decoded[..at];
                if form == FreeForm::Command && !COMMAND_OPTIONS.contains(&key) {
                    raw.push(word);
                } else {
                    found.pairs.push((key.trim().to_string(), unquote(decoded[at + 1..].trim()).to_string()));
                }
            }
        }
    }
    if !raw.is_empty() {
        found.raw = Some(join(&raw));
    }
    Ok(found)
}

/// The first word of `copy src=a dest=b`, and the rest.
///
/// # Errors
/// As [`key_values`].
pub fn module_and_rest(text: &str) -> Result<(String, String), &'static str> {
    let words = split(text)?;
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    Ok((first.trim().to_string(), rest.join(" ")))
}

/// Words as they stand in the text, with the blanks that follow them where [`join`] needs them.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words: Vec<String> = Vec::new();
    if text.is_empty() {
        return Ok(words);
    }
    let mut quote: Option<char> = None;
    // Open `{{`, `{%` and `{#`.
    let mut depth = [0usize; 3];
    const BLOCKS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];
    let last_line = text.matches('\n').count();
    for (line_number, line) in text.split('\n').enumerate() {
        let mut continued = false;
        for (index, token) in line.split(' ').enumerate() {
            if token.is_empty() && index != 0 {
                append(&mut words, " ");
                continue;
            }
            if token == "\\" && quote.is_none() {
                continued = true;
                continue;
            }
            let was_quoted = quote.is_some();
            let was_in_block = depth.iter().any(|d| *d > 0);
            quote = quote_after(token, quote);
            let mut placed = false;
            if quote.is_some() && !was_quoted && !was_in_block {
                words.push(token.to_string());
                placed = true;
            } else if was_in_block || quote.is_some() || was_quoted {
                let spacer = if index == 0 { "" } else { " " };
                append(&mut words, &format!("{spacer}{token}"));
                placed = true;
            }
            for (kind, (open, close)) in BLOCKS.iter().enumerate() {
                let before = depth[kind];
                depth[kind] =
                    (before + token.matches(open).count()).saturating_sub(token.matches(close).count());
                if depth[kind] != before && !placed {
                    words.push(token.to_string());
                    placed = true;
                }
            }
            if !placed && quote.is_none() && depth == [0; 3] && !token.is_empty() {
                words.push(token.to_string());
            }
        }
        if line_number != last_line && !continued {
            append(&mut words, "\n");
        }
    }
    match (quote, depth) {
        (None, [0, 0, 0]) => Ok(words),
        (Some(_), _) => Err("a quote in these arguments is never closed"),
        _ => Err("a Jinja block in these arguments is never closed"),
    }
}

fn append(words: &mut Vec<String>, text: &str) {
    match words.last_mut() {
        Some(last) => last.push_str(text),
        None => words.push(text.to_string()),
    }
}

/// The quote that is open after `token`.
fn quote_after(token: &str, mut open: Option<char>) -> Option<char> {
    let mut before = None;
    for c in token.chars() {
        if matches!(c, '"' | '\'') && before != Some('\\') {
            match open {
                Some(quote) if quote == c => open = None,
                Some(_) => {}
                None => open = Some(c),
            }
        }
        before = Some(c);
    }
    open
}

fn join(words: &[String]) -> String {
    let mut joined = String::new();
    for word in words {
        if !joined.is_empty() && !joined.ends_with('\n') {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

fn unquote(text: &str) -> &str {
    let mut chars = text.chars();
    match (chars.next(), chars.next_back()) {
        (Some(first @ ('"' | '\'')), Some(last)) if first == last && !chars.as_str().ends_with('\\') => {
            chars.as_str()
        }
        _ => text,
    }
}

/// `\n`, `\x41`, `\u0041`, … as Python's `unicode-escape`. Characters by name (`\N{…}`) stay.
fn decode_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match escape(rest) {
            Some((c, width)) => {
                out.push(c);
                rest = &rest[width..];
            }
            None => {
                out.push('\\');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character of an escape at the start of `text`, and how many bytes it takes.
fn escape(text: &str) -> Option<(char, usize)> {
    let hex = |width: usize| {
        let digits = text.get(2..2 + width).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?).map(|c| (c, 2 + width))
    };
    Some(match text.as_bytes().get(1)? {
        b'U' => return hex(8),
        b'u' => return hex(4),
        b'x' => return hex(2),
        b'\\' => ('\\', 2),
        b'\'' => ('\'', 2),
        b'"' => ('"', 2),
        b'a' => ('\x07', 2),
        b'b' => ('\x08', 2),
        b'f' => ('\x0c', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'v' => ('\x0b', 2),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, form: FreeForm) -> String {
        match key_values(text, form) {
            Ok(found) => {
                let pairs: Vec<_> = found.pairs.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
                format!("{} | {:?}", pairs.join(" "), found.raw.unwrap_or_default())
            }
            Err(why) => format!("error: {why}"),
        }
    }

    /// Expectations are what Ansible 2.19's `parse_kv` gives.
    #[test]
    fn words_are_parted_as_ansible_parts_them() {
        for (text, wanted) in [
            ("src=a dest=b", r#"src="a" dest="b" | """#),
            ("a=b c='foo bar' d=\"x y\"", r#"a="b" c="foo bar" d="x y" | """#),
            ("msg='it\\'s' x=1", r#"msg="it's" x="1" | """#),
            ("path={{ a b }}/c mode=0644", r#"path="{{ a b }}/c" mode="0644" | """#),
            ("line='a={{ x | default(\"y z\") }}'", r#"line="a={{ x | default(\"y z\") }}" | """#),
            ("flush_handlers", r#" | "flush_handlers""#),
            ("a=b\nc=d", r#"a="b" c="d" | """#),
            ("a=one\\ntwo", "a=\"one\\ntwo\" | \"\""),
            ("a\\=b", r#" | "a=b""#),
            ("=b", r#" | "=b""#),
            ("a=", r#"a="" | """#),
            ("a=b=c", r#"a="b=c" | """#),
            ("", r#" | """#),
            ("{% if x %}a=b{% endif %} c=d", r#"{% if x %}a="b{% endif %}" c="d" | """#),
            ("a='b", "error: a quote in these arguments is never closed"),
            ("a={{ b", "error: a Jinja block in these arguments is never closed"),
            ("é=ü", r#"é="ü" | """#),
        ] {
            assert_eq!(shown(text, FreeForm::Words), wanted, "{text}");
        }
    }

    #[test]
    fn command_lines_stay_as_they_are_written() {
        for (text, wanted) in [
            ("echo a=b  'c d' chdir=/tmp", r#"chdir="/tmp" | "echo a=b  'c d'""#),
            ("creates=/x  rm -rf \"/a b\"", r#"creates="/x" | "rm -rf \"/a b\"""#),
            ("a \\\n  b", r#" | "a  b""#),
            ("cat <<E\nx\nE", " | \"cat <<E\\nx\\nE\""),
            ("echo {{ a }} {{ b }}", r#" | "echo {{ a }} {{ b }}""#),
            ("printf 'a\\n'", r#" | "printf 'a\\n'""#),
        ] {
            assert_eq!(shown(text, FreeForm::Command), wanted, "{text}");
        }
    }

    #[test]
    fn the_module_is_the_first_word() {
        assert_eq!(
            module_and_rest("copy src=a dest='b c'").unwrap(),
            ("copy".into(), "src=a dest='b c'".into())
        );
        assert_eq!(module_and_rest("ping").unwrap(), ("ping".into(), String::new()));
        assert_eq!(module_and_rest("").unwrap(), (String::new(), String::new()));
    }
}
