//! `regex_replace`, `regex_search`, `regex_findall`, `regex_escape`.

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("regex_escape", regex_escape),
    Filter::new("regex_findall", regex_findall),
    Filter::new("regex_replace", regex_replace),
    Filter::new("regex_search", regex_search),
];

fn regex_replace(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [pattern, replacement, ignorecase, multiline, count, mandatory_count] =
        args.bind(["pattern", "replacement", "ignorecase", "multiline", "count", "mandatory_count"])?;
    let text = eval.text_of(&value)?;
    let pattern = eval.text_or(pattern, "")?;
    let replacement = eval.text_or(replacement, "")?;
    let compiled = regex::compile(&pattern, eval.flag(ignorecase)?, eval.flag(multiline)?)?;
    let count = usize::try_from(eval.int_or("count", count, 0)?).unwrap_or(0);
    let mandatory = usize::try_from(eval.int_or("mandatory_count", mandatory_count, 0)?).unwrap_or(0);
    let (out, n) = regex::replace(&compiled, &text, &replacement, count)?;
    if mandatory != 0 && mandatory != n {
        return Err(Fault::new(format!(
            "'{pattern}' should match {mandatory} times, but matches {n} times in '{text}'"
        )));
    }
    Ok(Value::text(out))
}

/// A group as `re.findall` and `match.group` give it.
fn group(captures: &fancy_regex::Captures<str>, n: usize) -> Option<Value> {
    captures.get(n).map(|m| Value::text(m.as_str()))
}

fn regex_findall(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [pattern, multiline, ignorecase] = args.bind(["regex", "multiline", "ignorecase"])?;
    let text = eval.text_of(&value)?;
    let pattern = eval.text_of(&eval.required("regex", pattern)?)?;
    let compiled = regex::compile(&pattern, eval.flag(ignorecase)?, eval.flag(multiline)?)?;
    let groups = compiled.captures_len();
    let empty = || Value::text("");
    let found = regex::find_all(&compiled, &text)?;
    Ok(Value::list(
        found
            .iter()
            .map(|m| match groups {
                1 => group(m, 0).unwrap_or_else(empty),
                2 => group(m, 1).unwrap_or_else(empty),
                n => Value::tuple((1..n).map(|i| group(m, i).unwrap_or_else(empty)).collect()),
            })
            .collect(),
    ))
}

fn regex_search(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let ignorecase = eval.flag(args.take("ignorecase"))?;
    let multiline = eval.flag(args.take("multiline"))?;
    let text = eval.text_of(&value)?;
    let pattern = match args.take("regex") {
        Some(p) => p,
        None if args.pos.is_empty() => return Err(Fault::plain("missing required argument: 'regex'")),
        None => args.pos.remove(0),
    };
    let compiled = regex::compile(&eval.text_of(&pattern)?, ignorecase, multiline)?;
    let mut groups = Vec::new();
    for arg in &args.pos {
        let arg = eval.text_of(arg)?;
        let name = arg
            .strip_prefix("\\g<")
            .and_then(|rest| rest.strip_suffix('>'))
            .or_else(|| arg.strip_prefix('\\').filter(|n| n.bytes().all(|b| b.is_ascii_digit())));
        let name = name.ok_or_else(|| Fault::plain("Unknown argument"))?;
        let n = match name.parse::<usize>() {
            Ok(n) => n,
            Err(_) => compiled
                .capture_names()
                .position(|known| known == Some(name))
                .ok_or_else(|| Fault::plain(format!("no such group: '{name}'")))?,
        };
        if n >= compiled.captures_len() {
            return Err(Fault::plain(format!("no such group: {n}")));
        }
        groups.push(n);
    }
    Ok(match regex::search(&compiled, &text)? {
        None => Value::None,
        Some(m) if groups.is_empty() => group(&m, 0).unwrap_or(Value::None),
        Some(m) => Value::list(groups.iter().map(|n| group(&m, *n).unwrap_or(Value::None)).collect()),
    })
}

fn regex_escape(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [kind] = args.bind(["re_type"])?;
    let text = eval.text_of(&value)?;
    Ok(Value::text(match &*eval.text_or(kind, "python")? {
        "python" => regex::escape(&text),
        "posix_basic" => {
            let mut out = String::new();
            for c in text.chars() {
                if "[].^$*\\".contains(c) {
                    out.push('\\');
                }
                out.push(c);
            }
            out
        }
        "posix_extended" => return Err(Fault::plain("Regex type (posix_extended) not yet implemented")),
        other => return Err(Fault::new(format!("Invalid regex type ({other})"))),
    }))
}
