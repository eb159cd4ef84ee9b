//! Filters that apply others: `map`, `select`, `reject`, `selectattr`, `rejectattr`, `groupby`.

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::program::Place;
use crate::template::tests;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("attr", attr),
    Filter::new("groupby", groupby),
    Filter::new("map", map),
    Filter::new("reject", |e, v, a| pick(e, v, a, false, false)),
    Filter::new("rejectattr", |e, v, a| pick(e, v, a, true, false)),
    Filter::new("select", |e, v, a| pick(e, v, a, false, true)),
    Filter::new("selectattr", |e, v, a| pick(e, v, a, true, true)),
];

/// `a.b.0` of an item, as `attribute=` takes it. What isn't there is undefined.
pub fn path_of(eval: &Eval, item: &Value, path: &Value) -> Run<Value> {
    let Some(text) = path.as_str() else { return eval.subscript(item, path, Place::default()) };
    let mut found = item.clone();
    for part in text.split('.') {
        let key = match part.parse::<i64>() {
            Ok(i) if part.bytes().all(|b| b.is_ascii_digit()) => Value::from(i),
            _ => Value::text(part),
        };
        found = eval.subscript(&found, &key, Place::default())?;
    }
    Ok(found)
}

fn attr(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [name] = args.bind(["name"])?;
    let name = eval.text_of(&eval.required("name", name)?)?;
    eval.attribute_only(&value, &name, Place::default())
}

fn map(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let items = eval.iterate_lazy(&value)?;
    if args.pos.is_empty() && args.named.iter().any(|(n, _)| &**n == "attribute") {
        let [attribute, default] = args.bind(["attribute", "default"])?;
        let path = eval.required("attribute", attribute)?;
        let default = eval.given(default);
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            let found = path_of(eval, &item, &path)?;
            out.push(match &default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        }
        return Ok(Value::list(out));
    }
    if args.pos.is_empty() {
        return Err(Fault::plain("map requires a filter argument"));
    }
    let name = eval.text_of(&args.pos.remove(0))?;
    let filter = super::find(&name).ok_or_else(|| Fault::new(format!("No filter named '{name}'.")))?;
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        out.push(eval.filter(filter, item, args.clone())?);
    }
    Ok(Value::list(out))
}

fn pick(eval: &Eval, value: Value, mut args: Args, by_attribute: bool, keep: bool) -> Run<Value> {
    let items = eval.iterate_lazy(&value)?;
    let path = if by_attribute {
        if args.pos.is_empty() {
            return Err(Fault::plain("Missing parameter for attribute name"));
        }
        Some(args.pos.remove(0))
    } else {
        None
    };
    let test = if args.pos.is_empty() {
        None
    } else {
        let name = eval.text_of(&args.pos.remove(0))?;
        Some(tests::find(&name).ok_or_else(|| Fault::new(format!("No test named '{name}'.")))?)
    };
    let mut out = Vec::new();
    for item in items {
        let subject = match &path {
            Some(path) => path_of(eval, &item, path)?,
            None => item.clone(),
        };
        let yes = match test {
            Some(test) => eval.test(test, subject, args.clone())?.truthy()?,
            None => subject.truthy()?,
        };
        if yes == keep {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

fn groupby(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [attribute, default, case_sensitive] = args.bind(["attribute", "default", "case_sensitive"])?;
    let path = eval.required("attribute", attribute)?;
    let default = eval.given(default);
    let case_sensitive = eval.flag(case_sensitive)?;
    let mut pairs = Vec::new();
    for item in eval.iterate(&value)? {
        let mut key = path_of(eval, &item, &path)?;
        if let Some(default) = default.as_ref().filter(|_| key.is_undefined()) {
            key = default.clone();
        }
        let key = key.defined()?;
        let folded = match &key {
            Value::Text(s) if !case_sensitive => Value::text(s.to_lowercase()),
            _ => key.clone(),
        };
        pairs.push((folded, Value::tuple(vec![key, item])));
    }
    eval.sort_by_key(&mut pairs, false)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (folded, pair) in pairs {
        let pair = eval.iterate(&pair)?;
        let (Some(key), Some(item)) = (pair.first(), pair.get(1)) else { continue };
        match groups.last_mut() {
            Some((last, _, items)) if eval.equal(last, &folded)? => items.push(item.clone()),
            _ => groups.push((folded, key.clone(), vec![item.clone()])),
        }
    }
    Ok(Value::list(
        groups.into_iter().map(|(_, key, items)| Value::tuple(vec![key, Value::list(items)])).collect(),
    ))
}
