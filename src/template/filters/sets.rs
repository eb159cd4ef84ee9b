//! Lists as sets: `unique`, `union`, `intersect`, `difference`, `symmetric_difference`. Results
//! keep the order of the first list.

use std::collections::HashSet;

use super::{Filter, attribute_path};
use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("difference", difference),
    Filter::new("intersect", intersect),
    Filter::new("symmetric_difference", symmetric_difference),
    Filter::new("union", union),
    Filter::new("unique", unique),
];

type Keyed = Vec<(Val, Value)>;

fn keyed(eval: &Eval, value: &Value) -> Run<Keyed> {
    eval.iterate(value)?.into_iter().map(|item| Ok((eval.to_val(item.clone())?, item))).collect()
}

fn both(eval: &Eval, value: Value, args: Args) -> Run<(Keyed, Keyed)> {
    let [other] = args.bind(["b"])?;
    Ok((keyed(eval, &value)?, keyed(eval, &eval.required("b", other)?)?))
}

/// The items whose key is new and wanted.
fn distinct(items: Keyed, wanted: impl Fn(&Val) -> bool) -> Vec<Value> {
    let mut seen = HashSet::new();
    items.into_iter().filter(|(k, _)| wanted(k) && seen.insert(k.clone())).map(|(_, v)| v).collect()
}

fn keys(items: &Keyed) -> HashSet<Val> {
    items.iter().map(|(k, _)| k.clone()).collect()
}

fn union(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let (mut a, b) = both(eval, value, args)?;
    a.extend(b);
    Ok(Value::list(distinct(a, |_| true)))
}

fn intersect(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let (a, b) = both(eval, value, args)?;
    let b = keys(&b);
    Ok(Value::list(distinct(a, |k| b.contains(k))))
}

fn difference(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let (a, b) = both(eval, value, args)?;
    let b = keys(&b);
    Ok(Value::list(distinct(a, |k| !b.contains(k))))
}

fn symmetric_difference(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let (a, b) = both(eval, value, args)?;
    let (in_a, in_b) = (keys(&a), keys(&b));
    let mut out = distinct(a, |k| !in_b.contains(k));
    out.extend(distinct(b, |k| !in_a.contains(k)));
    Ok(Value::list(out))
}

/// Letters differ by case only if `case_sensitive` says so, as in Jinja.
fn unique(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [case_sensitive, attribute] = args.bind(["case_sensitive", "attribute"])?;
    let case_sensitive = eval.flag(case_sensitive)?;
    let attribute = eval.given(attribute);
    let mut items = Keyed::new();
    for item in eval.iterate(&value)? {
        let subject = match &attribute {
            Some(path) => attribute_path(eval, &item, path)?.defined()?,
            None => item.clone(),
        };
        let key = match &subject {
            Value::Text(s) if !case_sensitive => Val::from(s.to_lowercase()),
            _ => eval.to_val(subject)?,
        };
        items.push((key, item));
    }
    Ok(Value::list(distinct(items, |_| true)))
}
