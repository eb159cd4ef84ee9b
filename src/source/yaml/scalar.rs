//! What a plain scalar means, by PyYAML's resolver and constructors (YAML 1.1).
//!
//! The expressions quoted here are those of PyYAML's `resolver.py`; they are matched by hand
//! because a lint of thousands of scalars must take milliseconds.

use chrono::{Datelike, NaiveDate, NaiveTime};

use crate::source::Kind;

/// The value of an untagged plain scalar.
///
/// # Errors
/// What is wrong with text that looks like a number or date and isn't one.
pub fn resolve(text: &str) -> Result<Kind, String> {
    let Some(&first) = text.as_bytes().first() else { return Ok(Kind::Null) };
    Ok(match first {
        b'~' | b'n' | b'N' | b'y' | b'Y' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => {
            if is_null(text) {
                Kind::Null
            } else if let Some(b) = boolean(text) {
                Kind::Bool(b)
            } else {
                plain(text)
            }
        }
        b'-' | b'+' | b'.' | b'0'..=b'9' => {
            if is_int(text) {
                int(text)?
            } else if is_float(text) {
                Kind::Float(float(text)?)
            } else if let Some(stamp) = timestamp(text) {
                plain(&stamp?)
            } else {
                plain(text)
            }
        }
        b'=' if text == "=" => return Err("a lone `=` has a meaning of its own in YAML; quote it".into()),
        _ => plain(text),
    })
}

fn plain(text: &str) -> Kind {
    Kind::Text { text: text.to_string(), plain: true }
}

pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// YAML 1.1 booleans but for `y` and `n`, which PyYAML reads as text.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// `[-+]?0b[0-1_]+ | [-+]?0[0-7_]+ | [-+]?(?:0|[1-9][0-9_]*) | [-+]?0x[0-9a-fA-F_]+
/// | [-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+`
pub fn is_int(text: &str) -> bool {
    let digits = unsigned(text).as_bytes();
    match digits {
        [] => false,
        [b'0'] => true,
        [b'0', b'b', rest @ ..] => {
            rest.iter().any(u8::is_ascii_digit) && all(rest, |c| matches!(c, b'0' | b'1' | b'_'))
        }
        [b'0', b'x', rest @ ..] => {
            rest.iter().any(u8::is_ascii_hexdigit) && all(rest, |c| c.is_ascii_hexdigit() || c == b'_')
        }
        [b'0', rest @ ..] => all(rest, |c| matches!(c, b'0'..=b'7' | b'_')),
        [b'1'..=b'9', ..] => {
            let mut parts = digits.split(|c| *c == b':');
            parts.next().is_some_and(|p| all(p, |c| c.is_ascii_digit() || c == b'_'))
                && parts.all(is_sixtieth)
        }
        _ => false,
    }
}

fn all(bytes: &[u8], ok: impl Fn(u8) -> bool) -> bool {
    bytes.iter().all(|c| ok(*c))
}

/// `[0-5]?[0-9]`
fn is_sixtieth(part: &[u8]) -> bool {
    matches!(part, [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

/// The value of a text for which [`is_int`] holds. Beyond 64 bits it stays the decimal number as
/// text, which prints as Python's does.
pub fn int(text: &str) -> Result<Kind, String> {
    let too_large = || format!("{text} is larger than any number here; quote it if it is a name");
    let negative = text.starts_with('-');
    let digits: String = unsigned(text).chars().filter(|c| *c != '_').collect();
    let parsed = match digits.as_bytes() {
        [b'0', b'b', ..] => i128::from_str_radix(&digits[2..], 2),
        [b'0', b'x', ..] => i128::from_str_radix(&digits[2..], 16),
        [b'0', _, ..] => i128::from_str_radix(&digits[1..], 8),
        _ if digits.contains(':') => {
            let mut total: i128 = 0;
            for part in digits.split(':') {
                let part: i128 = part.parse().map_err(|_| too_large())?;
                total = total.checked_mul(60).and_then(|t| t.checked_add(part)).ok_or_else(too_large)?;
            }
            Ok(total)
        }
        _ => digits.parse(),
    };
    let value = parsed.map_err(|_| too_large())?;
    let value = if negative { -value } else { value };
    Ok(i64::try_from(value).map_or_else(|_| plain(&value.to_string()), Kind::Int))
}

/// `[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)? | \.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
/// | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]* | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)`
pub fn is_float(text: &str) -> bool {
    let number = unsigned(text);
    if matches!(number, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = number.split_once('.') else { return false };
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest.as_bytes()[at + 1..])),
        None => (rest, None),
    };
    let exponent_fits =
        exponent.is_none_or(|e| matches!(e, [b'-' | b'+', _, ..]) && all(&e[1..], |c| c.is_ascii_digit()));
    let digits = |part: &str| all(part.as_bytes(), |c| c.is_ascii_digit() || c == b'_');
    let starts_with_digit = |part: &str| part.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !digits(fraction) || !exponent_fits {
        return false;
    }
    if whole.is_empty() {
        return text.starts_with('.') && starts_with_digit(fraction);
    }
    let mut parts = whole.split(':');
    let first_fits = parts.next().is_some_and(|p| starts_with_digit(p) && digits(p));
    let sixtieths: Vec<_> = parts.collect();
    first_fits
        && (sixtieths.is_empty() || exponent.is_none())
        && sixtieths.iter().all(|p| is_sixtieth(p.as_bytes()))
}

/// The value of a text for which [`is_float`] holds.
pub fn float(text: &str) -> Result<f64, String> {
    let digits: String = unsigned(text).chars().filter(|c| *c != '_').collect();
    let value = match digits.to_ascii_lowercase().as_str() {
        ".inf" => f64::INFINITY,
        ".nan" => return Ok(f64::NAN),
        lower => {
            let mut total = 0.0;
            for part in lower.split(':') {
                let part: f64 = part.parse().map_err(|_| format!("{text} is not a number"))?;
                total = total * 60.0 + part;
            }
            total
        }
    };
    Ok(if text.starts_with('-') { -value } else { value })
}

/// A date or a time of day on a date, written as Python's `str()` writes it; `None` if the text
/// is neither, an error if it looks like one that the calendar does not have.
///
/// `\d{4}-\d\d-\d\d | \d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?
/// (?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?`
pub fn timestamp(text: &str) -> Option<Result<String, String>> {
    let mut at = Cursor(text);
    let year = at.digits(4, 4)?;
    at.eat("-")?;
    let (month, month_width) = at.counted_digits(1, 2)?;
    at.eat("-")?;
    let (day, day_width) = at.counted_digits(1, 2)?;
    let date = || {
        let year = i32::try_from(year).ok().filter(|y| *y > 0)?;
        NaiveDate::from_ymd_opt(year, month, day)
    };
    let absent = || format!("{text} is not in the calendar; quote it if it is not meant as a date");
    if at.0.is_empty() {
        let is_date = month_width == 2 && day_width == 2;
        return is_date.then(|| date().map(|_| text.to_string()).ok_or_else(absent));
    }
    if at.eat("T").or_else(|| at.eat("t")).is_none() && !at.blanks() {
        return None;
    }
    let hour = at.digits(1, 2)?;
    at.eat(":")?;
    let minute = at.digits(2, 2)?;
    at.eat(":")?;
    let second = at.digits(2, 2)?;
    let mut fraction = "";
    if at.eat(".").is_some() {
        let end = at.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(at.0.len());
        (fraction, at.0) = at.0.split_at(end);
    }
    let before_zone = at.0;
    at.blanks();
    let mut zone = String::new();
    if at.eat("Z").is_some() {
        zone = "+00:00".into();
    } else if let Some(sign) = at.0.chars().next().filter(|c| matches!(c, '+' | '-')) {
        at.0 = &at.0[1..];
        let hours = at.digits(1, 2)?;
        let minutes = if at.eat(":").is_some() { at.digits(2, 2)? } else { 0 };
        zone = format!("{sign}{hours:02}:{minutes:02}");
    } else if !before_zone.is_empty() {
        return None;
    }
    if !at.0.is_empty() {
        return None;
    }
    let micros: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let micros = if micros == "000000" { String::new() } else { format!(".{micros}") };
    Some(date().zip(NaiveTime::from_hms_opt(hour, minute, second)).ok_or_else(absent).map(|(d, _)| {
        format!(
            "{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}{micros}{zone}",
            d.year(),
            d.month(),
            d.day()
        )
    }))
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        self.counted_digits(least, most).map(|(n, _)| n)
    }

    fn counted_digits(&mut self, least: usize, most: usize) -> Option<(u32, usize)> {
        let width = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if width < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(width);
        self.0 = rest;
        digits.parse().ok().map(|n| (n, width))
    }

    /// Skips spaces and tabs; whether there were any.
    fn blanks(&mut self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let skipped = rest.len() < self.0.len();
        self.0 = rest;
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match resolve(text) {
            Ok(Kind::Null) => "null".into(),
            Ok(Kind::Bool(b)) => format!("bool {b}"),
            Ok(Kind::Int(i)) => format!("int {i}"),
            Ok(Kind::Float(f)) => format!("float {f:?}"),
            Ok(Kind::Text { text, .. }) => format!("str {text}"),
            Ok(other) => format!("{other:?}"),
            Err(_) => "error".into(),
        }
    }

    /// What PyYAML 6 gives for each; dates as Python prints them.
    #[test]
    fn scalars_are_read_as_pyyaml_reads_them() {
        const TABLE: &str = "
            ~ null
            null null
            Null null
            NULL null
            nul str nul
            NuLL str NuLL
            yes bool true
            Yes bool true
            YES bool true
            yES str yES
            no bool false
            No bool false
            NO bool false
            on bool true
            On bool true
            ON bool true
            off bool false
            Off bool false
            OFF bool false
            true bool true
            True bool true
            TRUE bool true
            tRUE str tRUE
            false bool false
            FALSE bool false
            y str y
            Y str Y
            n str n
            N str N
            0 int 0
            -0 int 0
            +0 int 0
            7 int 7
            +7 int 7
            -7 int -7
            0644 int 420
            010 int 8
            08 str 08
            09 str 09
            0o17 str 0o17
            0x1F int 31
            0X1F str 0X1F
            -0x10 int -16
            0b101 int 5
            -0b11 int -3
            0b str 0b
            0x str 0x
            0xdead_beef int 3735928559
            0b1_0 int 2
            1_000 int 1000
            1__0 int 10
            _1 str _1
            1_ int 1
            0_7 int 7
            00 int 0
            +0644 int 420
            -0644 int -420
            0_644 int 420
            -1_000 int -1000
            190:20:30 int 685230
            1:30 int 90
            +1:30 int 90
            1:60 str 1:60
            -1:30 int -90
            01:30 str 01:30
            0:30 str 0:30
            1:3 int 63
            1_0:30 int 630
            1:300 str 1:300
            1:2:3:4 int 223384
            1:30.5 float 90.5
            190:20:30.15 float 685230.15
            1.5 float 1.5
            -1.5 float -1.5
            +1.5 float 1.5
            1. float 1.0
            0. float 0.0
            .5 float 0.5
            -.5 str -.5
            +.5 str +.5
            ._1 str ._1
            .5e3 str .5e3
            1e3 str 1e3
            1e+3 str 1e+3
            1e str 1e
            12e03 str 12e03
            1.e5 str 1.e5
            1.e+5 float 100000.0
            1.0e3 str 1.0e3
            1.0e+3 float 1000.0
            1.0E-3 float 0.001
            6.8523015e+5 float 685230.15
            685.230_15e+03 float 685230.15
            1_0.5 float 10.5
            .inf float inf
            .Inf float inf
            .INF float inf
            -.inf float -inf
            +.inf float inf
            .nan float NaN
            .NaN float NaN
            nan str nan
            inf str inf
            . str .
            .. str ..
            - str -
            1.2.3 str 1.2.3
            0.0.0.0 str 0.0.0.0
            1,000 str 1,000
            20011214 int 20011214
            2001-12-14 str 2001-12-14
            2001-1-4 str 2001-1-4
            2001-13-14 error
            2001-12-14t21:59:43.10-05:00 str 2001-12-14 21:59:43.100000-05:00
            2001-12-14T21:59:43Z str 2001-12-14 21:59:43+00:00
            2001-12-14T21:59:43.123456789Z str 2001-12-14 21:59:43.123456+00:00
            = error
            9223372036854775807 int 9223372036854775807
            9223372036854775808 str 9223372036854775808
            -9223372036854775808 int -9223372036854775808
            0777777777777777777777777 str 4722366482869645213695
            hello str hello
        ";
        for line in TABLE.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (text, wanted) = line.split_once(' ').unwrap();
            assert_eq!(shown(text), wanted, "{text}");
        }
        assert_eq!(shown(""), "null");
        assert_eq!(shown("2001-12-14 21:59:43.10 -5"), "str 2001-12-14 21:59:43.100000-05:00");
        assert_eq!(shown("2001-12-15 2:59:43.10"), "str 2001-12-15 02:59:43.100000");
        assert_eq!(shown("2001-12-15 2:59:43 x"), "str 2001-12-15 2:59:43 x");
    }

    #[test]
    fn absurd_numbers_are_errors_and_not_panics() {
        for text in [&"9".repeat(500), &format!("0x{}", "f".repeat(99)), &format!("1{}", ":59".repeat(99))] {
            assert_eq!(shown(text), "error", "{text}");
        }
    }
}
