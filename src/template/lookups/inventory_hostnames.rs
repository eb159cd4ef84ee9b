//! `inventory_hostnames`: the hosts that a pattern matches.

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("inventory_hostnames", run);

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    let patterns = terms.iter().map(|t| Ok(eval.text_of(t)?.to_string())).collect::<Run<Vec<_>>>()?;
    let hosts = eval.cx().hooks.hostnames(&patterns.join(",")).map_err(Fault::new)?;
    Ok(hosts.into_iter().map(Value::text).collect())
}
