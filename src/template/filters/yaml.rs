//! `to_yaml`, `to_nice_yaml`, `from_yaml`, `from_yaml_all`: as PyYAML lays text out.

mod emit;
mod scalar;

use super::Filter;
use crate::source::{Diagnostics, SourceFile, Val, yaml};
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("from_yaml", from_yaml),
    Filter::new("from_yaml_all", from_yaml_all),
    Filter::new("to_nice_yaml", |e, v, a| to_yaml(e, v, a, 4, Some(false))),
    Filter::new("to_yaml", |e, v, a| to_yaml(e, v, a, 2, None)),
];

/// `flow` as PyYAML's `default_flow_style`: `None` writes innermost collections on one line.
fn to_yaml(eval: &Eval, value: Value, mut args: Args, indent: usize, flow: Option<bool>) -> Run<Value> {
    for ignored in [
        "vault_to_text",
        "preprocess_unsafe",
        "line_break",
        "encoding",
        "allow_unicode",
        "tags",
        "version",
        "canonical",
    ] {
        args.take(ignored);
    }
    let [given_indent, width, sort_keys, given_flow, explicit_start, explicit_end, style] = args.bind([
        "indent",
        "width",
        "sort_keys",
        "default_flow_style",
        "explicit_start",
        "explicit_end",
        "default_style",
    ])?;
    if eval.given(style).is_some() {
        return Err(Fault::plain("'default_style' is not supported"));
    }
    let indent = match eval.given(given_indent) {
        Some(n) => {
            usize::try_from(eval.int_of("indent", &n)?).ok().filter(|n| (2..10).contains(n)).unwrap_or(2)
        }
        None => indent,
    };
    let width = match eval.given(width) {
        Some(Value::Float(f)) if f.is_infinite() => usize::MAX / 2,
        Some(n) => usize::try_from(eval.int_of("width", &n)?).ok().filter(|w| *w > indent * 2).unwrap_or(80),
        None => 80,
    };
    let flow = match given_flow {
        Some(Value::None) => None,
        Some(other) => Some(other.truthy()?),
        None => flow,
    };
    let sort_keys = sort_keys.map_or(Ok(true), |v| v.truthy())?;
    let mut emitter = emit::Emitter::new(eval, emit::Layout { indent, width, flow, sort_keys });
    let mut out = if eval.flag(explicit_start)? { "---\n".to_string() } else { String::new() };
    out.push_str(&emitter.document(&value)?);
    if eval.flag(explicit_end)? {
        out.push_str("...\n");
    }
    Ok(Value::text(out))
}

/// The documents in a text; never templates.
pub fn parse(text: &str) -> Run<Vec<Val>> {
    let file = SourceFile::typed("<from_yaml>", text.to_string());
    let mut diags = Diagnostics::default();
    let nodes = yaml::load(&file, &mut diags);
    if let Some(error) = diags.0.iter().find(|d| d.severity == crate::source::Severity::Error) {
        let place =
            error.span.as_ref().map_or(String::new(), |s| format!(" (line {}, column {})", s.line, s.column));
        return Err(Fault::new(format!("invalid YAML: {}{place}", error.message)));
    }
    Ok(nodes.iter().map(|n| n.to_val_sealed().map_texts(&crate::source::Text::plain)).collect())
}

fn from_yaml(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let Value::Text(text) = &value else { return Ok(value) };
    let documents = parse(text)?;
    if documents.len() > 1 {
        return Err(Fault::plain("expected a single document in the stream").help("Use from_yaml_all."));
    }
    Ok(documents.first().map_or(Value::None, |d| eval.value_of(d)))
}

fn from_yaml_all(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    match &value {
        Value::None => Ok(Value::list(vec![])),
        Value::Text(text) => Ok(Value::list(parse(text)?.iter().map(|d| eval.value_of(d)).collect())),
        _ => Ok(value),
    }
}
