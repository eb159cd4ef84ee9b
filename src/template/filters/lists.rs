//! Sequences: Jinja's list filters, `flatten`, `random`, `shuffle`.

use super::Filter;
use super::attribute_path;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::ops;
use crate::template::program::Place;
use crate::template::random::Random;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("batch", batch),
    Filter::new("count", length),
    Filter::new("extract", extract).takes_undefined(),
    Filter::new("first", first),
    Filter::new("flatten", flatten),
    Filter::new("last", last),
    Filter::new("length", length),
    Filter::new("max", |e, v, a| extreme(e, v, a, true)),
    Filter::new("min", |e, v, a| extreme(e, v, a, false)),
    Filter::new("random", random),
    Filter::new("reverse", reverse),
    Filter::new("shuffle", shuffle),
    Filter::new("slice", slice),
    Filter::new("sort", sort),
    Filter::new("sum", sum),
];

fn length(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::from(eval.length(&value)?))
}

fn first(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(match eval.iterate_lazy(&value)?.into_iter().next() {
        Some(item) => item,
        None => eval.undefined("No first item, sequence was empty.".into(), None, Place::default()),
    })
}

fn last(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(match eval.iterate_lazy(&value)?.pop() {
        Some(item) => item,
        None => eval.undefined("No last item, sequence was empty.".into(), None, Place::default()),
    })
}

fn reverse(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    if let Value::Text(s) = &value {
        return Ok(Value::text(s.chars().rev().collect::<String>()));
    }
    let mut items = eval.iterate(&value)?;
    items.reverse();
    Ok(Value::list(items))
}

fn batch(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [count, fill] = args.bind(["linecount", "fill_with"])?;
    let count = eval.int_of("linecount", &eval.required("linecount", count)?)?;
    let count = usize::try_from(count).ok().filter(|n| *n > 0);
    let count = count.ok_or_else(|| Fault::plain("'linecount' must be at least 1"))?;
    let items = eval.iterate(&value)?;
    let mut rows: Vec<Vec<Value>> = items.chunks(count).map(<[Value]>::to_vec).collect();
    if let (Some(fill), Some(row)) = (eval.given(fill), rows.last_mut()) {
        row.resize(count, fill);
    }
    Ok(Value::list(rows.into_iter().map(Value::list).collect()))
}

fn slice(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [slices, fill] = args.bind(["slices", "fill_with"])?;
    let slices = eval.int_of("slices", &eval.required("slices", slices)?)?;
    let slices = usize::try_from(slices).ok().filter(|n| *n > 0);
    let slices = slices.ok_or_else(|| Fault::plain("'slices' must be at least 1"))?;
    let items = eval.iterate(&value)?;
    let (per, extra) = (items.len() / slices, items.len() % slices);
    let fill = eval.given(fill);
    let mut rest = &items[..];
    let mut rows = Vec::new();
    for i in 0..slices {
        let (row, after) = rest.split_at(per + usize::from(i < extra));
        rest = after;
        let mut row = row.to_vec();
        if let Some(fill) = &fill
            && i >= extra
        {
            row.push(fill.clone());
        }
        rows.push(Value::list(row));
    }
    Ok(Value::list(rows))
}

/// The keys to sort by: an attribute or several with commas, letters in lower case unless asked.
fn sort_keys(
    eval: &Eval,
    items: Vec<Value>,
    attribute: Option<Value>,
    case_sensitive: bool,
) -> Run<Vec<(Value, Value)>> {
    let fold = |v: Value| match &v {
        Value::Text(s) if !case_sensitive => Value::text(s.to_lowercase()),
        _ => v,
    };
    let paths: Vec<Value> = match &attribute {
        Some(Value::Text(s)) => s.split(',').map(|p| Value::text(p.trim())).collect(),
        Some(other) => vec![other.clone()],
        None => vec![],
    };
    items
        .into_iter()
        .map(|item| {
            let key = match &paths[..] {
                [] => fold(item.clone()),
                [one] => fold(attribute_path(eval, &item, one)?.defined()?),
                many => {
                    let mut keys = Vec::new();
                    for path in many {
                        keys.push(fold(attribute_path(eval, &item, path)?.defined()?));
                    }
                    Value::list(keys)
                }
            };
            Ok((key, item))
        })
        .collect()
}

fn sort(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [reverse, case_sensitive, attribute] = args.bind(["reverse", "case_sensitive", "attribute"])?;
    let items = eval.iterate(&value)?;
    let mut pairs = sort_keys(eval, items, eval.given(attribute), eval.flag(case_sensitive)?)?;
    eval.sort_by_key(&mut pairs, eval.flag(reverse)?)?;
    Ok(Value::list(pairs.into_iter().map(|(_, v)| v).collect()))
}

fn extreme(eval: &Eval, value: Value, args: Args, max: bool) -> Run<Value> {
    let [case_sensitive, attribute] = args.bind(["case_sensitive", "attribute"])?;
    let items = eval.iterate(&value)?;
    let pairs = sort_keys(eval, items, eval.given(attribute), eval.flag(case_sensitive)?)?;
    let mut best: Option<(Value, Value)> = None;
    for (key, item) in pairs {
        let better = match &best {
            None => true,
            Some((top, _)) => {
                let order = eval.order(&key, top, if max { ">" } else { "<" })?;
                order == Some(if max { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less })
            }
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(match best {
        Some((_, item)) => item,
        None => eval.undefined("No aggregated item, sequence was empty.".into(), None, Place::default()),
    })
}

fn sum(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [attribute, start] = args.bind(["attribute", "start"])?;
    let attribute = eval.given(attribute);
    let mut total = start.unwrap_or(Value::Int(0));
    for item in eval.iterate(&value)? {
        let item = match &attribute {
            Some(path) => attribute_path(eval, &item, path)?.defined()?,
            None => item,
        };
        total = ops::add(eval, &total, &item)?;
    }
    Ok(total)
}

fn flatten(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [levels, skip_nulls] = args.bind(["levels", "skip_nulls"])?;
    let levels = match eval.given(levels) {
        Some(n) => Some(eval.int_of("levels", &n)?),
        None => None,
    };
    let skip_nulls = skip_nulls.map_or(Ok(true), |v| v.truthy())?;
    let mut out = Vec::new();
    flatten_into(eval, &value, levels, skip_nulls, &mut out, 0)?;
    Ok(Value::list(out))
}

/// Ansible's flatten; `None` levels is all of them.
pub fn flatten_into(
    eval: &Eval,
    value: &Value,
    levels: Option<i128>,
    skip_nulls: bool,
    out: &mut Vec<Value>,
    depth: usize,
) -> Run<()> {
    if depth > 200 {
        return Err(Fault::plain("the list is nested too deeply, or holds itself"));
    }
    for item in eval.iterate(value)? {
        let null = matches!(item, Value::None) || matches!(item.as_str(), Some("None" | "null"));
        if skip_nulls && null {
            continue;
        }
        if item.is_sequence() && levels.is_none_or(|n| n >= 1) {
            flatten_into(eval, &item, levels.map(|n| n - 1), skip_nulls, out, depth + 1)?;
        } else {
            out.push(item);
        }
    }
    Ok(())
}

fn random(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [start, step, seed] = args.bind(["start", "step", "seed"])?;
    let (start, step) = (eval.given(start), eval.given(step));
    let mut random = Random::from_seed(eval, seed)?;
    if let Value::Int(end) = value {
        let start = eval.int_or("start", start, 0)?;
        let step = match eval.int_or("step", step, 1)? {
            0 => 1,
            n => n,
        };
        let width = end - start;
        let n = if step > 0 { (width + step - 1) / step } else { (width + step + 1) / step };
        let n = u64::try_from(n).ok().filter(|n| *n > 0);
        let n = n.ok_or_else(|| Fault::plain("empty range for randrange()"))?;
        return Ok(Value::Int(start + step * i128::from(random.below(n)?)));
    }
    if value.is_number() || matches!(value, Value::None) {
        return Err(Fault::plain("random can only be used on sequences and integers"));
    }
    if start.is_some() || step.is_some() {
        return Err(Fault::plain("start and step can only be used with integer values"));
    }
    if let Value::Range(start, stop, step) = value {
        let n = crate::template::value::range_len(start, stop, step) as u64;
        return Ok(Value::Int(i128::from(start) + i128::from(random.below(n)?) * i128::from(step)));
    }
    let items = eval.iterate(&value)?;
    Ok(items[random.below(items.len() as u64)? as usize].clone())
}

fn shuffle(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [seed] = args.bind(["seed"])?;
    let mut items = eval.iterate(&value)?;
    let seed = match seed {
        Some(s) if s.truthy()? => Some(s),
        _ => None,
    };
    Random::from_seed(eval, seed)?.shuffle(&mut items)?;
    Ok(Value::list(items))
}

fn extract(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [container, more] = args.bind(["container", "morekeys"])?;
    let mut keys = vec![value];
    match eval.given(more) {
        None => {}
        Some(list @ Value::List(_)) => keys.extend(eval.iterate(&list)?),
        Some(one) => keys.push(one),
    }
    let mut found = eval.required("container", container)?;
    for key in keys {
        found = eval.subscript(&found, &key, Place::default())?;
    }
    Ok(found)
}
