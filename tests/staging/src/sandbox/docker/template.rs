//! The part of Go's templates that `--format` is used with: fields, `json`, `index`, `println`,
//! `range`, `if` and `else`.

use anyhow::{Result, bail};
use serde_json::Value;

#[derive(Debug)]
enum Part {
    Text(String),
    Print(Vec<String>),
    Range(Vec<String>, Vec<Part>, Vec<Part>),
    If(Vec<String>, Vec<Part>, Vec<Part>),
}

#[derive(Debug)]
pub struct Template(Vec<Part>);

/// What a run of parts stopped at.
enum Stop {
    EndOfText,
    Else,
    End,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template> {
        let mut rest = text;
        let (parts, end) = parts(&mut rest)?;
        match end {
            Stop::EndOfText => Ok(Template(parts)),
            _ => bail!("template parsing error: unexpected {{{{end}}}} or {{{{else}}}}"),
        }
    }

    pub fn render(&self, value: &Value) -> Result<String> {
        let mut out = String::new();
        render(&self.0, value, &mut out)?;
        Ok(out)
    }
}

fn parts(rest: &mut &str) -> Result<(Vec<Part>, Stop)> {
    let mut parts = Vec::new();
    loop {
        let Some(at) = rest.find("{{") else {
            parts.push(Part::Text((*rest).to_owned()));
            *rest = "";
            return Ok((parts, Stop::EndOfText));
        };
        parts.push(Part::Text(rest[..at].to_owned()));
        let Some(length) = rest[at..].find("}}") else {
            bail!("template parsing error: unclosed action");
        };
        let action = rest[at + 2..at + length].trim();
        *rest = &rest[at + length + 2..];
        let words = words(action)?;
        match words.first().map(String::as_str) {
            Some("end") => return Ok((parts, Stop::End)),
            Some("else") if words.len() == 1 => return Ok((parts, Stop::Else)),
            Some(kind @ ("range" | "if")) => {
                let (then, end) = self::parts(rest)?;
                let (otherwise, end) = match end {
                    Stop::Else => self::parts(rest)?,
                    end => (Vec::new(), end),
                };
                if !matches!(end, Stop::End) {
                    bail!("template parsing error: unexpected EOF");
                }
                let what = words[1..].to_vec();
                parts.push(match kind {
                    "range" => Part::Range(what, then, otherwise),
                    _ => Part::If(what, then, otherwise),
                });
            }
            Some(_) => parts.push(Part::Print(words)),
            None => bail!("template parsing error: missing value for command"),
        }
    }
}

/// Blanks separate words, except within a string or parentheses.
fn words(action: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = action.trim_start();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(string) => match string.find('"') {
                Some(end) => end + 2,
                None => bail!("template parsing error: unterminated quoted string"),
            },
            None if rest.starts_with('(') => match rest.find(')') {
                Some(end) => end + 1,
                None => bail!("template parsing error: unclosed left paren"),
            },
            None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

fn render(parts: &[Part], value: &Value, out: &mut String) -> Result<()> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Print(words) => out.push_str(&print(words, value)?),
            Part::If(words, then, otherwise) => {
                let branch = if is_true(&evaluate(words, value)?) { then } else { otherwise };
                render(branch, value, out)?;
            }
            Part::Range(words, then, otherwise) => {
                let items: Vec<Value> = match evaluate(words, value)? {
                    Value::Array(items) => items,
                    Value::Object(map) => map.into_iter().map(|(_, item)| item).collect(),
                    Value::Null => Vec::new(),
                    _ => bail!("template: range can't iterate over {}", words.join(" ")),
                };
                if items.is_empty() {
                    render(otherwise, value, out)?;
                }
                for item in items {
                    render(then, &item, out)?;
                }
            }
        }
    }
    Ok(())
}

fn print(words: &[String], value: &Value) -> Result<String> {
    match words.split_first() {
        Some((word, rest)) if word == "json" => Ok(evaluate(rest, value)?.to_string()),
        Some((word, rest)) if word == "println" || word == "print" => {
            let mut text = plain(&evaluate(rest, value)?);
            if word == "println" {
                text.push('\n');
            }
            Ok(text)
        }
        _ => Ok(plain(&evaluate(words, value)?)),
    }
}

fn evaluate(words: &[String], value: &Value) -> Result<Value> {
    match words {
        [word] if word.starts_with('"') => Ok(Value::String(word.trim_matches('"').to_owned())),
        [path] if path.starts_with('.') => field(path, value),
        [inner] if inner.starts_with('(') && !inner[1..].starts_with('(') => {
            evaluate(&self::words(&inner[1..inner.len() - 1])?, value)
        }
        [function, path, keys @ ..] if function == "index" && path.starts_with('.') => {
            let mut found = field(path, value)?;
            for key in keys {
                found = match key.parse::<usize>() {
                    Ok(at) => match found.get(at) {
                        Some(item) => item.clone(),
                        None => bail!("template: index out of range: {at}"),
                    },
                    Err(_) => found.get(key.trim_matches('"')).cloned().unwrap_or_default(),
                };
            }
            Ok(found)
        }
        _ => bail!("template: the sandbox does not know {:?}", words.join(" ")),
    }
}

fn field(path: &str, value: &Value) -> Result<Value> {
    let mut found = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        found = match found {
            Value::Object(map) => match map.get(name) {
                Some(next) => next,
                None => bail!("template: map has no entry for key {name:?}"),
            },
            _ => bail!("template: nil pointer evaluating {name:?} in {path}"),
        };
    }
    Ok(found.clone())
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go prints values.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_formats_are_made_of() {
        let value = json!({
            "State": {"Status": "running", "Health": {"Status": "healthy"}},
            "Env": ["A=1", "B=2"], "Labels": {"a.b": "c"}, "None": null,
        });
        for (text, wanted) in [
            ("{{.State.Status}} {{.State.Health.Status}}", "running healthy"),
            ("{{json .Env}}", r#"["A=1","B=2"]"#),
            ("{{range .Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
            ("{{index .Labels \"a.b\"}}", "c"),
            ("{{json (index .Labels \"a.b\" )}}", "\"c\""),
            ("{{if .None}}x{{else}}y{{end}}", "y"),
            ("{{ if .State }}x{{ end }}", "x"),
            ("{{.Env}}", "[A=1 B=2]"),
        ] {
            let made = Template::parse(text).and_then(|template| template.render(&value));
            assert_eq!(made.unwrap(), wanted, "{text}");
        }
        for text in ["{{.Nope}}", "{{.State.Status.X}}", "{{upper .State}}"] {
            let made = Template::parse(text).and_then(|template| template.render(&value));
            assert!(made.is_err(), "{text}");
        }
        for text in ["{{if .A}}", "{{", "{{end}}", "{{}}", "{{json (.A}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
