//! Lookups that only rearrange their terms: `dict`, `items`, `nested`, `together`, …

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const DICT: Lookup = Lookup::new("dict", dict).moves();
pub const FLATTENED: Lookup = Lookup::new("flattened", flattened).moves();
pub const INDEXED_ITEMS: Lookup = Lookup::new("indexed_items", indexed_items).moves();
pub const ITEMS: Lookup = Lookup::new("items", |e, t, o| {
    o.finish(&[])?;
    one_level(e, t)
})
.moves();
pub const LIST: Lookup = Lookup::new("list", |_, t, o| {
    o.finish(&[])?;
    Ok(t)
})
.moves();
pub const NESTED: Lookup = Lookup::new("nested", nested).moves();
pub const TOGETHER: Lookup = Lookup::new("together", together).moves();

/// Lists among the terms opened, one level.
fn one_level(eval: &Eval, terms: Vec<Value>) -> Run<Vec<Value>> {
    let mut out = Vec::new();
    for term in terms {
        match &term {
            Value::List(_) | Value::Tuple(_) => out.extend(eval.iterate_lazy(&term)?),
            _ => out.push(term),
        }
    }
    Ok(out)
}

fn dict(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let mut out = Vec::new();
    for term in terms {
        if !term.is_dict() {
            return Err(Fault::plain(format!(
                "the 'dict' lookup plugin expects a dictionary, got type '{}'",
                term.type_name()
            )));
        }
        for (key, value) in eval.entries(&term)? {
            out.push(Value::record([("key", eval.value_of(&key)), ("value", value)]));
        }
    }
    Ok(out)
}

fn flattened(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let mut out = Vec::new();
    crate::template::filters::flatten_into(eval, &Value::list(terms), None, true, &mut out, 0)?;
    Ok(out)
}

fn indexed_items(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let items = one_level(eval, terms)?.into_iter().enumerate();
    Ok(items.map(|(i, item)| Value::tuple(vec![Value::from(i), item])).collect())
}

fn nested(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    if terms.is_empty() {
        return Err(Fault::plain("with_nested requires at least one element in the nested list"));
    }
    let mut rows: Vec<Vec<Value>> = vec![vec![]];
    for term in terms {
        let items = if term.is_sequence() { eval.iterate(&term)? } else { vec![term] };
        let mut longer = Vec::with_capacity(rows.len() * items.len());
        for row in &rows {
            for item in &items {
                let mut row = row.clone();
                // An element that is a list itself is opened into the row.
                row.extend(one_level(eval, vec![item.clone()])?);
                longer.push(row);
            }
        }
        rows = longer;
    }
    Ok(rows.into_iter().map(Value::list).collect())
}

fn together(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    if terms.is_empty() {
        return Err(Fault::plain("with_together requires at least one element in each list"));
    }
    let lists = terms.iter().map(|t| eval.iterate(t)).collect::<Run<Vec<_>>>()?;
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .map(|i| {
            let row = lists.iter().map(|l| l.get(i).cloned().unwrap_or(Value::None)).collect();
            Ok(Value::list(one_level(eval, row)?))
        })
        .collect()
}
