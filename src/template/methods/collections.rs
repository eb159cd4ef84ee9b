//! Methods of `list` and `dict`.

use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::{Slot, Value};

pub fn on_list(eval: &Eval, object: &Value, name: &str, args: Args) -> Run<Value> {
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

pub fn on_dict(eval: &Eval, object: &Value, name: &str, args: Args) -> Run<Value> {
    match name {
        "keys" => return Ok(Value::list(eval.keys(object)?.iter().map(|k| eval.value_of(k)).collect())),
        "values" => return Ok(Value::list(eval.entries(object)?.into_iter().map(|(_, v)| v).collect())),
        "items" => {
            let pairs = eval.entries(object)?.into_iter();
            return Ok(Value::list(pairs.map(|(k, v)| Value::tuple(vec![eval.value_of(&k), v])).collect()));
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
            Value::tuple(vec![eval.value_of(&key), value])
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
