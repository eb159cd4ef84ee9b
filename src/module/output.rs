//! What a command said, as Ansible's result values.

use chrono::{DateTime, TimeDelta, Utc};

use crate::remote::Output;
use crate::source::{Map, Val};

/// Lines as Python's `str.splitlines()` sees them.
pub fn lines(text: &str) -> Vec<Val> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(end) = rest.find(is_end) else {
            found.push(Val::from(rest));
            break;
        };
        found.push(Val::from(&rest[..end]));
        let end_size = if rest[end..].starts_with("\r\n") {
            2
        } else {
            rest[end..].chars().next().map_or(1, char::len_utf8)
        };
        rest = &rest[end + end_size..];
    }
    found
}

/// `stdout`, `stderr` and their `_lines`; `strip` cuts line ends from their ends.
pub fn texts(stdout: &str, stderr: &str, strip: bool) -> Map {
    let mut map = Map::new();
    for (key, text) in [("stdout", stdout), ("stderr", stderr)] {
        let text = if strip { text.trim_end_matches(['\r', '\n']) } else { text };
        map.insert(Val::from(key), Val::from(text));
        map.insert(Val::from(format!("{key}_lines")), Val::from(lines(text)));
    }
    map
}

/// `rc`, `stdout`, `stderr`, their `_lines`, `start`, `end` and `delta`. Times are UTC.
pub fn of_command(output: &Output, strip: bool) -> Map {
    let mut map = texts(&output.stdout_text(), &output.stderr_text(), strip);
    let delta = TimeDelta::from_std(output.duration).unwrap_or_default();
    let start = output
        .started
        .and_then(|s| DateTime::<Utc>::from_timestamp_micros((s * 1e6) as i64))
        .unwrap_or_else(|| Utc::now() - delta);
    let stamp = |t: DateTime<Utc>| t.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    map.insert(Val::from("rc"), Val::Int(output.status.into()));
    map.insert(Val::from("start"), stamp(start).into());
    map.insert(Val::from("end"), stamp(start + delta).into());
    map.insert(Val::from("delta"), timedelta(delta).into());
    map
}

/// As Python's `str(timedelta)`: `1 day, 0:00:01.000002`.
fn timedelta(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds();
    let (days, seconds) = (seconds / 86400, seconds % 86400);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".into(),
        n => format!("{n} days, "),
    };
    let fraction = match delta.subsec_nanos() / 1000 {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!("{days}{}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_writes_them() {
        assert_eq!(timedelta(TimeDelta::microseconds(1_000_002)), "0:00:01.000002");
        assert_eq!(timedelta(TimeDelta::seconds(90_061)), "1 day, 1:01:01");
        let split: Vec<String> = lines("a\r\nb\n\nc\rd").iter().map(|v| v.key_text()).collect();
        assert_eq!(split, ["a", "b", "", "c", "d"]);
        assert!(lines("").is_empty());
    }
}
