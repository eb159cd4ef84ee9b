//! `to_json`, `to_nice_json`, `from_json`, `tojson`, as Python's `json` writes and reads.

use std::fmt::Write;

use super::Filter;
use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::print;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("from_json", from_json),
    Filter::new("to_json", |e, v, a| write_filter(e, v, a, Layout::default())),
    Filter::new("to_nice_json", |e, v, a| {
        let nice = Layout { indent: Some("    ".into()), sort_keys: true, ..Layout::default() };
        write_filter(e, v, a, nice)
    }),
    Filter::new("tojson", tojson),
];

struct Layout {
    indent: Option<String>,
    sort_keys: bool,
    ascii: bool,
    /// Between items, and between key and value; `None` is Python's choice.
    separators: Option<(String, String)>,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { indent: None, sort_keys: false, ascii: true, separators: None }
    }
}

fn write_filter(eval: &Eval, value: Value, mut args: Args, mut layout: Layout) -> Run<Value> {
    let nice = layout.indent.is_some();
    // Deprecated by Ansible and without effect here.
    for ignored in ["vault_to_text", "preprocess_unsafe", "profile", "default", "cls"] {
        args.take(ignored);
    }
    let [indent, sort_keys, ensure_ascii, separators, skipkeys, allow_nan, check_circular] = args.bind([
        "indent",
        "sort_keys",
        "ensure_ascii",
        "separators",
        "skipkeys",
        "allow_nan",
        "check_circular",
    ])?;
    let _ = (skipkeys, allow_nan, check_circular);
    match indent {
        None => {}
        Some(Value::None) => layout.indent = None,
        Some(Value::Text(s)) => layout.indent = Some(s.to_string()),
        Some(n) => {
            let n = usize::try_from(eval.int_of("indent", &n)?).unwrap_or(0).min(1000);
            layout.indent = Some(" ".repeat(n));
        }
    }
    if let Some(flag) = sort_keys {
        layout.sort_keys = flag.truthy()?;
    }
    if let Some(flag) = ensure_ascii {
        layout.ascii = flag.truthy()?;
    }
    if let Some(pair) = eval.given(separators).filter(|_| !nice) {
        match &eval.iterate(&pair)?[..] {
            [a, b] => layout.separators = Some((eval.text_of(a)?.to_string(), eval.text_of(b)?.to_string())),
            _ => return Err(Fault::plain("'separators' must be two texts")),
        }
    }
    let mut out = String::new();
    write(eval, &value, &layout, 0, &mut out)?;
    Ok(Value::text(out))
}

/// Jinja's own: safe inside HTML.
fn tojson(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [indent] = args.bind(["indent"])?;
    let indent = match eval.given(indent) {
        Some(n) => Some(" ".repeat(usize::try_from(eval.int_of("indent", &n)?).unwrap_or(0).min(1000))),
        None => None,
    };
    let mut out = String::new();
    write(eval, &value, &Layout { indent, sort_keys: true, ..Layout::default() }, 0, &mut out)?;
    let safe =
        out.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
    Ok(Value::text(safe))
}

fn write(eval: &Eval, value: &Value, layout: &Layout, depth: usize, out: &mut String) -> Run<()> {
    if depth > 200 {
        return Err(Fault::plain("the value is nested too deeply, or holds itself"));
    }
    let (comma, colon) = match &layout.separators {
        Some((a, b)) => (&a[..], &b[..]),
        None => (if layout.indent.is_some() { "," } else { ", " }, ": "),
    };
    let newline = |out: &mut String, depth: usize| {
        if let Some(indent) = &layout.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => _ = write!(out, "{i}"),
        Value::Float(f) if f.is_nan() => out.push_str("NaN"),
        Value::Float(f) if f.is_infinite() => out.push_str(if *f > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Float(f) => out.push_str(&print::float(*f)),
        Value::Text(s) => write_text(s, layout.ascii, out),
        Value::DateTime(d) => write_text(&crate::template::dates::isoformat(d), layout.ascii, out),
        Value::List(_) | Value::Tuple(_) | Value::Range(..) => {
            let items = eval.iterate(value)?;
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                newline(out, depth + 1);
                crate::template::eval::grow(|| write(eval, item, layout, depth + 1, out))?;
            }
            if !items.is_empty() {
                newline(out, depth);
            }
            out.push(']');
        }
        Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => {
            let mut entries = eval.entries(value)?;
            if layout.sort_keys {
                sort_keys(&mut entries)?;
            }
            out.push('{');
            let empty = entries.is_empty();
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                newline(out, depth + 1);
                eval.value_of(&key);
                let key = match &key {
                    Val::Float(f) => print::float(*f),
                    other => other.key_text(),
                };
                write_text(&key, layout.ascii, out);
                out.push_str(colon);
                crate::template::eval::grow(|| write(eval, &item, layout, depth + 1, out))?;
            }
            if !empty {
                newline(out, depth);
            }
            out.push('}');
        }
        Value::Undefined(u) => return Err(Fault::Undefined(u.clone())),
        other => {
            return Err(Fault::plain(format!(
                "Object of type {} is not JSON serializable",
                other.type_name()
            )));
        }
    }
    Ok(())
}

/// Sorts entries by key; keys of different kinds can't be sorted.
pub fn sort_keys(entries: &mut [(Val, Value)]) -> Run<()> {
    let texts = entries.iter().filter(|(k, _)| matches!(k, Val::Text(_))).count();
    if texts != 0 && texts != entries.len() {
        return Err(Fault::plain("'<' not supported between instances of 'str' and other keys"));
    }
    entries.sort_by(|(a, _), (b, _)| match (a, b) {
        (Val::Text(a), Val::Text(b)) => a.as_str().cmp(b.as_str()),
        (a, b) => {
            let number = |v: &Val| match v {
                Val::Int(i) => *i as f64,
                Val::Float(f) => *f,
                Val::Bool(b) => f64::from(u8::from(*b)),
                _ => f64::NAN,
            };
            number(a).total_cmp(&number(b))
        }
    });
    Ok(())
}

fn write_text(s: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => _ = write!(out, "\\u{:04x}", c as u32),
            c if ascii && !c.is_ascii() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn from_json(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    args.take("profile");
    let [] = args.bind([])?;
    let Value::Text(text) = &value else {
        return Err(Fault::plain(format!(
            "the JSON object must be str, bytes or bytearray, not {}",
            value.type_name()
        )));
    };
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|e| Fault::new(format!("invalid JSON: {e}")))?;
    Ok(eval.value_of(&Val::from_json(&json)))
}
