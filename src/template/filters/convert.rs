//! Types and presence: `default`, `mandatory`, `bool`, `int`, `ternary`, …

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("bool", to_bool),
    Filter::new("d", default).takes_undefined(),
    Filter::new("default", default).takes_undefined(),
    Filter::new("float", float),
    Filter::new("int", int),
    Filter::new("list", list),
    Filter::new("mandatory", mandatory).takes_undefined(),
    Filter::new("string", string),
    Filter::new("ternary", ternary).takes_undefined(),
    Filter::new("type_debug", type_debug).takes_undefined(),
];

fn default(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [default, boolean] = args.bind(["default_value", "boolean"])?;
    let default = default.unwrap_or_else(|| Value::text(""));
    if value.is_undefined() || (eval.flag(boolean)? && !value.truthy()?) {
        return Ok(default);
    }
    Ok(value)
}

fn mandatory(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [message] = args.bind(["msg"])?;
    let Value::Undefined(u) = &value else { return Ok(value) };
    if let Some(message) = eval.given(message) {
        return Err(Fault::new(eval.text_of(&message)?.to_string()));
    }
    let name = u.name.as_ref().map_or(String::new(), |n| format!("'{n}' "));
    Err(Fault::plain(format!("Mandatory variable {name}not defined.")))
}

/// What Ansible takes for true and false; `None` for anything else.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => Some(true),
        "no" | "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

fn to_bool(_: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::Bool(match &value {
        Value::Bool(b) => *b,
        Value::Text(s) => boolean(s).unwrap_or(false),
        other => other.as_float() == Some(1.0),
    }))
}

fn int(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [default, base] = args.bind(["default", "base"])?;
    let default = default.unwrap_or(Value::Int(0));
    let base = eval.int_or("base", base, 10)?;
    Ok(match &value {
        Value::Text(s) => match parse_int(s, base)
            .or_else(|| s.trim().parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| f.trunc() as i128))
        {
            Some(i) => Value::Int(i),
            None => default,
        },
        Value::Float(f) if f.is_finite() => Value::Int(f.trunc() as i128),
        other => other.as_int().map_or(default, Value::Int),
    })
}

/// Python's `int(text, base)`.
fn parse_int(text: &str, base: i128) -> Option<i128> {
    let clean = text.trim();
    let (negative, digits) = match clean.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, clean.strip_prefix('+').unwrap_or(clean)),
    };
    let lower = digits.to_lowercase();
    let (digits, base) = match (lower.get(..2), base) {
        (Some("0x"), 16 | 0) => (&lower[2..], 16),
        (Some("0o"), 8 | 0) => (&lower[2..], 8),
        (Some("0b"), 2 | 0) => (&lower[2..], 2),
        (_, 0) => (&lower[..], 10),
        (_, base) => (&lower[..], u32::try_from(base).ok().filter(|b| (2..=36).contains(b))?),
    };
    if digits.starts_with('_') || digits.ends_with('_') || digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits.replace('_', ""), base).ok()?;
    Some(if negative { -value } else { value })
}

fn float(_: &Eval, value: Value, args: Args) -> Run<Value> {
    let [default] = args.bind(["default"])?;
    let parsed = match &value {
        Value::Text(s) => s.trim().replace('_', "").parse().ok(),
        other => other.as_float(),
    };
    Ok(parsed.map_or(default.unwrap_or(Value::Float(0.0)), Value::Float))
}

fn string(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::Text(eval.text_of(&value)?))
}

fn list(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::list(eval.iterate_lazy(&value)?))
}

fn ternary(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [yes, no, none] = args.bind(["true_val", "false_val", "none_val"])?;
    if matches!(value, Value::None)
        && let Some(none) = eval.given(none)
    {
        return Ok(none);
    }
    let (yes, no) = (eval.required("true_val", yes)?, eval.required("false_val", no)?);
    Ok(if value.truthy()? { yes } else { no })
}

fn type_debug(_: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::text(value.type_name()))
}
