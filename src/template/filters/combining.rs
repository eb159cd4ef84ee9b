//! Lists combined: `zip`, `product`, `permutations`, `combinations`.

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

/// Most combinations that are made.
const MOST: usize = 1_000_000;

pub const FILTERS: &[Filter] = &[
    Filter::new("combinations", combinations),
    Filter::new("permutations", permutations),
    Filter::new("product", product),
    Filter::new("zip", zip),
    Filter::new("zip_longest", zip_longest),
];

fn lists(eval: &Eval, value: &Value, args: &[Value]) -> Run<Vec<Vec<Value>>> {
    std::iter::once(value).chain(args).map(|v| eval.iterate(v)).collect()
}

fn zip(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let strict = eval.flag(args.take("strict"))?;
    let lists = lists(eval, &value, &args.pos)?;
    let shortest = lists.iter().map(Vec::len).min().unwrap_or(0);
    if strict && lists.iter().any(|l| l.len() != shortest) {
        return Err(Fault::plain("zip() arguments have different lengths"));
    }
    Ok(rows(shortest, |i| lists.iter().map(|l| l[i].clone()).collect()))
}

fn zip_longest(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let fill = args.take("fillvalue").unwrap_or(Value::None);
    let lists = lists(eval, &value, &args.pos)?;
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    Ok(rows(longest, |i| lists.iter().map(|l| l.get(i).unwrap_or(&fill).clone()).collect()))
}

fn rows(n: usize, row: impl Fn(usize) -> Vec<Value>) -> Value {
    Value::list((0..n).map(|i| Value::tuple(row(i))).collect())
}

fn tuples(rows: Vec<Vec<Value>>) -> Value {
    Value::list(rows.into_iter().map(Value::tuple).collect())
}

fn bounded(rows: &[Vec<Value>]) -> Run<()> {
    if rows.len() > MOST {
        return Err(Fault::plain(format!("more than {MOST} combinations")));
    }
    Ok(())
}

fn product(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let repeat = usize::try_from(eval.int_or("repeat", args.take("repeat"), 1)?).unwrap_or(0);
    let lists = lists(eval, &value, &args.pos)?;
    let mut out: Vec<Vec<Value>> = vec![vec![]];
    for _ in 0..repeat {
        for list in &lists {
            let mut longer = Vec::new();
            for row in &out {
                for item in list {
                    let mut row = row.clone();
                    row.push(item.clone());
                    longer.push(row);
                }
                bounded(&longer)?;
            }
            out = longer;
        }
    }
    Ok(tuples(out))
}

fn permutations(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [r] = args.bind(["r"])?;
    let items = eval.iterate(&value)?;
    let r = match eval.given(r) {
        Some(r) => {
            usize::try_from(eval.int_of("r", &r)?).map_err(|_| Fault::plain("r must be non-negative"))?
        }
        None => items.len(),
    };
    let mut out: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..r {
        let mut longer = Vec::new();
        for row in &out {
            longer.extend((0..items.len()).filter(|i| !row.contains(i)).map(|i| [&row[..], &[i]].concat()));
            if longer.len() > MOST {
                return Err(Fault::plain(format!("more than {MOST} combinations")));
            }
        }
        out = longer;
    }
    Ok(tuples(out.into_iter().map(|row| row.into_iter().map(|i| items[i].clone()).collect()).collect()))
}

fn combinations(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [r] = args.bind(["r"])?;
    let items = eval.iterate(&value)?;
    let r = eval.int_of("r", &eval.required("r", r)?)?;
    let r = usize::try_from(r).map_err(|_| Fault::plain("r must be non-negative"))?;
    let mut out: Vec<(usize, Vec<Value>)> = vec![(0, vec![])];
    for _ in 0..r {
        let mut longer = Vec::new();
        for (next, row) in &out {
            for (i, item) in items.iter().enumerate().skip(*next) {
                let mut row = row.clone();
                row.push(item.clone());
                longer.push((i + 1, row));
            }
            if longer.len() > MOST {
                return Err(Fault::plain(format!("more than {MOST} combinations")));
            }
        }
        out = longer;
    }
    Ok(tuples(out.into_iter().map(|(_, row)| row).collect()))
}
