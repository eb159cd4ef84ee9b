//! Results of tasks: `changed`, `failed`, `skipped`, …

use super::Test;
use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const TESTS: &[Test] = &[
    Test::new("change", changed),
    Test::new("changed", changed),
    Test::new("failed", |e, v, a| Ok(flag(e, &v, a, "failed")?.unwrap_or(false))),
    Test::new("failure", |e, v, a| Ok(flag(e, &v, a, "failed")?.unwrap_or(false))),
    Test::new("finished", |e, v, a| Ok(flag(e, &v, a, "finished")?.unwrap_or(true))),
    Test::new("reachable", |e, v, a| Ok(!flag(e, &v, a, "unreachable")?.unwrap_or(false))),
    Test::new("skip", |e, v, a| Ok(flag(e, &v, a, "skipped")?.unwrap_or(false))),
    Test::new("skipped", |e, v, a| Ok(flag(e, &v, a, "skipped")?.unwrap_or(false))),
    Test::new("started", |e, v, a| Ok(flag(e, &v, a, "started")?.unwrap_or(true))),
    Test::new("succeeded", |e, v, a| Ok(!flag(e, &v, a, "failed")?.unwrap_or(false))),
    Test::new("success", |e, v, a| Ok(!flag(e, &v, a, "failed")?.unwrap_or(false))),
    Test::new("successful", |e, v, a| Ok(!flag(e, &v, a, "failed")?.unwrap_or(false))),
    Test::new("timedout", timedout),
    Test::new("unreachable", |e, v, a| Ok(flag(e, &v, a, "unreachable")?.unwrap_or(false))),
];

/// The truth of a result's key, if it has it.
fn flag(eval: &Eval, value: &Value, args: Args, key: &str) -> Run<Option<bool>> {
    let [] = args.bind([])?;
    entry_of_result(eval, value, key)?.map(|v| v.truthy()).transpose()
}

fn entry_of_result(eval: &Eval, value: &Value, key: &str) -> Run<Option<Value>> {
    if !value.is_dict() {
        return Err(Fault::plain(format!("The '{key}' test expects a dictionary")));
    }
    eval.entry(value, &Val::from(key))
}

fn changed(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    if let Some(changed) = flag(eval, &value, args, "changed")? {
        return Ok(changed);
    }
    let Some(results @ Value::List(_)) = entry_of_result(eval, &value, "results")? else { return Ok(false) };
    for result in eval.iterate(&results)? {
        if result.is_dict()
            && let Some(changed) = eval.entry(&result, &Val::from("changed"))?
            && changed.truthy()?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn timedout(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [] = args.bind([])?;
    match entry_of_result(eval, &value, "timedout")? {
        Some(timedout) if timedout.is_dict() => match eval.entry(&timedout, &Val::from("period"))? {
            Some(period) => period.truthy(),
            None => Ok(false),
        },
        _ => Ok(false),
    }
}
