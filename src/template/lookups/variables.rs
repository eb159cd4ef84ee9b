//! `vars`: variables by name. `varnames`: names that match patterns.

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::program::Place;
use crate::template::regex;
use crate::template::value::Value;

pub const VARS: Lookup = Lookup::new("vars", vars);
pub const VARNAMES: Lookup = Lookup::new("varnames", varnames);

fn vars(eval: &Eval, terms: Vec<Value>, mut options: Options) -> Run<Vec<Value>> {
    let default = options.take("default");
    options.finish(&["default"])?;
    let mut out = Vec::new();
    for term in terms {
        let Value::Text(name) = &term else {
            return Err(Fault::plain(format!("Variable name must be 'str' not '{}'.", term.type_name())));
        };
        out.push(match (eval.variable(name, &eval.home)?, &default) {
            (Some(value), _) => value,
            (None, Some(default)) => default.clone(),
            (None, None) => {
                eval.undefined_quoting(format!("No variable named '{name}' was found."), Place::default())
            }
        });
    }
    Ok(out)
}

fn varnames(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let mut out = Vec::new();
    for term in terms {
        let Value::Text(pattern) = &term else {
            return Err(Fault::plain(format!(
                "Invalid setting identifier, it is not a string but a {}",
                term.type_name()
            )));
        };
        let compiled = regex::compile(pattern, false, false).map_err(|_| {
            Fault::plain(format!(
                "Unable to use \"{pattern}\" as a search parameter: it is no regular expression"
            ))
        })?;
        for name in eval.names_of(&eval.home).names() {
            if regex::search(&compiled, &name)?.is_some() {
                out.push(Value::text(name));
            }
        }
    }
    Ok(out)
}
