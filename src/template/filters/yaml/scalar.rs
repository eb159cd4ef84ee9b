//! The style of a text: plain, 'single' or "double", and where PyYAML breaks its lines.

use std::fmt::Write;

use crate::source::Kind;
use crate::source::yaml::scalar;

/// Where a text is written.
pub struct Place {
    pub indent: usize,
    pub column: usize,
    pub width: usize,
    pub key: bool,
    pub flow: bool,
}

struct Analysis {
    plain_in_block: bool,
    plain_in_flow: bool,
    single: bool,
}

pub fn write(text: &str, place: &Place) -> String {
    let analysis = analyse(text);
    let multiline = text.contains(['\n', '\u{85}', '\u{2028}', '\u{2029}']);
    let plain_allowed = if place.flow { analysis.plain_in_flow } else { analysis.plain_in_block };
    if plain_allowed && !text.is_empty() && !multiline && reads_as_text(text) {
        return plain(text, place);
    }
    if analysis.single && !(place.key && multiline) {
        return single(text, place);
    }
    double(text, place)
}

/// Whether the text, written plainly, is read as a text again.
fn reads_as_text(text: &str) -> bool {
    !matches!(text, "=" | "<<")
        && matches!(scalar::resolve(text), Ok(Kind::Text { .. }))
        && scalar::timestamp(text).is_none()
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// PyYAML's `analyze_scalar`.
fn analyse(text: &str) -> Analysis {
    let chars: Vec<char> = text.chars().collect();
    let (mut block_indicators, mut flow_indicators) = (false, false);
    let (mut line_breaks, mut special) = (false, false);
    let mut space_break = false;
    let space_at = |i: usize| chars.get(i) == Some(&' ');
    let break_at = |i: usize| chars.get(i).is_some_and(|c| is_break(*c));
    if text.starts_with("---") || text.starts_with("...") {
        block_indicators = true;
        flow_indicators = true;
    }
    let blank = |c: Option<&char>| c.is_none_or(|c| " \t\r\n\u{0}\u{85}\u{2028}\u{2029}".contains(*c));
    let mut after_blank = true;
    for (i, &c) in chars.iter().enumerate() {
        let before_blank = blank(chars.get(i + 1));
        if i == 0 {
            if "#,[]{}&*!|>'\"%@`".contains(c) {
                flow_indicators = true;
                block_indicators = true;
            }
            if "?:".contains(c) {
                flow_indicators = true;
                block_indicators |= before_blank;
            }
            if c == '-' && before_blank {
                flow_indicators = true;
                block_indicators = true;
            }
        } else {
            if ",?[]{}".contains(c) {
                flow_indicators = true;
            }
            if c == ':' {
                flow_indicators = true;
                block_indicators |= before_blank;
            }
            if c == '#' && after_blank {
                flow_indicators = true;
                block_indicators = true;
            }
        }
        line_breaks |= is_break(c);
        let printable = c == '\n'
            || (' '..='~').contains(&c)
            || c == '\u{85}'
            || ('\u{a0}'..='\u{d7ff}').contains(&c)
            || ('\u{e000}'..='\u{fffd}').contains(&c) && c != '\u{feff}'
            || c >= '\u{10000}';
        special |= !printable;
        if c == ' ' && break_at(i + 1) {
            space_break = true;
        }
        after_blank = blank(Some(&c));
    }
    let edge_space = space_at(0) || text.ends_with(' ') || break_at(0) || text.ends_with(is_break);
    let plain = !edge_space && !line_breaks && !special;
    Analysis {
        plain_in_block: plain && !block_indicators && !text.is_empty(),
        plain_in_flow: plain && !flow_indicators && !text.is_empty(),
        single: !special && !space_break,
    }
}

/// Folds at single spaces once a line is full, as PyYAML does.
fn plain(text: &str, place: &Place) -> String {
    if place.key {
        return text.to_string();
    }
    let mut out = String::new();
    let mut column = place.column;
    let words: Vec<&str> = text.split(' ').collect();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            // A break stands only for exactly one space.
            let lone = !word.is_empty() && !words[i - 1].is_empty();
            if lone && column > place.width {
                out.push('\n');
                out.push_str(&" ".repeat(place.indent));
                column = place.indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += word.chars().count();
    }
    out
}

fn single(text: &str, place: &Place) -> String {
    let mut out = String::from("'");
    let mut column = place.column + 1;
    let chars: Vec<char> = text.chars().collect();
    let mut start = 0;
    let run_end = |from: usize, f: &dyn Fn(char) -> bool| {
        chars[from..].iter().position(|c| !f(*c)).map_or(chars.len(), |n| from + n)
    };
    while start < chars.len() {
        let c = chars[start];
        if c == ' ' {
            let end = run_end(start, &|c| c == ' ');
            let inside = start != 0 && end != chars.len();
            if end == start + 1 && column > place.width && inside && !place.key {
                out.push('\n');
                out.push_str(&" ".repeat(place.indent));
                column = place.indent;
            } else {
                out.extend(&chars[start..end]);
                column += end - start;
            }
            start = end;
        } else if is_break(c) {
            let end = run_end(start, &is_break);
            if c == '\n' {
                out.push('\n');
            }
            for c in &chars[start..end] {
                out.push(*c);
            }
            out.push_str(&" ".repeat(place.indent));
            column = place.indent;
            start = end;
        } else {
            let end = run_end(start, &|c| c != ' ' && !is_break(c));
            for c in &chars[start..end] {
                out.push(*c);
                if *c == '\'' {
                    out.push('\'');
                }
            }
            column += end - start;
            start = end;
        }
    }
    out.push('\'');
    out
}

fn double(text: &str, place: &Place) -> String {
    let mut out = String::from("\"");
    let mut column = place.column + 1;
    let chars: Vec<char> = text.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        let before = out.len();
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\0' => out.push_str("\\0"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\x1b' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            '\u{feff}' => out.push_str("\\uFEFF"),
            c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) => {
                _ = write!(out, "\\x{:02X}", c as u32)
            }
            c => out.push(c),
        }
        column += out[before..].chars().count();
        let inside = i > 0 && i + 1 < chars.len();
        if inside && !place.key && c == ' ' && column > place.width {
            // The break itself stands for nothing here: a backslash ends the line.
            out.pop();
            out.push_str("\\\n");
            out.push_str(&" ".repeat(place.indent));
            out.push_str("\\ ");
            column = place.indent + 2;
        }
    }
    out.push('"');
    out
}
