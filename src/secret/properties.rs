//! Random secrets of awkward characters, encoded by other hands than [`forms`](super::forms): none
//! is seen, and nothing else is touched.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::forms::is_distinctive;
use super::{MASK, RedactingWriter, Redactor};

const SECRETS: u64 = 300;

/// Numbers that are random enough, and the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let chars: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| chars[self.below(chars.len())]).collect()
    }

    /// One line of 6 to 70 characters, a few of which every format quotes in its own way.
    fn secret(&mut self) -> String {
        const AWKWARD: &str = "abcXYZ019 '\"\\/$`!&<>%+=:;#{}[]()*?~^|,.-_@\té\u{df}\u{20ac}\u{1f511}";
        loop {
            let length = 6 + self.below(65);
            let secret = self.text(AWKWARD, length);
            if is_distinctive(&secret) && secret.trim() == secret {
                return secret;
            }
        }
    }

    /// Words in which no secret is.
    fn prose(&mut self) -> String {
        let length = self.below(30);
        self.text("klmnopq KLMNOP\n", length)
    }
}

/// A text and how it is written by somebody who is not us.
fn written(secret: &str) -> Vec<(&'static str, String)> {
    let percent = |keep: &str, upper: bool| -> String {
        let byte = |b: u8| match b.is_ascii_alphanumeric() || keep.as_bytes().contains(&b) {
            true => char::from(b).to_string(),
            false if upper => format!("%{b:02X}"),
            false => format!("%{b:02x}"),
        };
        secret.bytes().map(byte).collect()
    };
    let inner = |text: String| text[1..text.len() - 1].to_string();
    let json = inner(serde_json::to_string(secret).expect("JSON"));
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    vec![
        ("raw", secret.to_string()),
        ("base64", STANDARD.encode(secret)),
        ("base64 without padding", STANDARD_NO_PAD.encode(secret)),
        ("base64 for URLs", URL_SAFE.encode(secret)),
        ("base64 for URLs without padding", URL_SAFE_NO_PAD.encode(secret)),
        ("hex", hex.clone()),
        ("HEX", hex.to_uppercase()),
        ("percent, upper", percent("-_.~", true)),
        ("percent, lower", percent("-_.~", false)),
        ("percent of a path", percent("-_.~/", true)),
        ("form data", percent("*-._ ", true).replace(' ', "+")),
        ("JSON in JSON", inner(serde_json::to_string(&json).expect("JSON"))),
        ("YAML in single quotes", secret.replace('\'', "''")),
        ("shell in single quotes", secret.replace('\'', "'\\''")),
        ("SQL", secret.replace('\'', "''")),
        ("SQL identifier", secret.replace('"', "\"\"")),
        ("regex", fancy_regex::escape(secret).into_owned()),
        ("debug", inner(format!("{secret:?}"))),
        ("JSON", json),
    ]
}

#[test]
fn every_form_inside_any_text_is_hidden() {
    let mut dice = Dice(1);
    for _ in 0..SECRETS {
        let secret = dice.secret();
        let redactor = Redactor::new();
        redactor.register(&secret);
        for (form, text) in written(&secret) {
            let (before, after) = (dice.prose(), dice.prose());
            // What continues an encoded text isn't beside it.
            let shown = redactor.redact(&format!("{before}[{text}]{after}")).into_owned();
            assert_eq!(shown, format!("{before}[{MASK}]{after}"), "{form} of {secret:?}: {text}");
        }
    }
}

#[test]
fn base64_of_more_than_the_secret() {
    let mut dice = Dice(2);
    for _ in 0..SECRETS {
        let secret = dice.secret();
        let redactor = Redactor::new();
        redactor.register(&secret);
        for engine in [&STANDARD, &URL_SAFE] {
            let (before, after) = (dice.prose(), dice.prose());
            let encoded = engine.encode(format!("{before}{secret}{after}"));
            let shown = redactor.redact(&encoded).into_owned();
            assert_eq!(shown.matches(MASK).count(), 1, "{secret:?} in {encoded}: {shown}");
            // At most a character at either end holds some bits of it.
            let around = shown.len() - MASK.len();
            let most = (before.len() + after.len()).div_ceil(3) * 4 + 8;
            assert!(around <= most, "{secret:?} in {encoded}: {shown}");
        }
    }
}

#[test]
fn base64_in_lines() {
    let mut dice = Dice(3);
    for _ in 0..SECRETS {
        let length = 60 + dice.below(200);
        let secret = dice.text("abcdefghijkXYZ0123456789", length);
        let redactor = Redactor::new();
        redactor.register(&secret);
        let encoded = STANDARD.encode(&secret);
        for width in [64, 76] {
            let lines: Vec<&str> =
                encoded.as_bytes().chunks(width).map(|c| std::str::from_utf8(c).expect("ASCII")).collect();
            for line in redactor.redact(&lines.join("\n")).lines() {
                assert!(line.trim_end_matches('=').len() <= 8, "{line} of {secret}");
            }
        }
    }
}

#[test]
fn lines_of_a_longer_secret() {
    let mut dice = Dice(4);
    for _ in 0..SECRETS {
        let lines: Vec<String> = (0..2 + dice.below(5)).map(|_| dice.secret()).collect();
        let redactor = Redactor::new();
        redactor.register(&lines.join("\n"));
        let indented: String = lines.iter().map(|line| format!("    {line}\n")).collect();
        assert_eq!(redactor.redact(&indented), format!("    {MASK}\n").repeat(lines.len()), "{lines:?}");
    }
}

#[test]
fn what_holds_no_secret_is_not_touched() {
    let mut dice = Dice(5);
    let redactor = Redactor::new();
    let secrets: Vec<String> = (0..SECRETS).map(|_| dice.secret()).collect();
    for secret in &secrets {
        redactor.register(secret);
    }
    for secret in &secrets {
        let text = dice.text("klmnopq KLMNOP\n%\\\"'/é", 300);
        assert!(matches!(redactor.redact(&text), Cow::Borrowed(same) if same == text));
        // All but its last character is not the secret.
        let mut chars = secret.chars();
        chars.next_back();
        let part = format!("kk{}kk", chars.as_str());
        let whole_inside = secrets.iter().any(|other| part.contains(other.as_str()));
        assert!(whole_inside || redactor.redact(&part) == part, "{part:?}");
    }
}

#[test]
fn pieces_of_any_size_give_what_the_whole_gives() {
    let mut dice = Dice(6);
    for _ in 0..SECRETS {
        let redactor = Redactor::new();
        let mut text = String::new();
        for _ in 0..3 {
            let secret = dice.secret();
            redactor.register(&secret);
            let all = written(&secret);
            text += &format!("{}[{}]", dice.prose(), all[dice.below(all.len())].1);
        }
        let mut writer = RedactingWriter::new(redactor.clone(), Vec::new());
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((1 + dice.below(9)).min(rest.len()));
            writer.write_all(piece).expect("memory");
            rest = more;
        }
        let pieces = String::from_utf8(writer.finish().expect("memory")).expect("text");
        assert_eq!(pieces, redactor.redact(&text), "{text:?}");
    }
}
