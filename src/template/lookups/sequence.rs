//! `sequence`: numbers as texts: `5`, `1-10/2:node%02d`, `start=1 end=5`.

use super::options::words;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::format;
use crate::template::regex;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("sequence", run);

const OPTIONS: &[&str] = &["start", "end", "stride", "count", "format"];
/// Longest sequence.
const LONGEST: i128 = 10_000_000;

fn run(eval: &Eval, mut terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    if terms.is_empty() {
        terms.push(Value::text(""));
    }
    let mut out = Vec::new();
    for term in terms {
        let mut options = options.clone();
        parse_term(&eval.text_of(&term)?, &mut options)?;
        one(eval, options, &mut out)?;
    }
    Ok(out)
}

fn parse_term(term: &str, options: &mut Options) -> Run<()> {
    let number = "(0?x?[0-9a-f]+)";
    let shortcut = regex::compile(&format!("^({number}-)?{number}(/{number})?(:(.+))?$"), true, false)?;
    if let Some(found) = regex::search(&shortcut, term)? {
        for (i, name) in [(2, "start"), (3, "end"), (5, "stride"), (7, "format")] {
            if let Some(part) = found.get(i) {
                options.set(name, part.as_str());
            }
        }
        return Ok(());
    }
    let (raw, pairs) = words(term);
    if let Some(word) = raw.first() {
        return Err(Fault::new(format!("unrecognized arguments to with_sequence: {word}")));
    }
    for (name, value) in pairs {
        if !OPTIONS.contains(&&*name) {
            return Err(Fault::plain(format!("unrecognized arguments to with_sequence: {name}")));
        }
        options.set(&name, &value);
    }
    Ok(())
}

fn number(eval: &Eval, options: &mut Options, name: &str) -> Run<Option<i128>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    if let Value::Text(s) = &value {
        let lower = s.trim().to_lowercase();
        let parsed = match (lower.strip_prefix("0x"), lower.strip_prefix("0o")) {
            (Some(hex), _) => i128::from_str_radix(hex, 16),
            (_, Some(octal)) => i128::from_str_radix(octal, 8),
            _ => lower.parse(),
        };
        return parsed.map(Some).map_err(|_| Fault::new(format!("can't parse {name}={s} as integer")));
    }
    eval.int_of(name, &value).map(Some)
}

fn one(eval: &Eval, mut options: Options, out: &mut Vec<Value>) -> Run<()> {
    let start = number(eval, &mut options, "start")?.unwrap_or(1);
    let end = number(eval, &mut options, "end")?;
    let count = number(eval, &mut options, "count")?;
    let stride = number(eval, &mut options, "stride")?.unwrap_or(1);
    let layout = options.text_or(eval, "format", "%d")?;
    options.finish(OPTIONS)?;
    let end = match (end, count) {
        (None, None) => return Err(Fault::plain("must specify count or end in with_sequence")),
        (Some(_), Some(_)) => return Err(Fault::plain("can't specify both count and end in with_sequence")),
        (None, Some(0)) => return Ok(()),
        (None, Some(count)) => start.saturating_add(count.saturating_mul(stride)) - 1,
        (Some(end), None) => end,
    };
    if stride == 0 {
        return Ok(());
    }
    if stride > 0 && end < start {
        return Err(Fault::plain("to count backwards make stride negative"));
    }
    if stride < 0 && end > start {
        return Err(Fault::plain("to count forward don't make stride negative"));
    }
    if layout.matches('%').count() != 1 {
        return Err(Fault::new(format!("bad formatting string: {layout}")));
    }
    if (end - start) / stride > LONGEST {
        return Err(Fault::plain(format!("a sequence has at most {LONGEST} numbers")));
    }
    let mut i = start;
    while if stride > 0 { i <= end } else { i >= end } {
        out.push(Value::text(format::percent(eval, &layout, &Value::Int(i))?));
        i += stride;
    }
    Ok(())
}
