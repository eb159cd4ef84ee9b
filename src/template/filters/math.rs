//! Numbers: `abs`, `round`, `log`, `pow`, `root`, sizes for people.

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("abs", abs),
    Filter::new("filesizeformat", filesizeformat),
    Filter::new("human_readable", human_readable),
    Filter::new("human_to_bytes", human_to_bytes),
    Filter::new("log", log),
    Filter::new("pow", pow),
    Filter::new("root", root),
    Filter::new("round", round),
];

fn number(value: &Value, filter: &str) -> Run<f64> {
    value.as_float().ok_or_else(|| Fault::plain(format!("{filter}() can only be used on numbers")))
}

fn abs(_: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    match &value {
        Value::Float(f) => Ok(Value::Float(f.abs())),
        other => match other.as_int() {
            Some(i) => Ok(Value::Int(i.abs())),
            None => Err(Fault::plain(format!("bad operand type for abs(): '{}'", other.type_name()))),
        },
    }
}

fn round(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [precision, method] = args.bind(["precision", "method"])?;
    let precision = i32::try_from(eval.int_or("precision", precision, 0)?.clamp(-300, 300)).unwrap_or(0);
    let method = eval.text_or(method, "common")?;
    let f = number(&value, "round")?;
    let factor = 10f64.powi(precision);
    Ok(match &*method {
        "common" if value.as_int().is_some() => match 10i128.checked_pow(precision.min(0).unsigned_abs()) {
            Some(unit) => Value::Int(round_int(value.as_int().unwrap_or(0), unit)),
            None => Value::Int(0),
        },
        "common" => Value::Float(round_half_even(f, precision)),
        "ceil" => Value::Float((f * factor).ceil() / factor),
        "floor" => Value::Float((f * factor).floor() / factor),
        _ => return Err(Fault::plain("method must be common, ceil or floor")),
    })
}

/// To a multiple of `unit`; halves go to the even one.
fn round_int(i: i128, unit: i128) -> i128 {
    let (down, rest) = (i.div_euclid(unit), i.rem_euclid(unit));
    let up = rest * 2 > unit || (rest * 2 == unit && down % 2 != 0);
    (down + i128::from(up)) * unit
}

/// Python's `round(f, n)`: exact halves go to the even digit.
fn round_half_even(f: f64, precision: i32) -> f64 {
    if precision >= 0 {
        // Formatting rounds the exact binary value, ties to even, as Python does.
        format!("{f:.*}", precision as usize).parse().unwrap_or(f)
    } else {
        let factor = 10f64.powi(-precision);
        (f / factor).round_ties_even() * factor
    }
}

fn log(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [base] = args.bind(["base"])?;
    let _ = eval;
    let x = number(&value, "log")?;
    if x <= 0.0 {
        return Err(Fault::plain("math domain error"));
    }
    Ok(Value::Float(match base {
        None => x.ln(),
        Some(base) => match number(&base, "log")? {
            10.0 => x.log10(),
            base => x.ln() / base.ln(),
        },
    }))
}

fn pow(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [y] = args.bind(["y"])?;
    Ok(Value::Float(number(&value, "pow")?.powf(number(&eval.required("y", y)?, "pow")?)))
}

fn root(_: &Eval, value: Value, args: Args) -> Run<Value> {
    let [base] = args.bind(["base"])?;
    let x = number(&value, "root")?;
    let base = base.map_or(Ok(2.0), |b| number(&b, "root"))?;
    if base == 2.0 && x < 0.0 {
        return Err(Fault::plain("root() can only be used on numbers"));
    }
    Ok(Value::Float(if base == 2.0 { x.sqrt() } else { x.powf(1.0 / base) }))
}

const UNITS: &[(char, f64)] = &[
    ('Y', 1208925819614629174706176.0),
    ('Z', 1180591620717411303424.0),
    ('E', 1152921504606846976.0),
    ('P', 1125899906842624.0),
    ('T', 1099511627776.0),
    ('G', 1073741824.0),
    ('M', 1048576.0),
    ('K', 1024.0),
    ('B', 1.0),
];

fn human_readable(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [isbits, unit] = args.bind(["isbits", "unit"])?;
    let base = if eval.flag(isbits)? { "bits" } else { "Bytes" };
    let size = value.as_float().ok_or_else(|| Fault::plain("human_readable() failed on bad input"))?;
    let unit = match eval.given(unit) {
        Some(u) => Some(eval.text_of(&u)?.to_uppercase()),
        None => None,
    };
    let fits = |(suffix, limit): &&(char, f64)| match &unit {
        Some(unit) => *unit == suffix.to_string(),
        None => size >= *limit,
    };
    let (suffix, limit) = UNITS.iter().find(fits).unwrap_or(&('B', 1.0));
    let suffix = if *limit == 1.0 { base.to_string() } else { format!("{suffix}{}", &base[..1]) };
    Ok(Value::text(format!("{:.2} {suffix}", size / limit)))
}

fn human_to_bytes(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [default_unit, isbits] = args.bind(["default_unit", "isbits"])?;
    let isbits = eval.flag(isbits)?;
    let text = eval.text_of(&value)?;
    let bad = || Fault::new(format!("human_to_bytes() can't interpret the input: '{text}'"));
    let form = regex::compile(r"^([0-9]*\.?[0-9]+)(?:\s*([A-Za-z]+))?\s*$", false, false)?;
    let found = regex::search(&form, &text)?.ok_or_else(bad)?;
    let number: f64 = found.get(1).and_then(|m| m.as_str().parse().ok()).ok_or_else(bad)?;
    let unit = match (found.get(2), eval.given(default_unit)) {
        (Some(unit), _) => Some(unit.as_str().to_string()),
        (None, Some(unit)) => Some(eval.text_of(&unit)?.to_string()),
        (None, None) => None,
    };
    let Some(unit) = unit.filter(|u| !u.is_empty()) else {
        return Ok(Value::Int(number.round_ties_even() as i128));
    };
    let range = unit.chars().next().map_or('B', |c| c.to_ascii_uppercase());
    let (_, limit) = UNITS.iter().find(|(suffix, _)| *suffix == range).ok_or_else(bad)?;
    if unit.chars().count() > 1 {
        let name = match range {
            'B' => "",
            'K' => "kilo",
            'M' => "mega",
            'G' => "giga",
            'T' => "tera",
            'P' => "peta",
            'E' => "exa",
            'Z' => "zeta",
            _ => "yotta",
        };
        let (word, mark) = if isbits { ("bit", "b") } else { ("byte", "B") };
        let short = if range == 'B' { mark.to_string() } else { format!("{range}{mark}") };
        if unit.to_lowercase() != format!("{name}{word}") && unit != short {
            return Err(bad());
        }
    }
    Ok(Value::Int((number * limit).round_ties_even() as i128))
}

fn filesizeformat(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [binary] = args.bind(["binary"])?;
    let binary = eval.flag(binary)?;
    let bytes = match &value {
        Value::Text(s) => s.trim().parse().map_err(|_| Fault::new(format!("'{s}' is not a number")))?,
        other => number(other, "filesizeformat")?,
    };
    let base = if binary { 1024.0 } else { 1000.0 };
    let units = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    if bytes == 1.0 {
        return Ok(Value::text("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::text(format!("{} Bytes", bytes as i128)));
    }
    let mut unit = base;
    for name in units {
        unit *= base;
        if bytes < unit || name.starts_with('Y') {
            return Ok(Value::text(format!("{:.1} {name}", base * bytes / unit)));
        }
    }
    Ok(value)
}
