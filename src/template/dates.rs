//! `datetime` and `timedelta` values: `now()`, `to_datetime`, their attributes and `strftime`.

use std::fmt::Write;

use chrono::{Datelike, NaiveDateTime, TimeDelta, Timelike};

use super::eval::Run;
use super::fault::Fault;
use super::value::Value;

/// `str(datetime)`
pub fn print(d: &NaiveDateTime) -> String {
    with_micros(d, ' ')
}

pub fn isoformat(d: &NaiveDateTime) -> String {
    with_micros(d, 'T')
}

fn with_micros(d: &NaiveDateTime, separator: char) -> String {
    let micros = d.nanosecond() / 1000;
    let seconds = format!("{}{separator}{}", d.format("%Y-%m-%d"), d.format("%H:%M:%S"));
    if micros == 0 { seconds } else { format!("{seconds}.{micros:06}") }
}

/// `str(timedelta)`
pub fn print_delta(d: &TimeDelta) -> String {
    let (days, seconds, micros) = delta_parts(d);
    let mut out = String::new();
    if days != 0 {
        _ = write!(out, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" });
    }
    _ = write!(out, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if micros != 0 {
        _ = write!(out, ".{micros:06}");
    }
    out
}

/// Days, seconds of a day and microseconds, the latter two never negative, as Python keeps them.
fn delta_parts(d: &TimeDelta) -> (i64, i64, i64) {
    let micros = i128::from(d.num_seconds()) * 1_000_000 + i128::from(d.subsec_micros());
    let day = 86_400_000_000;
    let (days, rest) = (micros.div_euclid(day) as i64, micros.rem_euclid(day) as i64);
    (days, rest / 1_000_000, rest % 1_000_000)
}

pub fn total_seconds(d: &TimeDelta) -> f64 {
    d.num_seconds() as f64 + f64::from(d.subsec_nanos()) / 1e9
}

/// An attribute of a date or of a span of time.
pub fn member(value: &Value, name: &str) -> Option<Value> {
    let int = |i: i64| Some(Value::from(i));
    match value {
        Value::DateTime(d) => match name {
            "year" => int(d.year().into()),
            "month" => int(d.month().into()),
            "day" => int(d.day().into()),
            "hour" => int(d.hour().into()),
            "minute" => int(d.minute().into()),
            "second" => int(d.second().into()),
            "microsecond" => int(i64::from(d.nanosecond() / 1000)),
            _ => None,
        },
        Value::Delta(d) => {
            let (days, seconds, micros) = delta_parts(d);
            match name {
                "days" => int(days),
                "seconds" => int(seconds),
                "microseconds" => int(micros),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Python's `strftime`; `%f` is microseconds.
pub fn strftime(d: &NaiveDateTime, format: &str) -> Run<String> {
    let format =
        format.replace("%f", &format!("{:06}", d.nanosecond() / 1000)).replace("%z", "").replace("%Z", "");
    formatted(&format, |f| {
        let mut out = String::new();
        write!(out, "{}", d.format(f)).map(|()| out)
    })
}

/// Formats with a chrono format, with a clear error for one that chrono refuses.
pub fn formatted(format: &str, print: impl FnOnce(&str) -> Result<String, std::fmt::Error>) -> Run<String> {
    print(format).map_err(|_| Fault::new(format!("'{format}' is not a date format")))
}

/// Python's `strptime`.
pub fn strptime(text: &str, format: &str) -> Run<NaiveDateTime> {
    // chrono wants the point of fractions inside its own specifier.
    let format = format.replace(".%f", "%.f").replace("%f", "%6f");
    let bad = || Fault::new(format!("time data '{text}' does not match format '{format}'"));
    let mut parsed = chrono::format::Parsed::new();
    let items: Vec<_> = chrono::format::StrftimeItems::new(&format).collect();
    chrono::format::parse(&mut parsed, text, items.iter()).map_err(|_| bad())?;
    let date = if parsed.year().is_none() && parsed.year_mod_100().is_none() && parsed.timestamp().is_none() {
        parsed.set_year(1900).map_err(|_| bad())?;
        parsed
    } else {
        parsed
    };
    let mut date = date;
    if date.month().is_none() && date.ordinal().is_none() && date.timestamp().is_none() {
        date.set_month(1).map_err(|_| bad())?;
    }
    if date.day().is_none() && date.ordinal().is_none() && date.timestamp().is_none() {
        date.set_day(1).map_err(|_| bad())?;
    }
    if date.timestamp().is_none() {
        let day = date.to_naive_date().map_err(|_| bad())?;
        let time = date.to_naive_time().unwrap_or(chrono::NaiveTime::MIN);
        return Ok(day.and_time(time));
    }
    date.to_naive_datetime_with_offset(0).map_err(|_| bad())
}

/// `datetime.timestamp()` of a local time.
pub fn local_timestamp(d: &NaiveDateTime) -> f64 {
    use chrono::TimeZone;
    let utc = match chrono::Local.from_local_datetime(d).earliest() {
        Some(local) => local.naive_utc(),
        None => *d,
    };
    utc.and_utc().timestamp() as f64 + f64::from(d.nanosecond() / 1000) / 1e6
}
