//! `subelements`: each element with each item of a list inside it.

use super::{Lookup, Options};
use crate::source::Val;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("subelements", run).moves();

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let wrong =
        |why: &str| Fault::plain(format!("subelements lookup expects a list of two or three items, {why}"));
    let (from, path, flags) = match &terms[..] {
        [from, Value::Text(path)] => (from, path, None),
        [from, Value::Text(path), flags] => (from, path, Some(flags)),
        _ => return Err(wrong("first a dict or a list, second a string pointing to the subkey")),
    };
    let skip_missing = match flags {
        None => false,
        Some(flags) if flags.is_dict() => match eval.entry(flags, &Val::from("skip_missing"))? {
            Some(Value::Text(s)) => crate::template::filters::boolean(&s).unwrap_or(false),
            Some(flag) => flag.truthy()?,
            None => false,
        },
        Some(_) => return Err(wrong("the optional third item must be a dict with flags ('skip_missing',)")),
    };
    let skipped = |item: &Value| -> Run<bool> {
        Ok(match eval.entry(item, &Val::from("skipped"))? {
            Some(Value::Bool(false)) | None => false,
            Some(_) => true,
        })
    };
    let elements = if from.is_dict() {
        if skipped(from)? {
            return Ok(vec![]);
        }
        eval.entries(from)?.into_iter().map(|(_, v)| v).collect()
    } else if from.is_sequence() {
        eval.iterate(from)?
    } else {
        return Err(wrong("first a dict or a list, second a string pointing to the subkey"));
    };
    let keys: Vec<&str> = path.split('.').collect();
    let mut out = Vec::new();
    for element in elements {
        if !element.is_dict() {
            return Err(Fault::plain(format!(
                "subelements lookup expects a dictionary, got type '{}'",
                element.type_name()
            )));
        }
        if skipped(&element)? {
            continue;
        }
        if let Some(list) = follow(eval, &element, &keys, skip_missing)? {
            let rest = without(eval, &element, &keys)?;
            for item in eval.iterate(&list)? {
                out.push(Value::tuple(vec![rest.clone(), item]));
            }
        }
    }
    Ok(out)
}

fn follow(eval: &Eval, element: &Value, keys: &[&str], skip_missing: bool) -> Run<Option<Value>> {
    let mut found = element.clone();
    for (i, key) in keys.iter().enumerate() {
        let last = i + 1 == keys.len();
        let Some(inner) = eval.entry(&found, &Val::from(*key))? else {
            if skip_missing {
                return Ok(None);
            }
            return Err(Fault::plain(format!("could not find '{key}' key in iterated item")));
        };
        let fits = if last { matches!(inner, Value::List(_)) } else { inner.is_dict() };
        if !fits {
            if skip_missing && !last {
                return Ok(None);
            }
            let kind = if last { "list" } else { "dictionary" };
            return Err(Fault::plain(format!(
                "the key {key} should point to a {kind}, got type '{}'",
                inner.type_name()
            )));
        }
        found = inner;
    }
    Ok(Some(found))
}

/// The element without the list that was opened.
fn without(eval: &Eval, element: &Value, keys: &[&str]) -> Run<Value> {
    let Some((first, rest)) = keys.split_first() else { return Ok(element.clone()) };
    let mut entries = eval.entries(element)?;
    if rest.is_empty() {
        entries.retain(|(k, _)| k.as_str() != Some(first));
    } else {
        for (key, value) in &mut entries {
            if key.as_str() == Some(first) {
                *value = without(eval, value, rest)?;
            }
        }
    }
    Ok(Value::dict(entries))
}
