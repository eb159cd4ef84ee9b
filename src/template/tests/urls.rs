//! `uri`, `url`, `urn`.

use super::Test;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::filters::split_url;
use crate::template::value::Value;

pub const TESTS: &[Test] = &[
    Test::new("uri", |e, v, a| has_scheme(e, &v, a)),
    Test::new("url", url),
    Test::new("urn", |e, v, a| {
        let [] = a.bind([])?;
        Ok(split_url(&e.text_of(&v)?).scheme == "urn")
    }),
];

fn has_scheme(eval: &Eval, value: &Value, args: Args) -> Run<bool> {
    let [schemes] = args.bind(["schemes"])?;
    let Value::Text(text) = value else { return Ok(false) };
    match eval.given(schemes) {
        Some(schemes) => eval.contains(&schemes, &Value::text(split_url(text).scheme)),
        None => Ok(true),
    }
}

fn url(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    if !has_scheme(eval, &value, args)? {
        return Ok(false);
    }
    let text = eval.text_of(&value)?;
    let url = split_url(&text);
    Ok(!url.netloc.is_empty() || url.scheme == "file")
}
