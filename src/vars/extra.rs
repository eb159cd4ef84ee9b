//! `-e`: `key=value`, YAML or JSON, and `@file`.

use std::path::Path;
use std::sync::Arc;

use super::Vault;
use super::files::{read, variables};
use crate::inventory::names::check_variable;
use crate::secret::names::is_secret_name;
use crate::source::{Diagnostic, Diagnostics, Map, SourceFile, Span, Text, Val, yaml};

/// The variables of all `-e`, later ones stronger, and everything wrong with any of them, placed
/// under `<extra vars>` or in the file. `key=value` makes strings; what begins with `{` or `[` is
/// YAML; `@FILE` is read relative to `cwd`.
pub fn extra_vars(texts: &[String], cwd: &Path, vault: &Vault) -> (Map, Diagnostics) {
    let (mut vars, mut problems) = (Map::new(), Diagnostics::default());
    for text in texts.iter().filter(|t| !t.is_empty()) {
        if let Some(path) = text.strip_prefix('@') {
            vars.extend(read(&cwd.join(path), vault, &mut problems));
            continue;
        }
        let file = typed(text);
        if text.starts_with(['/', '.']) {
            let message = format!("Please prepend extra_vars filename '{text}' with '@'");
            problems.push(Diagnostic::error("extra-vars", message, &Span::whole(&file)));
        } else if text.starts_with(['{', '[']) {
            if let Some(node) = yaml::load_one(&file, &mut problems) {
                variables(&node, vault, &mut vars, &mut problems);
            }
        } else {
            key_values(&file, &mut vars, &mut problems);
        }
    }
    (vars, problems)
}

/// A text with the name of a secret in it isn't shown where something is wrong with it.
fn typed(text: &str) -> Arc<SourceFile> {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
    let name = "<extra vars>".to_string();
    Arc::new(SourceFile { name, path: None, text: text.to_string(), secret: words.any(is_secret_name) })
}

/// `a=1 b="x y" c='{{ d }}'`. Values are strings.
fn key_values(file: &Arc<SourceFile>, vars: &mut Map, problems: &mut Diagnostics) {
    let words = match split(&file.text) {
        Ok(words) => words,
        Err(why) => {
            problems.push(Diagnostic::error("extra-vars", why, &Span::whole(file)));
            return;
        }
    };
    for (start, word) in words {
        let before = &file.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let span = Span {
            file: file.clone(),
            start,
            end: start + word.len(),
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
        };
        let decoded = decode_escapes(word);
        // The first `=` that is not escaped and has a name before it.
        let equals = decoded
            .match_indices('=')
            .map(|(at, _)| at)
            .find(|at| *at > 0 && decoded.as_bytes()[at - 1] != b'\\');
        let Some(equals) = equals else {
            let shown = if file.secret { "a word of it".to_string() } else { format!("'{word}'") };
            let d = Diagnostic::error("extra-vars", format!("{shown} is not key=value"), &span);
            problems.push(d.help("quote a value that has spaces: -e 'name=\"two words\"'"));
            continue;
        };
        let (name, value) = (decoded[..equals].trim(), unquote(decoded[equals + 1..].trim()));
        check_variable(name, &span, problems);
        vars.insert(Val::from(name), Val::Text(Text::template(value, &span)));
    }
}

/// Words and where they begin. Spaces inside quotes and inside `{{ }}`, `{% %}`, `{# #}` don't
/// split; quotes stay.
fn split(text: &str) -> Result<Vec<(usize, &str)>, String> {
    let mut words = vec![];
    let mut start = None;
    let mut quote = None;
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let in_block = depth > 0;
        if matches!(c, ' ' | '\n') && quote.is_none() && !in_block {
            if let Some(start) = start.take() {
                words.push((start, &text[start..at]));
            }
            previous = c;
            continue;
        }
        start.get_or_insert(at);
        match (c, quote) {
            ('"' | '\'', None) if previous != '\\' => quote = Some(c),
            (c, Some(open)) if c == open && previous != '\\' => quote = None,
            ('{' | '%' | '#', _) if previous == '{' => depth += 1,
            ('}', _) if matches!(previous, '}' | '%' | '#') => depth = depth.saturating_sub(1),
            _ => {}
        }
        previous = c;
    }
    if quote.is_some() || depth > 0 {
        return Err("failed at splitting arguments, either an unbalanced jinja2 block or quotes".into());
    }
    words.extend(start.map(|start| (start, &text[start..])));
    // A backslash alone continues a line.
    words.retain(|(_, word)| *word != "\\");
    Ok(words)
}

/// `\n`, `\t`, `\xHH`, `\uHHHH`, `\\`, `\'`, `\"` and their kin; any other backslash stays.
fn decode_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(c) = after.chars().next() else {
            out.push('\\');
            return out;
        };
        let hex = |digits: usize| {
            let code = after.get(1..=digits).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, digits + 1))
        };
        let decoded = match c {
            'n' => Some(('\n', 1)),
            't' => Some(('\t', 1)),
            'r' => Some(('\r', 1)),
            'a' => Some(('\u{7}', 1)),
            'b' => Some(('\u{8}', 1)),
            'f' => Some(('\u{c}', 1)),
            'v' => Some(('\u{b}', 1)),
            '\\' | '\'' | '"' => Some((c, 1)),
            'x' => hex(2),
            'u' => hex(4),
            'U' => hex(8),
            _ => None,
        };
        let (c, len) = decoded.unwrap_or(('\\', 0));
        out.push(c);
        rest = &after[len..];
    }
    out.push_str(rest);
    out
}

fn unquote(text: &str) -> &str {
    let quoted = |q: char| text.len() > 1 && text.starts_with(q) && text.ends_with(q);
    let escaped = text.len() > 1 && text.as_bytes()[text.len() - 2] == b'\\';
    if (quoted('"') || quoted('\'')) && !escaped { &text[1..text.len() - 1] } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vars::no_vault;

    fn read(texts: &[&str]) -> (Map, Vec<String>) {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let (vars, problems) = extra_vars(&texts, Path::new("/nonexistent"), &no_vault());
        let shown = |d: &Diagnostic| {
            let place = d.span.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{place} {}", d.message)
        };
        (vars, problems.0.iter().map(shown).collect())
    }

    #[test]
    fn key_values_are_strings() {
        for (text, want) in [
            ("a=1", vec![("a", "1")]),
            ("a=b=c d=", vec![("a", "b=c"), ("d", "")]),
            ("a='x y' b=\"p 'q'\"", vec![("a", "x y"), ("b", "p 'q'")]),
            ("a={{ x | default('y z') }} b=2", vec![("a", "{{ x | default('y z') }}"), ("b", "2")]),
            ("a=x\\ty", vec![("a", "x\ty")]),
            ("a=C:\\dir", vec![("a", "C:\\dir")]),
            ("a=1\nb=2", vec![("a", "1"), ("b", "2")]),
            ("a=\\\"x", vec![("a", "\"x")]),
        ] {
            let (vars, problems) = read(&[text]);
            assert!(problems.is_empty(), "{text}: {problems:?}");
            let got: Vec<_> = vars.iter().map(|(k, v)| (k.as_str().unwrap(), v.as_str().unwrap())).collect();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn yaml_is_typed_and_later_ones_win() {
        let (vars, problems) = read(&["{\"a\": 1, \"b\": [true]}", "a=2"]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(vars.get("a"), Some(&Val::from("2")));
        assert_eq!(vars.get("b"), Some(&Val::from(vec![true])));
    }

    #[test]
    fn all_mistakes_are_found_with_their_places() {
        let (vars, problems) = read(&["a=1 stray", "/etc/vars.yml", "x='open", "[1]", "@no.yml", "port=1"]);
        assert_eq!(vars.len(), 2);
        for (problem, want) in problems.iter().zip([
            "<extra vars>:1:5 'stray' is not key=value",
            "<extra vars>:1:1 Please prepend extra_vars filename '/etc/vars.yml' with '@'",
            "unbalanced",
            "must be a mapping",
            "cannot read /nonexistent/no.yml: entity not found",
            "Found variable using reserved name 'port'.",
        ]) {
            assert!(problem.contains(want), "{problem}");
        }
        assert_eq!(problems.len(), 6, "{problems:?}");
    }
}
