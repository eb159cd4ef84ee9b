//! `host`, `host:port`, `[v6]:port` and host ranges such as `www[01:50:2].example.com`.

use std::sync::LazyLock;

use fancy_regex::Regex;

/// More hosts than any range is meant to make; a mistyped one must not eat the memory.
const MOST_HOSTS: usize = 1_000_000;

static NUMBERS: &str = r"\[[0-9]+:[0-9]+(?::[0-9]+)?\]";
static HEX: &str = r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]";
static LETTERS: &str = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]";

static IPV4: LazyLock<Regex> = LazyLock::new(|| {
    let part = format!(r"(?:[01]?[0-9]{{1,2}}|2[0-4][0-9]|25[0-5]|{NUMBERS})");
    regex(&format!(r"(?i)^(?:{part}\.){{3}}{part}$"))
});
static IPV6_PART: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"(?i)^(?:[0-9a-f]{{1,4}}|{HEX})$")));
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    let label = format!(r"(?:\w|{LETTERS})(?:[\w-]|{LETTERS})*(?<![_-])");
    regex(&format!(r"(?i)^{label}(?:\.{label})*$"))
});

#[expect(clippy::expect_used, reason = "the patterns are constants")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

/// Splits `host:port`; `None` for what is no host name, address or range. An IPv6 address needs
/// brackets to carry a port.
pub(super) fn parse(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = split_port(text);
    let known = is(&IPV4, host) || is_ipv6(host) || is(&HOSTNAME, host);
    known.then_some((host, port))
}

fn is(regex: &Regex, text: &str) -> bool {
    regex.is_match(text).unwrap_or(false)
}

fn split_port(text: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = text.rsplit_once(':') else { return (text, None) };
    let Ok(port) = port.parse::<u16>() else { return (text, None) };
    if let Some(inside) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'))
        && !inside.is_empty()
    {
        return (inside, Some(port));
    }
    // Colons outside brackets mean a bare IPv6 address, which has no port.
    let mut depth = 0;
    for c in host.chars() {
        match c {
            '[' if depth == 0 => depth = 1,
            ']' if depth == 1 => depth = 0,
            ':' | '[' | ']' if depth == 0 => return (text, None),
            _ => {}
        }
    }
    if depth == 0 { (host, Some(port)) } else { (text, None) }
}

/// An IPv6 address, each of whose parts may be a range.
fn is_ipv6(text: &str) -> bool {
    if !text.contains(':') {
        return false;
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return true;
    }
    if !text.contains('[') {
        return false;
    }
    // Colons inside brackets belong to ranges.
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        inside = (inside || c == '[') && c != ']';
        plain.push(if inside && c == ':' { ';' } else { c });
    }
    let halves: Vec<&str> = plain.split("::").collect();
    let parts_ok =
        |half: &&str| half.is_empty() || half.split(':').all(|p| is(&IPV6_PART, &p.replace(';', ":")));
    let count: usize = halves.iter().filter(|h| !h.is_empty()).map(|h| h.split(':').count()).sum();
    halves.iter().all(parts_ok)
        && match halves.len() {
            1 => count == 8,
            2 => count <= 7,
            _ => false,
        }
}

/// The hosts that a pattern in an inventory means, and the port of all of them.
///
/// # Errors
/// A range that is malformed or too large, and `host:` without a port.
pub(super) fn expand(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (host, port) = parse(pattern).unwrap_or((pattern, None));
    if port.is_none() && pattern.ends_with(':') {
        return Err(format!(
            "Invalid host pattern '{pattern}' supplied, ending in ':' is not allowed, this character is \
             reserved to provide a port."
        ));
    }
    let hosts = expand_ranges(host)?;
    if hosts.iter().any(|h| h.trim() == "---") {
        return Err(format!(
            "Invalid host pattern '{pattern}' supplied, '---' is normally a sign this is a YAML file."
        ));
    }
    Ok((hosts, port))
}

fn expand_ranges(text: &str) -> Result<Vec<String>, String> {
    let mut rest = text;
    let mut hosts = vec![String::new()];
    while let Some((head, after)) = rest.split_once('[') {
        let Some((range, tail)) = after.split_once(']') else {
            return Err(format!("host range in '{text}' has no closing ]"));
        };
        let range = Range::parse(range)?;
        if range.len().saturating_mul(hosts.len()) > MOST_HOSTS {
            return Err(format!("host range '{text}' makes more than {MOST_HOSTS} hosts"));
        }
        hosts = hosts
            .iter()
            .flat_map(|host| range.names().map(move |middle| format!("{host}{head}{middle}")))
            .collect();
        rest = tail;
    }
    hosts.iter_mut().for_each(|host| host.push_str(rest));
    Ok(hosts)
}

enum Range {
    Letters {
        from: usize,
        to: usize,
        step: usize,
    },
    /// `width` pads with zeros.
    Numbers {
        from: u64,
        to: u64,
        step: usize,
        width: usize,
    },
}

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Range {
    fn parse(text: &str) -> Result<Range, String> {
        let bounds: Vec<&str> = text.split(':').collect();
        let (from, to, step) = match bounds[..] {
            [from, to] => (from, to, "1"),
            [from, to, step] => (from, to, step),
            _ => return Err("host range must be begin:end or begin:end:step".into()),
        };
        if to.is_empty() {
            return Err("host range must specify end value".into());
        }
        let step = match step.parse::<usize>() {
            Ok(step) if step > 0 => step,
            _ => return Err(format!("host range has an invalid step: '{step}'")),
        };
        let from = if from.is_empty() { "0" } else { from };
        let width = if from.len() > 1 && from.starts_with('0') { from.len() } else { 0 };
        if width > 0 && width != to.len() {
            return Err("host range must specify equal-length begin and end formats".into());
        }
        if let (Some(from), Some(to)) = (ALPHABET.find(from), ALPHABET.find(to)) {
            if from > to {
                return Err("host range must have begin <= end".into());
            }
            return Ok(Range::Letters { from, to, step });
        }
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) => Ok(Range::Numbers { from, to, step, width }),
            _ => Err(format!("host range [{text}] is neither of numbers nor of letters")),
        }
    }

    fn len(&self) -> usize {
        match *self {
            Range::Letters { from, to, step } => (to - from) / step + 1,
            Range::Numbers { from, to, .. } if from > to => 0,
            Range::Numbers { from, to, step, .. } => {
                usize::try_from((to - from) / step as u64).unwrap_or(usize::MAX).saturating_add(1)
            }
        }
    }

    fn names(&self) -> Box<dyn Iterator<Item = String> + '_> {
        match *self {
            Range::Letters { from, to, step } => {
                Box::new(ALPHABET[from..=to].chars().step_by(step).map(String::from))
            }
            Range::Numbers { from, to, step, width } => {
                Box::new((from..=to).step_by(step).map(move |n| format!("{n:0width$}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports() {
        for (text, want) in [
            ("web1", Some(("web1", None))),
            ("web1.example.com:2222", Some(("web1.example.com", Some(2222)))),
            ("web_1", Some(("web_1", None))),
            ("web_", None),
            ("-web", None),
            ("192.0.2.1:22", Some(("192.0.2.1", Some(22)))),
            ("::1", Some(("::1", None))),
            ("fd00::2", Some(("fd00::2", None))),
            ("[fd00::2]:22", Some(("fd00::2", Some(22)))),
            ("fd00::[1:3]", Some(("fd00::[1:3]", None))),
            ("www[01:50:2].example.com", Some(("www[01:50:2].example.com", None))),
            ("www[1:3]:2200", Some(("www[1:3]", Some(2200)))),
            ("a:b", None),
            ("web*", None),
            ("web:99999", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }

    #[test]
    fn ranges() {
        for (text, want) in [
            ("www[01:10:3].x", vec!["www01.x", "www04.x", "www07.x", "www10.x"]),
            ("db-[a:c]", vec!["db-a", "db-b", "db-c"]),
            ("db-[y:B]", vec!["db-y", "db-z", "db-A", "db-B"]),
            ("r[1:2]n[8:9]", vec!["r1n8", "r1n9", "r2n8", "r2n9"]),
            ("n[:2]", vec!["n0", "n1", "n2"]),
            ("n[3:1]", vec![]),
            ("fd00::[9:10]", vec!["fd00::9", "fd00::10"]),
            ("plain", vec!["plain"]),
        ] {
            assert_eq!(expand(text).unwrap().0, want, "{text}");
        }
    }

    #[test]
    fn bad_ranges_say_why() {
        for (text, want) in [
            ("w[1]", "begin:end"),
            ("w[1:]", "end value"),
            ("w[01:100]", "equal-length"),
            ("w[c:a]", "begin <= end"),
            ("w[1:5:0]", "step"),
            ("w[1:x]", "neither"),
            ("w[1:3", "no closing"),
            ("w[1:99999999999]", "more than"),
            ("w:", "ending in ':'"),
            ("---", "YAML"),
        ] {
            let why = expand(text).unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
    }
}
