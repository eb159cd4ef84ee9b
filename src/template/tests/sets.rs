//! Lists: `contains`, `subset`, `superset`, `any`, `all`.

use std::collections::HashSet;

use super::Test;
use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::value::Value;

pub const TESTS: &[Test] = &[
    Test::new("all", all),
    Test::new("any", any),
    Test::new("contains", contains),
    Test::new("issubset", subset),
    Test::new("issuperset", superset),
    Test::new("subset", subset),
    Test::new("superset", superset),
];

fn any(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [] = args.bind([])?;
    for item in eval.iterate(&value)? {
        if item.truthy()? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [] = args.bind([])?;
    for item in eval.iterate(&value)? {
        if !item.truthy()? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [needle] = args.bind(["value"])?;
    eval.contains(&value, &eval.required("value", needle)?)
}

fn set(eval: &Eval, value: &Value) -> Run<HashSet<Val>> {
    eval.iterate(value)?.into_iter().map(|item| item.key(eval)).collect()
}

fn subset(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [other] = args.bind(["b"])?;
    Ok(set(eval, &value)?.is_subset(&set(eval, &eval.required("b", other)?)?))
}

fn superset(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [other] = args.bind(["b"])?;
    Ok(set(eval, &value)?.is_superset(&set(eval, &eval.required("b", other)?)?))
}
