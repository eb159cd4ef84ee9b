//! Every form in which a secret can show up in output: raw, quoted for some reader, encoded.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::common::is_common;

/// Characters below which a value, line or encoding is too short to be replaced in every text.
pub const MIN_LENGTH: usize = 6;

/// Digits-only values are dates, ports and sizes below this length.
const MIN_DIGITS: usize = 8;

/// Whether a value can be replaced wherever it stands: not short, not a number, not a common word, and
/// nothing that is public by itself.
pub fn is_distinctive(value: &str) -> bool {
    let length = value.chars().count();
    let number = || value.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | ':'));
    let is_short = length < MIN_LENGTH || (length < MIN_DIGITS && number());
    !is_short && !is_common(value) && !is_public(value)
}

/// Public keys of age, one or several: they may stand where secrets do (a `.env` key), and are told to
/// everybody.
pub fn is_public(value: &str) -> bool {
    value.starts_with("age1")
        && value
            .split([',', ' ', '\n'])
            .all(|key| key.is_empty() || key.parse::<age::x25519::Recipient>().is_ok())
}

/// Every form of `value`, each at least [`MIN_LENGTH`] bytes; none when it isn't distinctive.
pub fn forms(value: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let whole = value.trim_matches(['\n', '\r']);
    if is_distinctive(whole) {
        one_text(whole, &mut all);
    }
    // A value of several lines is printed indented, prefixed or cut: each line counts alone. The
    // frame of a PEM or age file is no secret.
    if whole.contains('\n') {
        for line in whole.lines().map(str::trim) {
            if is_distinctive(line) && !line.starts_with("-----") {
                one_text(line, &mut all);
            }
        }
    }
    all.retain(|form| form.len() >= MIN_LENGTH);
    all
}

fn one_text(text: &str, all: &mut BTreeSet<String>) {
    let mut quoted = BTreeSet::from([text.to_string()]);
    if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        quoted.extend(quotings(text));
        // Each of them may stand inside JSON, and JSON inside JSON.
        for _ in 0..2 {
            let inside: Vec<String> = quoted.iter().flat_map(|q| json(q)).collect();
            quoted.extend(inside);
        }
    }
    all.extend(quoted);
    all.extend(base64_cores(text.as_bytes()));
    all.extend(hex(text.as_bytes()));
}

/// As each reader of secrets wants it quoted, without the outer quotes.
fn quotings(text: &str) -> Vec<String> {
    let backslash = |special: &dyn Fn(char) -> bool| {
        let mut out = String::new();
        for c in text.chars() {
            if special(c) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    let mut all = vec![
        // SQL, YAML single quotes.
        text.replace('\'', "''"),
        // Identifiers in SQL, CSV.
        text.replace('"', "\"\""),
        // Shell single quotes, in the three ways to leave them.
        text.replace('\'', "'\\''"),
        text.replace('\'', "'\"'\"'"),
        text.replace('\'', "\\'"),
        // Shell and `.env` double quotes; `$` is doubled in Compose files.
        backslash(&|c| matches!(c, '$' | '`' | '"' | '\\')),
        backslash(&|c| matches!(c, '$' | '`' | '"' | '\\' | '!')),
        backslash(&|c| matches!(c, '$' | '"' | '\\')),
        text.replace('$', "$$"),
        text.replace('$', "\\$"),
        // SQL E'', libpq connection strings, Python and shell $'' quotes.
        backslash(&|c| matches!(c, '\\' | '\'')),
        text.replace('\\', "\\\\").replace('\'', "''"),
        // printf %q, Python's re.escape, Perl's quotemeta.
        backslash(&|c| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_'),
        backslash(&|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./:=@%+,".contains(c)),
        backslash(&|c| "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c)),
        // sed and grep basic expressions, and the regex crates.
        backslash(&|c| "*[]^$\\.".contains(c)),
        backslash(&|c| "*[]^$\\./".contains(c)),
        backslash(&|c| "*[]^$\\./&".contains(c)),
        fancy_regex::escape(text).into_owned(),
        // Rust's and other languages' debug quotes.
        text.escape_debug().to_string(),
        text.escape_default().to_string(),
        control_escapes(text),
    ];
    all.extend(yaml_double(text));
    all.extend(markup(text));
    all.extend(url(text));
    all
}

/// `$'…'` and C: control characters by letter.
fn control_escapes(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{1b}' => out.push_str("\\E"),
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\{:03o}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

fn json(text: &str) -> Vec<String> {
    let plain = |b: u8| (b' '..=b'~').contains(&b) && !b"\"\\/<>&'".contains(&b);
    if text.bytes().all(plain) {
        return Vec::new();
    }
    let escape = |ascii: bool, html: bool, slash: bool, upper: bool| {
        let mut out = String::new();
        let unicode = |out: &mut String, unit: u32| {
            out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") })
        };
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '/' if slash => out.push_str("\\/"),
                '<' | '>' | '&' | '\'' if html => unicode(&mut out, c as u32),
                c if (c as u32) < 0x20 => unicode(&mut out, c as u32),
                c if ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        unicode(&mut out, u32::from(*unit));
                    }
                }
                c => out.push(c),
            }
        }
        out
    };
    let mut all = vec![escape(false, false, false, false)];
    if text.contains('/') {
        all.push(escape(false, false, true, false));
        all.push(escape(true, false, true, false));
    }
    if text.contains(['<', '>', '&', '\'']) {
        // Go escapes `<>&` but leaves `'`.
        all.push(escape(false, true, false, false));
        all.push(escape(false, true, false, false).replace("\\u0027", "'"));
    }
    if text.chars().any(|c| !c.is_ascii() || c.is_control()) {
        all.push(escape(true, false, false, false));
        all.push(escape(true, false, false, true));
    }
    all
}

fn yaml_double(text: &str) -> Vec<String> {
    let escape = |upper: bool| {
        let mut out = String::new();
        for c in text.chars() {
            let code = c as u32;
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0' => out.push_str("\\0"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                '\u{1b}' => out.push_str("\\e"),
                ' '..='~' => out.push(c),
                _ if code < 0x100 => out.push_str(&hex_digits(upper, "\\x", 2, code)),
                _ if code < 0x10000 => out.push_str(&hex_digits(upper, "\\u", 4, code)),
                _ => out.push_str(&hex_digits(upper, "\\U", 8, code)),
            }
        }
        out
    };
    vec![escape(true), escape(false)]
}

fn hex_digits(upper: bool, prefix: &str, width: usize, code: u32) -> String {
    if upper { format!("{prefix}{code:0width$X}") } else { format!("{prefix}{code:0width$x}") }
}

/// XML and HTML, in the entity names that common writers use.
fn markup(text: &str) -> Vec<String> {
    let least = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut all = vec![least.replace('"', "&quot;"), least.clone()];
    for (double, single) in
        [("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&quot;", "&apos;"), ("&#34;", "&#39;"), ("&#34;", "'")]
    {
        let with = least.replace('"', double).replace('\'', single);
        all.push(with.replace('/', "&#x2f;"));
        all.push(with);
    }
    all
}

/// Percent encoding, by the sets of characters that common writers leave alone.
fn url(text: &str) -> Vec<String> {
    const UNRESERVED: &str = "-_.~";
    const KEPT: &[&str] = &[
        UNRESERVED,
        // Form data.
        "*-._",
        // encodeURIComponent.
        "-_.!~*'()",
        // Python's quote, and paths.
        "-_.~/",
        // encodeURI.
        "-_.!~*'();/?:@&=+$,#",
        // The user part, query and path of Go's and Rust's URL types.
        "-_.~$&+,;=",
        "-_.~$&+,/:;=@",
        "-_.~!$&'()*+,;=",
        "-_.~!$&'()*+,;=:",
    ];
    let special: BTreeSet<u8> = text.bytes().filter(|b| !b.is_ascii_alphanumeric()).collect();
    let encoded = |kept: &&str| special.iter().copied().filter(|b| !kept.as_bytes().contains(b)).collect();
    // Many of them leave the same of these alone.
    let sets: BTreeSet<Vec<u8>> = KEPT.iter().map(encoded).collect();
    let mut all = Vec::new();
    for set in &sets {
        for upper in [true, false] {
            let mut out = String::with_capacity(3 * text.len());
            for (at, c) in text.char_indices() {
                if c.is_ascii() && !set.contains(&(c as u8)) {
                    out.push(c);
                    continue;
                }
                for byte in &text.as_bytes()[at..at + c.len_utf8()] {
                    out.push('%');
                    push_hex(&mut out, *byte, upper);
                }
            }
            if text.contains(' ') {
                all.push(out.replace("%20", "+"));
            }
            all.push(out);
        }
    }
    all
}

/// The characters of base64 that depend on nothing but `bytes`, for each of the three places they
/// can have in a longer encoded text (`user:password`), and whole with and without padding.
fn base64_cores(bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for engine in [STANDARD, URL_SAFE] {
        for before in 0..3 {
            let mut padded = vec![0; before];
            padded.extend_from_slice(bytes);
            let whole_groups = padded.len() % 3;
            // What is in front decides the first characters, what follows the last one.
            let first = [0, 2, 3][before];
            let end = padded.len() / 3 * 4 + [0, 1, 2][whole_groups];
            let encoded = engine.encode(&padded);
            all.push(encoded[first.min(end)..end].to_string());
            if before == 0 {
                all.push(encoded.trim_end_matches('=').to_string());
                // `base64` and PEM begin a new line after so many characters.
                for width in [64, 76] {
                    let lines = encoded.as_bytes().chunks(width).filter(|_| encoded.len() > width);
                    all.extend(lines.map(|line| String::from_utf8_lossy(line).into_owned()));
                }
                all.push(encoded);
            }
        }
    }
    all
}

fn hex(bytes: &[u8]) -> Vec<String> {
    let digits = |before: &str, upper: bool| {
        let mut out = String::with_capacity(bytes.len() * (before.len() + 2));
        for byte in bytes {
            out.push_str(before);
            push_hex(&mut out, *byte, upper);
        }
        out
    };
    vec![digits("", true), digits("", false), digits("\\x", false)]
}

fn push_hex(out: &mut String, byte: u8, upper: bool) {
    let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    out.push(char::from(digits[usize::from(byte >> 4)]));
    out.push(char::from(digits[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_distinctive() {
        for (value, expected) in [
            ("hunter2", true),
            ("short", false),
            ("123456", false),
            ("12345678", true),
            ("Password", false),
            ("127.0.0", false),
            ("p\u{e4}\u{df}wo\u{301}", true),
        ] {
            assert_eq!(is_distinctive(value), expected, "{value}");
        }
    }

    #[test]
    fn a_public_key_is_no_secret() {
        let key = age::x25519::Identity::generate().to_public().to_string();
        assert!(forms(&key).is_empty() && forms(&format!("{key},{key}")).is_empty());
        assert!(!forms(&format!("{key}x")).is_empty() && !forms("age1 is a password").is_empty());
    }

    /// What real programs print for this value, as they printed it.
    #[test]
    fn forms_of_a_nasty_value() {
        let nasty = "p@$s'w\"o/r\\d &<é> 1";
        let all = forms(nasty);
        for expected in [
            nasty,
            // python: shlex.quote, json.dumps, json.dumps(ensure_ascii=False), urllib quote, quote_plus
            r#"p@$s'"'"'w"o/r\d &<é> 1"#,
            r#"p@$s'w\"o/r\\d &<\u00e9> 1"#,
            r#"p@$s'w\"o/r\\d &<é> 1"#,
            "p%40%24s%27w%22o/r%5Cd%20%26%3C%C3%A9%3E%201",
            "p%40%24s%27w%22o%2Fr%5Cd+%26%3C%C3%A9%3E+1",
            // javascript: encodeURIComponent
            "p%40%24s'w%22o%2Fr%5Cd%20%26%3C%C3%A9%3E%201",
            // go: json.Marshal
            r#"p@$s'w\"o/r\\d \u0026\u003cé\u003e 1"#,
            // php: json_encode
            r#"p@$s'w\"o\/r\\d &<\u00e9> 1"#,
            // postgres: quote_literal, and standard_conforming_strings
            r#"p@$s''w"o/r\\d &<é> 1"#,
            r#"p@$s''w"o/r\d &<é> 1"#,
            // compose file
            r#"p@$$s'w"o/r\d &<é> 1"#,
            // .env double quotes
            r#"p@\$s'w\"o/r\\d &<é> 1"#,
            // python: html.escape
            "p@$s&#x27;w&quot;o/r\\d &amp;&lt;é&gt; 1",
            // yaml.dump, double-quoted
            r#"p@$s'w\"o/r\\d &<\xE9> 1"#,
        ] {
            assert!(all.contains(expected), "{expected}");
        }
        // The .env form inside JSON (a diff in an event), and JSON inside JSON.
        assert!(all.contains(r#"p@\\$s'w\\\"o/r\\\\d &<é> 1"#));
        assert!(all.contains(r#"p@$s'w\\\"o/r\\\\d &<\\u00e9> 1"#));
    }

    #[test]
    fn base64_at_every_offset() {
        let secret = "hunter2-hunter3";
        let all = forms(secret);
        for before in ["", "a", "ab", "user:", "x:y:"] {
            for after in ["", "\n", "zz", "@host"] {
                let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
                let found = all.iter().any(|f| encoded.contains(f.as_str()));
                assert!(found, "{before}…{after}: {encoded}");
            }
        }
    }

    #[test]
    fn lines_of_a_key_but_not_its_frame() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\r\n\nkqhkiG9w0BAQEF\n-----END KEY-----\n";
        let all = forms(key);
        assert!(all.contains("MIIEvQIBADANBg") && all.contains("kqhkiG9w0BAQEF"));
        assert!(!all.contains("-----BEGIN KEY-----"));
        assert!(all.contains(&key.trim_end().replace('\n', "\\n").replace('\r', "\\r")));
    }

    #[test]
    fn few_for_a_generated_one() {
        assert!(forms("Zk3T9qLw8mVx2Rb7Yc5NpD4sHf6GjKaQ").len() <= 10);
        assert!(forms("yes").is_empty());
    }
}
