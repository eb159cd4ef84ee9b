//! Methods of Python's types that templates call: `'a b'.split()`, `d.items()`, `l.append(x)`.

use std::rc::Rc;
use std::sync::Arc;

use super::call::Args;
use super::dates;
use super::eval::{Eval, Run};
use super::fault::Fault;
use super::format;
use super::value::{Object, Slot, Value};
use crate::source::Val;

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
        Value::Text(text) => on_text(eval, text, name, args),
        Value::List(_) | Value::Tuple(_) => on_list(eval, object, name, args),
        Value::Dict(_) | Value::Scope(_) | Value::Scopes(_) => on_dict(eval, object, name, args),
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

fn texts(items: impl IntoIterator<Item = impl AsRef<str>>) -> Value {
    Value::list(items.into_iter().map(|s| Value::text(s.as_ref())).collect())
}

fn on_text(eval: &Eval, text: &Arc<str>, name: &str, args: Args) -> Run<Value> {
    let s: &str = text;
    let all = |f: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(f));
    Ok(match name {
        "upper" => Value::text(s.to_uppercase()),
        "lower" | "casefold" => Value::text(s.to_lowercase()),
        "capitalize" => Value::text(capitalize(s)),
        "title" => Value::text(title(s)),
        "swapcase" => Value::text(
            s.chars()
                .map(|c| {
                    if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() }
                })
                .collect::<String>(),
        ),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(["chars"])?;
            let chars = match eval.given(chars) {
                Some(c) => Some(eval.text_of(&c)?),
                None => None,
            };
            let drop = |c: char| chars.as_ref().map_or(c.is_whitespace(), |set| set.contains(c));
            Value::text(match name {
                "strip" => s.trim_matches(drop),
                "lstrip" => s.trim_start_matches(drop),
                _ => s.trim_end_matches(drop),
            })
        }
        "split" | "rsplit" => {
            let [sep, max] = args.bind(["sep", "maxsplit"])?;
            let max = usize::try_from(eval.int_or("maxsplit", max, -1)?).ok();
            let sep = match eval.given(sep) {
                Some(sep) => Some(eval.text_of(&sep)?),
                None => None,
            };
            texts(split(s, sep.as_deref(), max, name == "rsplit")?)
        }
        "splitlines" => {
            let [keep] = args.bind(["keepends"])?;
            texts(splitlines(s, eval.flag(keep)?))
        }
        "partition" | "rpartition" => {
            let [sep] = args.bind(["sep"])?;
            let sep = eval.text_of(&eval.required("sep", sep)?)?;
            let cut = if name == "partition" { s.split_once(&*sep) } else { s.rsplit_once(&*sep) };
            let parts = match cut {
                Some((a, b)) => [a, &sep, b],
                None if name == "partition" => [s, "", ""],
                None => ["", "", s],
            };
            Value::tuple(parts.into_iter().map(Value::from).collect())
        }
        "join" => {
            let [items] = args.bind(["iterable"])?;
            let items = eval.required("iterable", items)?;
            let mut parts = Vec::new();
            for (i, item) in eval.iterate(&items)?.iter().enumerate() {
                match item {
                    Value::Text(s) => parts.push(s.clone()),
                    other => {
                        return Err(Fault::plain(format!(
                            "sequence item {i}: expected str instance, {} found",
                            other.type_name()
                        )));
                    }
                }
            }
            Value::text(parts.join(s))
        }
        "replace" => {
            let [old, new, count] = args.bind(["old", "new", "count"])?;
            let old = eval.text_of(&eval.required("old", old)?)?;
            let new = eval.text_of(&eval.required("new", new)?)?;
            match usize::try_from(eval.int_or("count", count, -1)?) {
                Ok(n) => Value::text(s.replacen(&*old, &new, n)),
                Err(_) => Value::text(s.replace(&*old, &new)),
            }
        }
        "startswith" | "endswith" => {
            let [affix] = args.bind(["prefix"])?;
            let affix = eval.required("prefix", affix)?;
            let affixes = match &affix {
                Value::Tuple(_) => eval.iterate(&affix)?,
                Value::Text(_) => vec![affix],
                other => {
                    return Err(Fault::plain(format!(
                        "{name} first arg must be str or a tuple of str, not {}",
                        other.type_name()
                    )));
                }
            };
            let matches = |a: &Value| {
                a.as_str()
                    .is_some_and(|a| if name == "startswith" { s.starts_with(a) } else { s.ends_with(a) })
            };
            Value::Bool(affixes.iter().any(matches))
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(["prefix"])?;
            let affix = eval.text_of(&eval.required("prefix", affix)?)?;
            let cut = if name == "removeprefix" { s.strip_prefix(&*affix) } else { s.strip_suffix(&*affix) };
            Value::text(cut.unwrap_or(s))
        }
        "find" | "rfind" | "index" | "rindex" => {
            let [sub] = args.bind(["sub"])?;
            let sub = eval.text_of(&eval.required("sub", sub)?)?;
            let at = if name.starts_with('r') { s.rfind(&*sub) } else { s.find(&*sub) };
            match at {
                Some(byte) => Value::from(s[..byte].chars().count()),
                None if name.ends_with("find") => Value::Int(-1),
                None => return Err(Fault::plain("substring not found")),
            }
        }
        "count" => {
            let [sub] = args.bind(["sub"])?;
            let sub = eval.text_of(&eval.required("sub", sub)?)?;
            Value::from(if sub.is_empty() { s.chars().count() + 1 } else { s.matches(&*sub).count() })
        }
        "format" => Value::text(format::braces(eval, s, &args)?),
        "format_map" => {
            let [map] = args.bind(["mapping"])?;
            let mut named = Args::default();
            for (key, value) in eval.entries(&eval.required("mapping", map)?)? {
                named.named.push((Arc::from(key.key_text()), value));
            }
            Value::text(format::braces(eval, s, &named)?)
        }
        "ljust" | "rjust" | "center" => {
            let [width, fill] = args.bind(["width", "fillchar"])?;
            let width = eval.int_of("width", &eval.required("width", width)?)?;
            let fill = eval.text_or(fill, " ")?;
            let missing = usize::try_from(width).unwrap_or(0).saturating_sub(s.chars().count());
            if missing > 1_000_000 {
                return Err(Fault::plain("width is too big"));
            }
            let side = |n: usize| fill.repeat(n);
            Value::text(match name {
                "ljust" => format!("{s}{}", side(missing)),
                "rjust" => format!("{}{s}", side(missing)),
                _ => {
                    let left = missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1);
                    format!("{}{s}{}", side(left), side(missing - left))
                }
            })
        }
        "zfill" => {
            let [width] = args.bind(["width"])?;
            let width = eval.int_of("width", &eval.required("width", width)?)?;
            let missing =
                usize::try_from(width).unwrap_or(0).saturating_sub(s.chars().count()).min(1_000_000);
            let (sign, digits) = match s.strip_prefix(['+', '-']) {
                Some(rest) => (&s[..1], rest),
                None => ("", s),
            };
            Value::text(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "expandtabs" => {
            let [size] = args.bind(["tabsize"])?;
            let size = usize::try_from(eval.int_or("tabsize", size, 8)?).unwrap_or(8).min(1000);
            let (mut out, mut column) = (String::new(), 0);
            for c in s.chars() {
                match c {
                    '\t' if size > 0 => {
                        let n = size - column % size;
                        out.push_str(&" ".repeat(n));
                        column += n;
                    }
                    '\t' => {}
                    c => {
                        out.push(c);
                        column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                    }
                }
            }
            Value::text(out)
        }
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
        "isspace" => all(char::is_whitespace),
        "isascii" => Value::Bool(s.is_ascii()),
        "isupper" => Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)),
        "islower" => Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)),
        "istitle" => Value::Bool(s.chars().any(char::is_alphabetic) && title(s) == s),
        "isidentifier" => {
            let mut chars = s.chars();
            let head = chars.next().is_some_and(|c| c == '_' || c.is_alphabetic());
            Value::Bool(head && chars.all(|c| c == '_' || c.is_alphanumeric()))
        }
        "encode" => {
            return Err(Fault::plain("'encode' makes bytes, which are not supported in templates")
                .help("Text is UTF-8 here: leave .encode() out."));
        }
        other => return Err(Fault::plain(format!("'str' has no method '{other}'"))),
    })
}

pub fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    chars
        .next()
        .map_or(String::new(), |c| c.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
}

/// Python's `str.title`: a capital after everything that isn't a letter.
fn title(s: &str) -> String {
    let mut after_letter = false;
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if after_letter {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        after_letter = c.is_alphabetic();
    }
    out
}

/// Python's `str.split` and `rsplit`.
pub fn split(s: &str, sep: Option<&str>, max: Option<usize>, from_right: bool) -> Run<Vec<String>> {
    let owned = |parts: Vec<&str>| parts.into_iter().map(str::to_string).collect();
    let Some(sep) = sep else {
        let mut out: Vec<&str> = Vec::new();
        let mut rest = if from_right { s.trim_end() } else { s.trim_start() };
        while !rest.is_empty() {
            if max.is_some_and(|max| out.len() >= max) {
                out.push(if from_right { rest } else { rest.trim_end() });
                if !from_right && max != Some(0) {
                    // Python keeps the trailing space of the last piece.
                    out.pop();
                    out.push(rest);
                }
                break;
            }
            let cut =
                if from_right { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
            match cut {
                Some(at) if from_right => {
                    let width = rest[at..].chars().next().map_or(1, char::len_utf8);
                    out.push(&rest[at + width..]);
                    rest = rest[..at].trim_end();
                }
                Some(at) => {
                    out.push(&rest[..at]);
                    rest = rest[at..].trim_start();
                }
                None => {
                    out.push(rest);
                    break;
                }
            }
        }
        if from_right {
            out.reverse();
        }
        return Ok(owned(out));
    };
    if sep.is_empty() {
        return Err(Fault::plain("empty separator"));
    }
    Ok(owned(match (max, from_right) {
        (None, _) => s.split(sep).collect(),
        (Some(n), false) => s.splitn(n + 1, sep).collect(),
        (Some(n), true) => {
            let mut parts: Vec<&str> = s.rsplitn(n + 1, sep).collect();
            parts.reverse();
            parts
        }
    }))
}

/// Python's `str.splitlines`.
pub fn splitlines(s: &str, keep: bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = s;
    while !rest.is_empty() {
        let end =
            rest.find(['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}']);
        let Some(end) = end else {
            out.push(rest);
            break;
        };
        let width = if rest[end..].starts_with("\r\n") {
            2
        } else {
            rest[end..].chars().next().map_or(1, char::len_utf8)
        };
        out.push(&rest[..if keep { end + width } else { end }]);
        rest = &rest[end + width..];
    }
    out
}

fn on_list(eval: &Eval, object: &Value, name: &str, args: Args) -> Run<Value> {
    let (Value::List(items) | Value::Tuple(items)) = object else { return Ok(Value::None) };
    let index = |i: i128, len: usize| {
        let i = if i < 0 { i + len as i128 } else { i };
        usize::try_from(i).ok().filter(|i| *i < len)
    };
    Ok(match name {
        "append" => {
            let [item] = args.bind(["object"])?;
            items.borrow_mut().push(Slot::Ready(eval.required("object", item)?));
            Value::None
        }
        "extend" => {
            let [more] = args.bind(["iterable"])?;
            let more = eval.iterate_lazy(&eval.required("iterable", more)?)?;
            items.borrow_mut().extend(more.into_iter().map(Slot::Ready));
            Value::None
        }
        "insert" => {
            let [at, item] = args.bind(["index", "object"])?;
            let at = eval.int_of("index", &eval.required("index", at)?)?;
            let item = eval.required("object", item)?;
            let len = items.borrow().len() as i128;
            let at = (if at < 0 { at + len } else { at }).clamp(0, len);
            items.borrow_mut().insert(at as usize, Slot::Ready(item));
            Value::None
        }
        "pop" => {
            let [at] = args.bind(["index"])?;
            let at = eval.int_or("index", at, -1)?;
            let len = items.borrow().len();
            let at = index(at, len).ok_or_else(|| {
                Fault::plain(if len == 0 { "pop from empty list" } else { "pop index out of range" })
            })?;
            let value = eval.item_at(items, at)?;
            items.borrow_mut().remove(at);
            value.unwrap_or(Value::None)
        }
        "remove" | "index" => {
            let [item] = args.bind(["value"])?;
            let item = eval.required("value", item)?;
            let mut found = None;
            for (i, other) in eval.items_of(items)?.iter().enumerate() {
                if eval.equal(other, &item)? {
                    found = Some(i);
                    break;
                }
            }
            let at = found.ok_or_else(|| Fault::plain(format!("list.{name}(x): x not in list")))?;
            if name == "index" {
                return Ok(Value::from(at));
            }
            items.borrow_mut().remove(at);
            Value::None
        }
        "count" => {
            let [item] = args.bind(["value"])?;
            let item = eval.required("value", item)?;
            let mut n = 0usize;
            for other in eval.items_of(items)? {
                n += usize::from(eval.equal(&other, &item)?);
            }
            Value::from(n)
        }
        "copy" => Value::list(eval.items_of(items)?),
        "clear" => {
            items.borrow_mut().clear();
            Value::None
        }
        "reverse" => {
            items.borrow_mut().reverse();
            Value::None
        }
        "sort" => {
            let [_, reverse] = args.bind(["key", "reverse"])?;
            let mut pairs: Vec<_> = eval.items_of(items)?.into_iter().map(|v| (v.clone(), v)).collect();
            eval.sort_by_key(&mut pairs, eval.flag(reverse)?)?;
            *items.borrow_mut() = pairs.into_iter().map(|(_, v)| Slot::Ready(v)).collect();
            Value::None
        }
        other => return Err(Fault::plain(format!("'list' has no method '{other}'"))),
    })
}

fn on_dict(eval: &Eval, object: &Value, name: &str, args: Args) -> Run<Value> {
    match name {
        "keys" => return Ok(Value::list(eval.keys(object)?.iter().map(|k| eval.from_val(k)).collect())),
        "values" => return Ok(Value::list(eval.entries(object)?.into_iter().map(|(_, v)| v).collect())),
        "items" => {
            let pairs = eval.entries(object)?.into_iter();
            return Ok(Value::list(pairs.map(|(k, v)| Value::tuple(vec![eval.from_val(&k), v])).collect()));
        }
        "get" => {
            let [key, default] = args.bind(["key", "default"])?;
            let key = eval.required("key", key)?.key(eval)?;
            return Ok(eval.entry(object, &key)?.or(default).unwrap_or(Value::None));
        }
        _ => {}
    }
    let Value::Dict(entries) = object else {
        return Err(Fault::plain(format!("'{name}' would change variables, which templates can't")));
    };
    Ok(match name {
        "copy" => Value::dict(eval.entries(object)?),
        "clear" => {
            entries.borrow_mut().clear();
            Value::None
        }
        "update" => {
            let named = args.named;
            for other in args.pos {
                let more = if other.is_dict() {
                    eval.entries(&other)?
                } else {
                    let mut pairs = Vec::new();
                    for pair in eval.iterate(&other)? {
                        match &eval.iterate(&pair)?[..] {
                            [k, v] => pairs.push((k.key(eval)?, v.clone())),
                            _ => return Err(Fault::plain("dict.update() needs pairs")),
                        }
                    }
                    pairs
                };
                entries.borrow_mut().extend(more.into_iter().map(|(k, v)| (k, Slot::Ready(v))));
            }
            entries.borrow_mut().extend(named.into_iter().map(|(k, v)| (Val::from(&*k), Slot::Ready(v))));
            Value::None
        }
        "pop" => {
            let [key, default] = args.bind(["key", "default"])?;
            let key = eval.required("key", key)?.key(eval)?;
            let value = eval.entry_at(entries, &key)?;
            entries.borrow_mut().shift_remove(&key);
            value.or(default).ok_or_else(|| Fault::new(format!("no such key: {}", key.key_text())))?
        }
        "popitem" => {
            let Some(key) = entries.borrow().keys().last().cloned() else {
                return Err(Fault::plain("popitem(): dictionary is empty"));
            };
            let value = eval.entry_at(entries, &key)?.unwrap_or(Value::None);
            entries.borrow_mut().shift_remove(&key);
            Value::tuple(vec![eval.from_val(&key), value])
        }
        "setdefault" => {
            let [key, default] = args.bind(["key", "default"])?;
            let key = eval.required("key", key)?.key(eval)?;
            match eval.entry_at(entries, &key)? {
                Some(value) => value,
                None => {
                    let value = default.unwrap_or(Value::None);
                    entries.borrow_mut().insert(key, Slot::Ready(value.clone()));
                    value
                }
            }
        }
        other => return Err(Fault::plain(format!("'dict' has no method '{other}'"))),
    })
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
