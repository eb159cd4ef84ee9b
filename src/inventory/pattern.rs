//! Host patterns: `all`, globs, `~regex`, `web:&prod:!web3`, `web[0:2]`, and `--limit`.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use fancy_regex::Regex;
use indexmap::IndexSet;
use rand::seq::SliceRandom;

use super::{HostName, Inventory, LOCALHOST, address};
use crate::source::Diagnostic;

/// The hosts that patterns picked, and what the operator should hear about it.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// In inventory order.
    pub hosts: Vec<HostName>,
    /// Patterns that matched nothing, in Ansible's words.
    pub warnings: Vec<String>,
}

/// A pattern that cannot be understood or applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError(pub String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for PatternError {}

/// The play keyword `order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Inventory,
    ReverseInventory,
    Sorted,
    ReverseSorted,
    Shuffle,
}

impl FromStr for Order {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Order, PatternError> {
        Ok(match text {
            "inventory" => Order::Inventory,
            "reverse_inventory" => Order::ReverseInventory,
            "sorted" => Order::Sorted,
            "reverse_sorted" => Order::ReverseSorted,
            "shuffle" => Order::Shuffle,
            _ => {
                return Err(PatternError(format!(
                    "Invalid 'order' specified for inventory hosts: {text} \
                     (one of inventory, reverse_inventory, sorted, reverse_sorted, shuffle)"
                )));
            }
        })
    }
}

impl Order {
    /// Puts hosts, given in inventory order, into this order.
    pub fn apply(self, hosts: &mut [HostName]) {
        match self {
            Order::Inventory => {}
            Order::ReverseInventory => hosts.reverse(),
            Order::Sorted => hosts.sort(),
            Order::ReverseSorted => hosts.sort_by(|a, b| b.cmp(a)),
            Order::Shuffle => hosts.shuffle(&mut rand::rng()),
        }
    }
}

/// `--limit`: patterns every selection is narrowed by, `@file` already read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit(Vec<String>);

impl Limit {
    /// Reads `--limit`; `@FILE` (relative to `cwd`) holds one pattern a line, as `.retry` files do.
    ///
    /// # Errors
    /// A file that is missing, a folder or not readable.
    pub fn parse(text: &str, cwd: &Path) -> Result<Limit, Diagnostic> {
        let mut patterns = vec![];
        for pattern in split(text) {
            let Some(name) = pattern.strip_prefix('@') else {
                patterns.push(pattern);
                continue;
            };
            let bad = |why: String| Err(Diagnostic::global("limit-file", why));
            let path = cwd.join(name);
            if !path.exists() {
                return bad(format!("Unable to find limit file {name}"));
            }
            if path.is_dir() {
                return bad(format!("Limit starting with \"@\" must be a file, not a directory: {name}"));
            }
            match std::fs::read_to_string(&path) {
                Ok(lines) => {
                    patterns.extend(lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from));
                }
                Err(why) => return bad(format!("cannot read limit file {name}: {}", why.kind())),
            }
        }
        Ok(Limit(patterns))
    }
}

impl Inventory {
    /// The hosts that the `patterns` (a play's `hosts`, each possibly `a:b` or `a,b`) pick, narrowed
    /// by `limit`.
    ///
    /// # Errors
    /// A pattern that is no valid glob or regex, or an index that is out of range.
    pub fn select(&self, patterns: &[String], limit: Option<&Limit>) -> Result<Selection, PatternError> {
        let split: Vec<String> = patterns.iter().flat_map(|p| split(p)).collect();
        let mut picked = self.evaluate(&split)?;
        if let Some(Limit(patterns)) = limit {
            let narrowed = self.evaluate(patterns)?;
            let keep: HashSet<HostName> = narrowed.hosts.into_iter().collect();
            picked.hosts.retain(|h| keep.contains(h));
            picked.warnings.extend(narrowed.warnings);
        }
        Ok(picked)
    }

    /// What `--limit` is checked against before anything runs: that it leaves a host at all.
    ///
    /// # Errors
    /// In Ansible's words when it leaves none of an inventory that has some.
    pub fn check_limit(&self, limit: &Limit) -> Result<(), PatternError> {
        if !self.is_empty() && self.select(&["all".into()], Some(limit))?.hosts.is_empty() {
            return Err(PatternError(
                "Specified inventory, host pattern and/or --limit leaves us with no hosts to target.".into(),
            ));
        }
        Ok(())
    }

    fn evaluate(&self, patterns: &[String]) -> Result<Selection, PatternError> {
        let mut picked: IndexSet<HostName> = IndexSet::new();
        let mut warnings = vec![];
        for pattern in by_kind(patterns) {
            if let Some(host) = self.hosts.get(pattern) {
                picked.insert(host.name.clone());
                continue;
            }
            let (kind, bare) = match pattern.chars().next() {
                Some(kind @ ('!' | '&')) => (kind, &pattern[1..]),
                _ => ('+', pattern),
            };
            let matched = self.matches(bare, &mut warnings)?;
            match kind {
                '!' => picked.retain(|h| !matched.contains(h)),
                '&' => picked.retain(|h| matched.contains(h)),
                _ => picked.extend(matched),
            }
        }
        Ok(Selection { hosts: picked.into_iter().collect(), warnings })
    }

    /// The hosts of one bare pattern, its `[subscript]` applied.
    fn matches(&self, pattern: &str, warnings: &mut Vec<String>) -> Result<IndexSet<HostName>, PatternError> {
        let (expression, subscript) = split_subscript(pattern);
        let found: Vec<HostName> = self.enumerate(expression, warnings)?.into_iter().collect();
        let picked = match subscript {
            None => &found[..],
            _ if found.is_empty() => &[],
            Some(subscript) => subscript.of(&found).ok_or_else(|| {
                PatternError(format!("No hosts matched the subscripted pattern '{pattern}'"))
            })?,
        };
        Ok(picked.iter().cloned().collect())
    }

    fn enumerate(
        &self,
        pattern: &str,
        warnings: &mut Vec<String>,
    ) -> Result<IndexSet<HostName>, PatternError> {
        let mut found = IndexSet::new();
        if pattern.is_empty() {
            return Ok(found);
        }
        let matcher = Matcher::new(pattern)?;
        let mut any_group = false;
        for group in self.groups.values().filter(|g| matcher.fits(&g.name)) {
            any_group = true;
            let hosts = self.hosts_of(&group.name);
            // The implicit localhost can be in a group by group_by, but `all` never means it.
            found.extend(hosts.into_iter().filter(|h| &*group.name != "all" || !self.hosts[h].implicit));
        }
        if !any_group || pattern.starts_with('~') || pattern.contains(['.', '?', '*', '[']) {
            found.extend(self.hosts.values().filter(|h| matcher.fits(&h.name)).map(|h| h.name.clone()));
        }
        if found.is_empty()
            && LOCALHOST.contains(&pattern)
            && let Some(host) = self.host(pattern)
        {
            found.insert(host.name.clone());
        }
        if found.is_empty() && !any_group && pattern != "all" {
            warnings.push(format!("Could not match supplied host pattern, ignoring: {pattern}"));
        }
        Ok(found)
    }
}

/// Additions first, then `&`, then `!`; only `&` and `!` means of `all`.
fn by_kind(patterns: &[String]) -> Vec<&str> {
    let of = |kind: fn(char) -> bool| {
        patterns.iter().map(String::as_str).filter(move |p| p.chars().next().is_some_and(kind))
    };
    let mut ordered: Vec<&str> = of(|c| c != '!' && c != '&').collect();
    if ordered.is_empty() {
        ordered.push("all");
    }
    ordered.extend(of(|c| c == '&'));
    ordered.extend(of(|c| c == '!'));
    ordered
}

/// `a,b` or `a:b` → its patterns; colons inside an address or brackets don't split.
fn split(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.contains(',') {
        return text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(String::from).collect();
    }
    if address::parse(text).is_some() {
        return vec![text.to_string()];
    }
    let mut patterns = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '[' => {
                let rest = chars.as_str();
                let Some(close) = rest.find(']') else {
                    patterns.push(String::new());
                    continue;
                };
                let last = patterns.len() - 1;
                patterns[last]
                    .push_str(&text[text.len() - rest.len() - 1..text.len() - rest.len() + close + 1]);
                chars = rest[close + 1..].chars();
            }
            c if c.is_whitespace() || c == ':' || c == ']' => patterns.push(String::new()),
            c => {
                let last = patterns.len() - 1;
                patterns[last].push(c);
            }
        }
    }
    patterns.retain(|p| !p.is_empty());
    patterns
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Subscript {
    One(i64),
    /// Both ends included; no end means to the last.
    Range(usize, Option<usize>),
}

impl Subscript {
    fn of(self, hosts: &[HostName]) -> Option<&[HostName]> {
        match self {
            Subscript::One(n) => {
                let at = if n < 0 { hosts.len().checked_sub(n.unsigned_abs() as usize)? } else { n as usize };
                hosts.get(at..at + 1)
            }
            Subscript::Range(from, to) => {
                let end = to.map_or(hosts.len(), |to| to.saturating_add(1)).min(hosts.len());
                Some(hosts.get(from..end).unwrap_or_default())
            }
        }
    }
}

/// `web[0]`, `web[-1]`, `web[1:3]`, `web[2:]`; a regex has none.
fn split_subscript(pattern: &str) -> (&str, Option<Subscript>) {
    let whole = (pattern, None);
    if pattern.starts_with('~') {
        return whole;
    }
    let Some((head, inside)) = pattern.strip_suffix(']').and_then(|p| p.rsplit_once('[')) else {
        return whole;
    };
    if head.is_empty() {
        return whole;
    }
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if digits(inside.strip_prefix('-').unwrap_or(inside)) {
        return inside.parse().map_or(whole, |n| (head, Some(Subscript::One(n))));
    }
    match inside.split_once([':', '-']) {
        Some((from, "")) if digits(from) => {
            from.parse().map_or(whole, |from| (head, Some(Subscript::Range(from, None))))
        }
        Some((from, to)) if digits(from) && digits(to) => match (from.parse(), to.parse()) {
            // In Ansible an end of 0 means no end: [0:0] is only the first host.
            (Ok(from), Ok(0)) => (head, Some(Subscript::One(from))),
            (Ok(from), Ok(to)) => (head, Some(Subscript::Range(from as usize, Some(to)))),
            _ => whole,
        },
        _ => whole,
    }
}

/// A glob over whole names, as Python's `fnmatch`.
///
/// # Errors
/// A glob that has no meaning, such as `[b-a]`.
pub fn glob(pattern: &str) -> Result<Matcher, PatternError> {
    Regex::new(&glob_to_regex(pattern))
        .map(Matcher)
        .map_err(|_| PatternError(format!("Invalid pattern: {pattern}")))
}

/// A glob over the whole name, or a regex from its start.
pub struct Matcher(Regex);

impl Matcher {
    fn new(pattern: &str) -> Result<Matcher, PatternError> {
        let regex = match pattern.strip_prefix('~') {
            Some(regex) => format!("^(?:{regex})"),
            None => glob_to_regex(pattern),
        };
        Regex::new(&regex)
            .map(Matcher)
            .map_err(|_| PatternError(format!("Invalid host list pattern: {pattern}")))
    }

    pub fn fits(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
    }
}

/// As Python's `fnmatch.translate`: `*`, `?`, `[seq]`, `[!seq]`; an unclosed `[` is itself.
fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::from("(?s)^");
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let negated = rest.starts_with('!');
                let body = &rest[usize::from(negated)..];
                // A `]` right at the start is a member.
                let from = usize::from(body.starts_with(']'));
                match body[from..].find(']') {
                    Some(end) => {
                        let members = &body[..from + end];
                        regex.push_str(if negated { "[^" } else { "[" });
                        for m in members.chars() {
                            if matches!(m, '\\' | '[' | ']' | '^' | '&' | '~') {
                                regex.push('\\');
                            }
                            regex.push(m);
                        }
                        regex.push(']');
                        rest = &body[from + end + 1..];
                    }
                    None => regex.push_str("\\["),
                }
            }
            c => regex.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}
