//! Dates: `strftime`, `to_datetime`.

use chrono::{Local, TimeZone, Utc};

use super::Filter;
use crate::template::call::Args;
use crate::template::dates;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[Filter::new("strftime", strftime), Filter::new("to_datetime", to_datetime)];

fn strftime(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    use std::fmt::Write;
    let [second, utc] = args.bind(["second", "utc"])?;
    let format = eval.text_of(&value)?;
    let utc = eval.flag(utc)?;
    let epoch = match eval.given(second) {
        None => {
            eval.impure();
            Utc::now().timestamp()
        }
        Some(Value::Text(s)) => {
            s.trim().parse::<f64>().map_err(|_| Fault::new(format!("Invalid value for epoch value ({s})")))?
                as i64
        }
        Some(n) => n.as_float().ok_or_else(|| Fault::plain("Invalid value for epoch value"))? as i64,
    };
    let out_of_range = || Fault::new(format!("the time {epoch} is out of range"));
    let text = if utc {
        let at = Utc.timestamp_opt(epoch, 0).single().ok_or_else(out_of_range)?;
        // Python names the zone, chrono the offset.
        let format = format.replace("%Z", "UTC").replace("%z", "+0000");
        dates::formatted(&format, |f| {
            let mut out = String::new();
            write!(out, "{}", at.format(f)).map(|()| out)
        })?
    } else {
        let at = Local.timestamp_opt(epoch, 0).single().ok_or_else(out_of_range)?;
        dates::formatted(&format, |f| {
            let mut out = String::new();
            write!(out, "{}", at.format(f)).map(|()| out)
        })?
    };
    Ok(Value::text(text))
}

fn to_datetime(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [format] = args.bind(["format"])?;
    let format = eval.text_or(format, "%Y-%m-%d %H:%M:%S")?;
    Ok(Value::DateTime(dates::strptime(&eval.text_of(&value)?, &format)?))
}
