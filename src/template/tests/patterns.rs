//! Regular expressions: `match` (at the start), `search` (anywhere), `regex`.

use super::Test;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const TESTS: &[Test] = &[
    Test::new("match", |e, v, a| test(e, &v, a, "match")),
    Test::new("regex", |e, v, a| test(e, &v, a, "search")),
    Test::new("search", |e, v, a| test(e, &v, a, "search")),
];

fn test(eval: &Eval, value: &Value, mut args: Args, kind: &str) -> Run<bool> {
    let kind = eval.text_or(args.take("match_type"), kind)?;
    let [pattern, ignorecase, multiline] = args.bind(["pattern", "ignorecase", "multiline"])?;
    let pattern = eval.text_or(pattern, "")?;
    let text = eval.text_of(value)?;
    let (ignorecase, multiline) = (eval.flag(ignorecase)?, eval.flag(multiline)?);
    match &*kind {
        "match" => {
            let compiled = regex::compile(&pattern, ignorecase, multiline)?;
            regex::matches_at_start(&compiled, &text)
        }
        "fullmatch" => {
            let whole = regex::compile(&format!("(?:{pattern})\\Z"), ignorecase, multiline)?;
            regex::matches_at_start(&whole, &text)
        }
        "search" => {
            let compiled = regex::compile(&pattern, ignorecase, multiline)?;
            Ok(regex::search(&compiled, &text)?.is_some())
        }
        other => Err(Fault::new(format!("invalid match_type '{other}'"))),
    }
}
