//! Global functions: `range`, `dict`, `lookup`, `now`, `undef`, `namespace`, …

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::call::Args;
use super::dates;
use super::eval::{Eval, Run};
use super::fault::Fault;
use super::lookups;
use super::program::Place;
use super::value::{Object, Value};

pub struct Function {
    pub name: &'static str,
    pub run: fn(&Eval, Args, Place) -> Run<Value>,
    /// It handles undefined arguments itself.
    pub takes_undefined: bool,
    /// It can answer differently next time.
    pub impure: bool,
}

impl Function {
    const fn new(name: &'static str, run: fn(&Eval, Args, Place) -> Run<Value>) -> Function {
        Function { name, run, takes_undefined: false, impure: false }
    }
}

static FUNCTIONS: &[Function] = &[
    Function::new("cycler", cycler),
    Function::new("dict", dict),
    Function::new("joiner", joiner),
    Function { impure: true, ..Function::new("lipsum", lipsum) },
    Function { takes_undefined: true, ..Function::new("lookup", |e, a, p| lookups::call(e, a, p, false)) },
    Function::new("namespace", namespace),
    Function { impure: true, ..Function::new("now", now) },
    Function { takes_undefined: true, ..Function::new("q", |e, a, p| lookups::call(e, a, p, true)) },
    Function { takes_undefined: true, ..Function::new("query", |e, a, p| lookups::call(e, a, p, true)) },
    Function::new("range", range),
    Function::new("undef", undef),
];

/// A name that every template knows, unless a variable has it.
pub fn global(name: &str) -> Option<Value> {
    if name == "omit" {
        return Some(Value::Omit);
    }
    FUNCTIONS.iter().find(|f| f.name == name).map(Value::Function)
}

fn range(eval: &Eval, args: Args, _: Place) -> Run<Value> {
    let [a, b, c] = args.bind(["start", "stop", "step"])?;
    let int = |name: &str, v: &Value| -> Run<i64> {
        let i = v.as_int().ok_or_else(|| {
            Fault::plain(format!("'{}' object cannot be interpreted as an integer", v.type_name()))
        })?;
        i64::try_from(i).map_err(|_| Fault::plain(format!("{name} is too large")))
    };
    let first = int("start", &eval.required("stop", a)?)?;
    let (start, stop) = match b {
        Some(stop) => (first, int("stop", &stop)?),
        None => (0, first),
    };
    let step = c.map_or(Ok(1), |c| int("step", &c))?;
    if step == 0 {
        return Err(Fault::plain("range() arg 3 must not be zero"));
    }
    Ok(Value::Range(start, stop, step))
}

fn dict(eval: &Eval, mut args: Args, _: Place) -> Run<Value> {
    let made = Value::dict([]);
    args.pos.truncate(1);
    super::methods::call(eval, &made, "update", args)?;
    Ok(made)
}

fn namespace(eval: &Eval, args: Args, _: Place) -> Run<Value> {
    let mut vars = indexmap::IndexMap::new();
    for from in &args.pos {
        for (key, value) in eval.entries(from)? {
            vars.insert(Arc::from(key.key_text()), value);
        }
    }
    vars.extend(args.named);
    Ok(Value::Object(Rc::new(Object::Namespace(RefCell::new(vars)))))
}

fn cycler(_: &Eval, args: Args, _: Place) -> Run<Value> {
    if args.pos.is_empty() {
        return Err(Fault::plain("at least one item has to be provided"));
    }
    Ok(Value::Object(Rc::new(Object::Cycler(args.pos, Cell::new(0)))))
}

fn joiner(_: &Eval, args: Args, _: Place) -> Run<Value> {
    let [separator] = args.bind(["sep"])?;
    let separator = separator.unwrap_or_else(|| Value::text(", "));
    Ok(Value::Object(Rc::new(Object::Joiner(separator, Cell::new(false)))))
}

fn now(eval: &Eval, args: Args, _: Place) -> Run<Value> {
    let [utc, format] = args.bind(["utc", "fmt"])?;
    let now =
        if eval.flag(utc)? { chrono::Utc::now().naive_utc() } else { chrono::Local::now().naive_local() };
    match eval.given(format) {
        Some(format) => Ok(Value::text(dates::strftime(&now, &eval.text_of(&format)?)?)),
        None => Ok(Value::DateTime(now)),
    }
}

fn undef(eval: &Eval, args: Args, at: Place) -> Run<Value> {
    let [hint] = args.bind(["hint"])?;
    let hint = match eval.given(hint) {
        Some(hint) => eval.text_of(&hint)?.to_string(),
        None => "Mandatory variable has not been overridden".into(),
    };
    Ok(eval.undefined_quoting(hint, at))
}

/// Words for trying out templates.
const WORDS: &str = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut \
                     labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris";

fn lipsum(eval: &Eval, args: Args, _: Place) -> Run<Value> {
    let [n, html, min, max] = args.bind(["n", "html", "min", "max"])?;
    let size = |name: &str, v: Option<Value>, default: i128| -> Run<u64> {
        Ok(u64::try_from(eval.int_or(name, v, default)?.clamp(1, 1000)).unwrap_or(1))
    };
    let n = size("n", n, 5)?;
    let html = html.map_or(Ok(true), |v| v.truthy())?;
    let (min, max) = (size("min", min, 20)?, size("max", max, 100)?);
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = super::random::Random::System;
    let mut paragraphs = Vec::new();
    for _ in 0..n {
        let count = min + random.below(max.saturating_sub(min).max(1))?;
        let mut text = Vec::new();
        for _ in 0..count {
            text.push(words[random.below(words.len() as u64)? as usize]);
        }
        let text = format!("{}.", super::methods::capitalize(&text.join(" ")));
        paragraphs.push(if html { format!("<p>{text}</p>") } else { text });
    }
    Ok(Value::text(paragraphs.join(if html { "\n" } else { "\n\n" })))
}
