//! Jinja's own tests: kinds of values, comparisons, `defined`.

use super::Test;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::filters;
use crate::template::program::Compare;
use crate::template::value::{Object, Value};

pub const TESTS: &[Test] = &[
    Test::new("!=", |e, v, a| compare(e, v, a, Compare::Ne)),
    Test::new("<", |e, v, a| compare(e, v, a, Compare::Lt)),
    Test::new("<=", |e, v, a| compare(e, v, a, Compare::Le)),
    Test::new("==", |e, v, a| compare(e, v, a, Compare::Eq)),
    Test::new(">", |e, v, a| compare(e, v, a, Compare::Gt)),
    Test::new(">=", |e, v, a| compare(e, v, a, Compare::Ge)),
    Test::new("boolean", |_, v, a| kind(a, matches!(v, Value::Bool(_)))),
    Test::new("callable", |_, v, a| kind(a, callable(&v))),
    Test::new("defined", |_, v, a| kind(a, !v.is_undefined())).takes_undefined(),
    Test::new("divisibleby", divisibleby),
    Test::new("eq", |e, v, a| compare(e, v, a, Compare::Eq)),
    Test::new("equalto", |e, v, a| compare(e, v, a, Compare::Eq)),
    Test::new("escaped", |_, _, a| kind(a, false)),
    Test::new("even", |_, v, a| parity(&v, a, 0)),
    Test::new("false", |_, v, a| kind(a, matches!(v, Value::Bool(false)))),
    Test::new("falsy", |e, v, a| Ok(!truthy(e, v, a)?)),
    Test::new("filter", |e, v, a| kind(a, filters::find(&e.text_of(&v)?).is_some())),
    Test::new("float", |_, v, a| kind(a, matches!(v, Value::Float(_)))),
    Test::new("ge", |e, v, a| compare(e, v, a, Compare::Ge)),
    Test::new("greaterthan", |e, v, a| compare(e, v, a, Compare::Gt)),
    Test::new("gt", |e, v, a| compare(e, v, a, Compare::Gt)),
    Test::new("in", |e, v, a| compare(e, v, a, Compare::In)),
    Test::new("integer", |_, v, a| kind(a, matches!(v, Value::Int(_)))),
    Test::new("iterable", |_, v, a| kind(a, iterable(&v))),
    Test::new("le", |e, v, a| compare(e, v, a, Compare::Le)),
    Test::new("lessthan", |e, v, a| compare(e, v, a, Compare::Lt)),
    Test::new("lower", |e, v, a| cased(e, &v, a, "islower")),
    Test::new("lt", |e, v, a| compare(e, v, a, Compare::Lt)),
    Test::new("mapping", |_, v, a| kind(a, v.is_dict())),
    Test::new("nan", |_, v, a| kind(a, matches!(v, Value::Float(f) if f.is_nan()))),
    Test::new("isnan", |_, v, a| kind(a, matches!(v, Value::Float(f) if f.is_nan()))),
    Test::new("ne", |e, v, a| compare(e, v, a, Compare::Ne)),
    Test::new("none", |_, v, a| kind(a, matches!(v, Value::None))),
    Test::new("number", |_, v, a| kind(a, v.is_number())),
    Test::new("odd", |_, v, a| parity(&v, a, 1)),
    Test::new("sameas", sameas),
    Test::new("sequence", |_, v, a| kind(a, v.is_sequence() || v.is_dict() || matches!(v, Value::Text(_)))),
    Test::new("string", |_, v, a| kind(a, matches!(v, Value::Text(_)))),
    Test::new("test", |e, v, a| kind(a, super::find(&e.text_of(&v)?).is_some())),
    Test::new("true", |_, v, a| kind(a, matches!(v, Value::Bool(true)))),
    Test::new("truthy", truthy),
    Test::new("undefined", |_, v, a| kind(a, v.is_undefined())).takes_undefined(),
    Test::new("upper", |e, v, a| cased(e, &v, a, "isupper")),
    Test::new("vault_encrypted", |_, v, a| {
        kind(a, v.as_str().is_some_and(|s| s.starts_with("$ANSIBLE_VAULT;")))
    }),
];

fn kind(args: Args, answer: bool) -> Run<bool> {
    let [] = args.bind([])?;
    Ok(answer)
}

fn compare(eval: &Eval, value: Value, args: Args, op: Compare) -> Run<bool> {
    let [other] = args.bind(["other"])?;
    eval.compare(op, &value, &eval.required("other", other)?)
}

fn callable(value: &Value) -> bool {
    match value {
        Value::Macro(_) | Value::Method(_) | Value::Function(_) => true,
        Value::Object(o) => matches!(**o, Object::Joiner(..) | Object::Loop(_)),
        _ => false,
    }
}

fn iterable(value: &Value) -> bool {
    value.is_sequence() || value.is_dict() || matches!(value, Value::Text(_))
}

fn integer(value: &Value) -> Run<i128> {
    value.as_int().ok_or_else(|| Fault::plain(format!("an integer is required, not {}", value.type_name())))
}

fn parity(value: &Value, args: Args, rest: i128) -> Run<bool> {
    let [] = args.bind([])?;
    Ok(integer(value)?.rem_euclid(2) == rest)
}

fn divisibleby(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [by] = args.bind(["num"])?;
    match integer(&eval.required("num", by)?)? {
        0 => Err(Fault::plain("integer modulo by zero")),
        by => Ok(integer(&value)? % by == 0),
    }
}

/// Identity: true, false and none are one each; other values are the same when type and value are.
fn sameas(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [other] = args.bind(["other"])?;
    let other = eval.required("other", other)?;
    Ok(value.type_name() == other.type_name() && eval.equal(&value, &other)?)
}

fn cased(eval: &Eval, value: &Value, args: Args, method: &'static str) -> Run<bool> {
    let [] = args.bind([])?;
    let text = Value::Text(eval.text_of(value)?);
    crate::template::methods::call(eval, &text, method, Args::default())?.truthy()
}

fn truthy(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [convert] = args.bind(["convert_bool"])?;
    if eval.flag(convert)?
        && let Some(known) = boolean(&value)
    {
        return Ok(known);
    }
    value.truthy()
}

/// What Ansible's `boolean()` takes: also `y`, `t`, `n`, `f`.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Text(s) => match s.trim().to_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
            _ => None,
        },
        other => match other.as_float() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
    }
}
