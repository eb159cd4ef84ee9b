//! Python's `str()` and `repr()`.

use std::fmt::Write;

use super::eval::{Eval, Run, grow};
use super::fault::Fault;
use super::value::{Object, Value};

const DEEPEST: usize = 200;

impl Eval<'_> {
    /// Python's `str(x)`: what a value is inside text.
    pub fn str(&self, value: &Value) -> Run<String> {
        match value {
            Value::Text(s) => Ok(s.to_string()),
            Value::DateTime(d) => Ok(super::dates::print(d)),
            Value::Delta(d) => Ok(super::dates::print_delta(d)),
            Value::Object(o) => match &**o {
                Object::Module { output, .. } => self.str(output),
                _ => self.repr(value),
            },
            other => self.repr(other),
        }
    }

    /// Python's `repr(x)`: what a value is inside a printed list or dict.
    pub fn repr(&self, value: &Value) -> Run<String> {
        let mut out = String::new();
        self.write_repr(value, &mut out, 0)?;
        Ok(out)
    }

    fn write_repr(&self, value: &Value, out: &mut String, depth: usize) -> Run<()> {
        if depth > DEEPEST {
            return Err(Fault::plain("the value is nested too deeply, or holds itself"));
        }
        match value {
            Value::Undefined(u) => return Err(Fault::Undefined(u.clone())),
            Value::None => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Int(i) => _ = write!(out, "{i}"),
            Value::Float(f) => out.push_str(&float(*f)),
            Value::Text(s) => quoted(s, out),
            Value::List(items) => {
                out.push('[');
                self.write_items(&self.items_of(items)?, out, depth)?;
                out.push(']');
            }
            Value::Tuple(items) => {
                let items = self.items_of(items)?;
                out.push('(');
                self.write_items(&items, out, depth)?;
                out.push_str(if items.len() == 1 { ",)" } else { ")" });
            }
            Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => {
                out.push('{');
                for (i, (key, item)) in self.entries(value)?.into_iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    self.write_repr(&self.value_of(&key), out, depth + 1)?;
                    out.push_str(": ");
                    grow(|| self.write_repr(&item, out, depth + 1))?;
                }
                out.push('}');
            }
            Value::Range(start, stop, 1) => _ = write!(out, "range({start}, {stop})"),
            Value::Range(start, stop, step) => _ = write!(out, "range({start}, {stop}, {step})"),
            Value::Omit => {
                return Err(Fault::plain("'omit' cannot be a part of a text")
                    .help("Use 'omit' as the whole value of an argument: \"{{ x | default(omit) }}\"."));
            }
            Value::DateTime(d) => {
                _ = write!(out, "datetime.datetime({})", d.format("%Y, %-m, %-d, %-H, %-M, %-S"))
            }
            Value::Delta(d) => {
                _ = write!(
                    out,
                    "datetime.timedelta(days={}, seconds={})",
                    d.num_days(),
                    d.num_seconds() % 86400
                );
            }
            other => _ = write!(out, "<{}>", other.type_name()),
        }
        Ok(())
    }

    fn write_items(&self, items: &[Value], out: &mut String, depth: usize) -> Run<()> {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            grow(|| self.write_repr(item, out, depth + 1))?;
        }
        Ok(())
    }
}

/// A float as Python prints it: shortest digits, `1e+20` from 16 digits before the point on.
pub fn float(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{f:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if f != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{f}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// A text as Python's `repr` quotes it.
pub fn quoted(s: &str, out: &mut String) {
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c == '\u{ad}' => {
                _ = write!(out, "\\x{:02x}", c as u32);
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}' => {
                _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}
