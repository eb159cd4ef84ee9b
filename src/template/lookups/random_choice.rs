//! `random_choice`: one of the terms.

use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::random::Random;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("random_choice", run).impure().moves();

fn run(_: &Eval, mut terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    options.finish(&[])?;
    if terms.is_empty() {
        return Ok(terms);
    }
    let at = Random::System.below(terms.len() as u64)? as usize;
    Ok(vec![terms.swap_remove(at)])
}
