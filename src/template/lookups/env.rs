//! `env`: variables of this process's environment.

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::program::Place;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup { takes_undefined: true, ..Lookup::new("env", run).impure() };

fn run(eval: &Eval, terms: Vec<Value>, mut options: Options) -> Run<Vec<Value>> {
    let default = options.take("default").unwrap_or_else(|| Value::text(""));
    options.finish(&["default"])?;
    let mut out = Vec::new();
    for term in terms {
        let term = eval.text_of(&term.defined()?)?;
        let name = term.split_whitespace().next().unwrap_or("");
        out.push(match std::env::var(name) {
            Ok(value) => Value::text(value),
            Err(_) if default.is_undefined() => eval.undefined_quoting(
                format!("The environment variable '{name}' is not set."),
                Place::default(),
            ),
            Err(_) => default.clone(),
        });
    }
    Ok(out)
}
