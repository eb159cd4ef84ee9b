//! Dicts: `combine`, `dict2items`, `dict_kv`, `items2dict`, `dictsort`, `subelements`, `rekey_on_member`.

use indexmap::IndexMap;

use super::Filter;
use super::lists::flatten_into;
use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("combine", combine),
    Filter::new("community.general.dict_kv", dict_kv),
    Filter::new("dict2items", dict2items),
    Filter::new("dictsort", dictsort),
    Filter::new("items", items),
    Filter::new("items2dict", items2dict),
    Filter::new("rekey_on_member", rekey_on_member),
    Filter::new("subelements", subelements),
];

/// What `combine` does with two lists under one key.
#[derive(Clone, Copy)]
enum ListMerge {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendRp,
    PrependRp,
}

fn combine(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let recursive = eval.flag(args.take("recursive"))?;
    let list_merge = match eval.text_or(args.take("list_merge"), "replace")?.as_ref() {
        "replace" => ListMerge::Replace,
        "keep" => ListMerge::Keep,
        "append" => ListMerge::Append,
        "prepend" => ListMerge::Prepend,
        "append_rp" => ListMerge::AppendRp,
        "prepend_rp" => ListMerge::PrependRp,
        other => {
            return Err(Fault::new(format!("merge_hash: 'list_merge' argument can't be '{other}'"))
                .help("It can be: replace, keep, append, prepend, append_rp, prepend_rp"));
        }
    };
    if !args.named.is_empty() {
        return Err(Fault::plain("'recursive' and 'list_merge' are the only valid keyword arguments"));
    }
    let terms = Value::list(std::iter::once(value).chain(args.pos).collect());
    let mut dicts = Vec::new();
    flatten_into(eval, &terms, Some(1), true, &mut dicts, 0)?;
    let mut merged: Option<Value> = None;
    for dict in dicts {
        merged = Some(match merged {
            None => dict,
            Some(low) => merge(eval, &low, &dict, recursive, list_merge, 0)?,
        });
    }
    match merged {
        None => Ok(Value::dict([])),
        Some(dict) => Ok(dict),
    }
}

fn merge(
    eval: &Eval,
    low: &Value,
    high: &Value,
    recursive: bool,
    lists: ListMerge,
    depth: usize,
) -> Run<Value> {
    for dict in [low, high] {
        if !dict.is_dict() {
            return Err(Fault::plain(format!(
                "failed to combine variables, expected dicts but got a '{}' and a '{}'",
                low.type_name(),
                high.type_name()
            )));
        }
    }
    if depth > 200 {
        return Err(Fault::plain("the dict is nested too deeply, or holds itself"));
    }
    let mut out: IndexMap<Val, Value> = eval.entries(low)?.into_iter().collect();
    for (key, new) in eval.entries(high)? {
        let value = match out.get(&key) {
            Some(old) if recursive && old.is_dict() && new.is_dict() => {
                merge(eval, old, &new, recursive, lists, depth + 1)?
            }
            Some(Value::List(old)) if matches!(new, Value::List(_)) => {
                merge_lists(eval, eval.items_of(old)?, &new, lists)?
            }
            _ => new,
        };
        out.insert(key, value);
    }
    Ok(Value::dict(out))
}

fn merge_lists(eval: &Eval, old: Vec<Value>, new: &Value, how: ListMerge) -> Run<Value> {
    let new_items = eval.iterate_lazy(new)?;
    let without = |items: &[Value], drop: &[Value]| -> Run<Vec<Value>> {
        let mut kept = Vec::new();
        for item in items {
            let mut dropped = false;
            for other in drop {
                dropped = dropped || eval.equal(item, other)?;
            }
            if !dropped {
                kept.push(item.clone());
            }
        }
        Ok(kept)
    };
    Ok(Value::list(match how {
        ListMerge::Replace => return Ok(new.clone()),
        ListMerge::Keep => old,
        ListMerge::Append => [old, new_items].concat(),
        ListMerge::Prepend => [new_items, old].concat(),
        ListMerge::AppendRp => [without(&old, &new_items)?, new_items].concat(),
        ListMerge::PrependRp => {
            let rest = without(&old, &new_items)?;
            [new_items, rest].concat()
        }
    }))
}

fn dict2items(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [key_name, value_name] = args.bind(["key_name", "value_name"])?;
    let (key_name, value_name) = (eval.text_or(key_name, "key")?, eval.text_or(value_name, "value")?);
    if !value.is_dict() {
        return Err(Fault::plain(format!(
            "dict2items requires a dictionary, got {} instead.",
            value.type_name()
        )));
    }
    let item = |(k, v): (Val, Value)| Value::record([(&*key_name, eval.value_of(&k)), (&*value_name, v)]);
    Ok(Value::list(eval.entries(&value)?.into_iter().map(item).collect()))
}

/// `{key: value}`; with `map`, dicts from a list.
fn dict_kv(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [key] = args.bind(["key"])?;
    let key = eval.required("key", key)?.key(eval)?;
    Ok(Value::dict([(key, value)]))
}

fn items2dict(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [key_name, value_name] = args.bind(["key_name", "value_name"])?;
    let (key_name, value_name) = (eval.text_or(key_name, "key")?, eval.text_or(value_name, "value")?);
    if !value.is_sequence() {
        return Err(Fault::plain(format!("items2dict requires a list, got {} instead.", value.type_name())));
    }
    let mut out = Vec::new();
    for item in eval.iterate(&value)? {
        if !item.is_dict() {
            return Err(Fault::plain("items2dict requires a list of dictionaries"));
        }
        let part = |name: &str| eval.entry(&item, &Val::from(name));
        match (part(&key_name)?, part(&value_name)?) {
            (Some(k), Some(v)) => out.push((k.defined()?.key(eval)?, v)),
            _ => {
                return Err(Fault::plain(format!(
                    "items2dict requires each dictionary in the list to contain the keys '{key_name}' and '{value_name}'"
                )));
            }
        }
    }
    Ok(Value::dict(out))
}

fn items(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    if !value.is_dict() {
        return Err(Fault::plain("Can only get item pairs from a mapping."));
    }
    crate::template::methods::call(eval, &value, "items", Args::default())
}

fn dictsort(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [case_sensitive, by, reverse] = args.bind(["case_sensitive", "by", "reverse"])?;
    let case_sensitive = eval.flag(case_sensitive)?;
    let by = eval.text_or(by, "key")?;
    if !matches!(&*by, "key" | "value") {
        return Err(Fault::plain("You can only sort by either \"key\" or \"value\""));
    }
    let mut pairs = Vec::new();
    for (key, item) in eval.entries(&value)? {
        let key = eval.value_of(&key);
        let subject = if &*by == "key" { key.clone() } else { item.clone() };
        let subject = match &subject {
            Value::Text(s) if !case_sensitive => Value::text(s.to_lowercase()),
            _ => subject,
        };
        pairs.push((subject, Value::tuple(vec![key, item])));
    }
    eval.sort_by_key(&mut pairs, eval.flag(reverse)?)?;
    Ok(Value::list(pairs.into_iter().map(|(_, pair)| pair).collect()))
}

fn subelements(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [path, skip_missing] = args.bind(["subelements", "skip_missing"])?;
    let skip_missing = eval.flag(skip_missing)?;
    let elements = match &value {
        Value::List(_) => eval.iterate(&value)?,
        dict if dict.is_dict() => eval.entries(dict)?.into_iter().map(|(_, v)| v).collect(),
        _ => return Err(Fault::plain("obj must be a list of dicts or a nested dict")),
    };
    let path: Vec<String> = match eval.required("subelements", path)? {
        Value::Text(s) => s.split('.').map(str::to_string).collect(),
        list @ Value::List(_) => {
            eval.iterate(&list)?.iter().map(|p| Ok(eval.text_of(p)?.to_string())).collect::<Run<_>>()?
        }
        _ => return Err(Fault::plain("subelements must be a list or a string")),
    };
    let mut out = Vec::new();
    for element in elements {
        let mut found = Some(element.clone());
        for part in &path {
            let inside = found.take().unwrap_or(Value::None);
            if !inside.is_dict() {
                return Err(Fault::plain(format!(
                    "the key {part} should point to a dictionary, got {}",
                    inside.type_name()
                )));
            }
            found = eval.entry(&inside, &Val::from(part.as_str()))?;
            if found.is_none() {
                if skip_missing {
                    break;
                }
                return Err(Fault::plain(format!("could not find '{part}' key in iterated item")));
            }
        }
        let Some(found) = found else { continue };
        if !matches!(found, Value::List(_)) {
            return Err(Fault::plain(format!(
                "the key '{}' should point to a list, got {}",
                path.last().map_or("", String::as_str),
                found.type_name()
            )));
        }
        for item in eval.iterate(&found)? {
            out.push(Value::tuple(vec![element.clone(), item]));
        }
    }
    Ok(Value::list(out))
}

fn rekey_on_member(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [key, duplicates] = args.bind(["key", "duplicates"])?;
    let key = eval.text_of(&eval.required("key", key)?)?;
    let duplicates = eval.text_or(duplicates, "error")?;
    if !matches!(&*duplicates, "error" | "overwrite") {
        return Err(Fault::new(format!(
            "duplicates parameter to rekey_on_member has unknown value '{duplicates}'"
        )));
    }
    let items = match &value {
        dict if dict.is_dict() => eval.entries(dict)?.into_iter().map(|(_, v)| v).collect(),
        list if list.is_sequence() => eval.iterate(list)?,
        _ => return Err(Fault::plain("Type is not a valid list, set, or dict")),
    };
    let mut out: IndexMap<Val, Value> = IndexMap::new();
    for item in items {
        if !item.is_dict() {
            return Err(Fault::plain("List item is not a valid dict"));
        }
        let member = eval
            .entry(&item, &Val::from(&*key))?
            .ok_or_else(|| Fault::plain(format!("Key '{key}' was not found.")))?
            .defined()?
            .key(eval)?;
        if &*duplicates == "error" && out.contains_key(&member) {
            return Err(Fault::new(format!(
                "Key '{}' is not unique, cannot convert to dict.",
                member.key_text()
            )));
        }
        out.insert(member, item);
    }
    Ok(Value::dict(out))
}
