//! Methods of `str`.

use std::sync::Arc;

use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::format;
use crate::template::value::Value;

fn texts(items: impl IntoIterator<Item = impl AsRef<str>>) -> Value {
    Value::list(items.into_iter().map(|s| Value::text(s.as_ref())).collect())
}

pub fn call(eval: &Eval, text: &Arc<str>, name: &str, args: Args) -> Run<Value> {
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
fn split(s: &str, sep: Option<&str>, max: Option<usize>, from_right: bool) -> Run<Vec<String>> {
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
