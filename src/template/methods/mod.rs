//! Methods of Python's types that templates call: `'a b'.split()`, `d.items()`, `l.append(x)`.

mod collections;
mod text;

use std::rc::Rc;

use super::call::Args;
use super::dates;
use super::eval::{Eval, Run};
use super::fault::Fault;
use super::value::{Object, Value};

pub use text::{capitalize, splitlines};

const STR: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const LIST: &[&str] =
    &["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];
const TUPLE: &[&str] = &["count", "index"];
const DICT: &[&str] =
    &["clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];
const SCOPE: &[&str] = &["get", "items", "keys", "values"];
const INT: &[&str] = &["__and__", "__lshift__", "__or__", "__rshift__", "__xor__", "bit_length"];
const FLOAT: &[&str] = &["is_integer"];
const DATE: &[&str] = &["date", "isoformat", "isoweekday", "strftime", "timestamp", "weekday"];
const DELTA: &[&str] = &["total_seconds"];

pub fn is_dict_method(name: &str) -> bool {
    DICT.contains(&name)
}

/// The method of that name, if the value's type has it.
pub fn find(value: &Value, name: &str) -> Option<&'static str> {
    let known = match value {
        Value::Text(_) => STR,
        Value::List(_) => LIST,
        Value::Tuple(_) => TUPLE,
        Value::Dict(_) => DICT,
        Value::Scope(_) | Value::Scopes(_) => SCOPE,
        Value::Int(_) | Value::Bool(_) => INT,
        Value::Float(_) => FLOAT,
        Value::DateTime(_) => DATE,
        Value::Delta(_) => DELTA,
        Value::Object(o) => match &**o {
            Object::Loop(_) => &["cycle", "changed"],
            Object::Cycler(..) => &["next", "reset"],
            _ => return None,
        },
        _ => return None,
    };
    known.iter().find(|m| **m == name).copied()
}

pub fn call(eval: &Eval, object: &Value, name: &'static str, args: Args) -> Run<Value> {
    match object {
        Value::Text(text) => text::call(eval, text, name, args),
        Value::List(_) | Value::Tuple(_) => collections::on_list(eval, object, name, args),
        Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => collections::on_dict(eval, object, name, args),
        Value::Object(o) => on_object(eval, o, name, args),
        Value::Int(_) | Value::Bool(_) => {
            let a = object.as_int().unwrap_or(0);
            if name == "bit_length" {
                return Ok(Value::Int(i128::from(128 - a.unsigned_abs().leading_zeros())));
            }
            let [b] = args.bind(["value"])?;
            let b = eval.required("value", b)?;
            let b = eval.int_of("value", &b)?;
            let shift = || u32::try_from(b).map_err(|_| Fault::plain("negative shift count"));
            Ok(Value::Int(match name {
                "__and__" => a & b,
                "__or__" => a | b,
                "__xor__" => a ^ b,
                "__lshift__" => a.checked_shl(shift()?).ok_or_else(super::expr::too_large)?,
                _ => a.checked_shr(shift()?).unwrap_or(if a < 0 { -1 } else { 0 }),
            }))
        }
        Value::Float(f) => Ok(Value::Bool(f.fract() == 0.0)),
        Value::DateTime(d) => Ok(match name {
            "strftime" => {
                let [format] = args.bind(["format"])?;
                let format = eval.required("format", format)?;
                Value::text(dates::strftime(d, &eval.text_of(&format)?)?)
            }
            "isoformat" => Value::text(dates::isoformat(d)),
            "date" => Value::text(d.format("%Y-%m-%d").to_string()),
            "timestamp" => Value::Float(dates::local_timestamp(d)),
            "weekday" => Value::Int(i128::from(chrono::Datelike::weekday(d).num_days_from_monday())),
            _ => Value::Int(i128::from(chrono::Datelike::weekday(d).number_from_monday())),
        }),
        Value::Delta(d) => Ok(Value::Float(dates::total_seconds(d))),
        other => Err(Fault::plain(format!("'{}' has no method '{name}'", other.type_name()))),
    }
}

fn on_object(eval: &Eval, object: &Rc<Object>, name: &str, args: Args) -> Run<Value> {
    match &**object {
        Object::Loop(l) if name == "cycle" => {
            if args.pos.is_empty() {
                return Err(Fault::plain("no items for cycling given"));
            }
            Ok(args.pos[l.index0.get() % args.pos.len()].clone())
        }
        Object::Loop(l) => {
            let mut last = l.last_changed.borrow_mut();
            let same = match &*last {
                Some(before) if before.len() == args.pos.len() => {
                    let mut same = true;
                    for (a, b) in before.iter().zip(&args.pos) {
                        same = same && eval.equal(a, b)?;
                    }
                    same
                }
                _ => false,
            };
            *last = Some(args.pos);
            Ok(Value::Bool(!same))
        }
        Object::Cycler(items, at) => {
            if name == "reset" {
                at.set(0);
                return Ok(Value::None);
            }
            let current = items.get(at.get()).cloned().unwrap_or(Value::None);
            at.set((at.get() + 1) % items.len().max(1));
            Ok(current)
        }
        _ => Err(Fault::plain(format!("no method '{name}'"))),
    }
}
