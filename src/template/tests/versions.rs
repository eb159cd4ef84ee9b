//! `version`: versions compared as Python's LooseVersion, StrictVersion, SemVer or PEP 440 do.

use std::cmp::Ordering;

use super::Test;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const TESTS: &[Test] = &[Test::new("version", version), Test::new("version_compare", version)];

fn version(eval: &Eval, value: Value, args: Args) -> Run<bool> {
    let [version, operator, strict, kind] = args.bind(["version", "operator", "strict", "version_type"])?;
    let (strict, kind) = (eval.given(strict), eval.given(kind));
    if strict.is_some() && kind.is_some() {
        return Err(Fault::plain("Cannot specify both 'strict' and 'version_type'"));
    }
    let mine = eval.text_of(&value)?;
    if !value.truthy()? || mine.is_empty() {
        return Err(Fault::plain("Input version value cannot be empty"));
    }
    let other = eval.required("version", version)?;
    if !other.truthy()? {
        return Err(Fault::plain("Version parameter to compare against cannot be empty"));
    }
    let other = eval.text_of(&other)?;
    let operator = eval.text_or(operator, "eq")?;
    let kind = match (eval.flag(strict)?, kind) {
        (true, _) => "strict".into(),
        (_, Some(kind)) => eval.text_of(&kind)?,
        _ => "loose".into(),
    };
    let order = match &*kind {
        "loose" => loose(&mine, &other)?,
        "strict" => strict_version(&mine)?.cmp(&strict_version(&other)?),
        "semver" | "semantic" => semver_order(&semver(&mine)?, &semver(&other)?),
        "pep440" => pep440(&mine)?.cmp(&pep440(&other)?),
        other => {
            return Err(Fault::new(format!(
                "Invalid version type ({other}). Must be one of 'loose', 'strict', 'semver', 'semantic', 'pep440'"
            )));
        }
    };
    Ok(match &*operator {
        "==" | "=" | "eq" => order == Ordering::Equal,
        "!=" | "<>" | "ne" => order != Ordering::Equal,
        "<" | "lt" => order == Ordering::Less,
        "<=" | "le" => order != Ordering::Greater,
        ">" | "gt" => order == Ordering::Greater,
        ">=" | "ge" => order != Ordering::Less,
        other => {
            return Err(Fault::new(format!(
                "Invalid operator type ({other}). Must be one of ==, =, eq, <, lt, <=, le, >, gt, >=, ge, !=, <>, ne"
            )));
        }
    })
}

fn failed(why: String) -> Fault {
    Fault::new(format!("Version comparison failed: {why}"))
}

#[derive(PartialEq, Eq)]
enum Part<'v> {
    Number(u128),
    Word(&'v str),
}

/// Numbers and words between points; a number can't be compared with a word.
fn loose(a: &str, b: &str) -> Run<Ordering> {
    let (a, b) = (loose_parts(a), loose_parts(b));
    for (x, y) in a.iter().zip(&b) {
        let order = match (x, y) {
            (Part::Number(x), Part::Number(y)) => x.cmp(y),
            (Part::Word(x), Part::Word(y)) => x.cmp(y),
            _ => return Err(failed("'<' not supported between instances of 'str' and 'int'".into())),
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(a.len().cmp(&b.len()))
}

fn loose_parts(version: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = version;
    while let Some(c) = rest.chars().next() {
        let same = |f: fn(char) -> bool| rest.find(|c| !f(c)).unwrap_or(rest.len());
        let end = if c.is_ascii_digit() {
            same(|c| c.is_ascii_digit())
        } else if c.is_ascii_lowercase() {
            same(|c| c.is_ascii_lowercase())
        } else if c == '.' {
            rest = &rest[1..];
            continue;
        } else {
            same(|c| !c.is_ascii_digit() && !c.is_ascii_lowercase() && c != '.')
        };
        let (part, after) = rest.split_at(end);
        parts.push(part.parse().map_or(Part::Word(part), Part::Number));
        rest = after;
    }
    parts
}

type Strict = (u64, u64, u64, (bool, char, u64));

/// `1.2`, `1.2.3`, `1.2a1`, `1.2.3b2`; a pre-release is before its release.
fn strict_version(version: &str) -> Run<Strict> {
    let form =
        regex::compile(r"^(\d+) \. (\d+) (\. (\d+))? ([ab](\d+))?$".replace(' ', "").as_str(), false, false)?;
    let found = regex::search(&form, version)?
        .ok_or_else(|| failed(format!("invalid version number '{version}'")))?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse().ok()).unwrap_or(0);
    let pre = match found.get(5) {
        Some(m) => (false, m.as_str().chars().next().unwrap_or('a'), number(6)),
        None => (true, 'z', 0),
    };
    Ok((number(1), number(2), number(4), pre))
}

struct SemVer {
    core: (u128, u128, u128),
    pre: Vec<String>,
}

fn semver(version: &str) -> Run<SemVer> {
    let form = regex::compile(
        r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$",
        false,
        false,
    )?;
    let found = regex::search(&form, version)?
        .ok_or_else(|| failed(format!("invalid semantic version '{version}'")))?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse().ok()).unwrap_or(0);
    let pre = found.get(4).map_or(vec![], |m| m.as_str().split('.').map(str::to_string).collect());
    Ok(SemVer { core: (number(1), number(2), number(3)), pre })
}

fn semver_order(a: &SemVer, b: &SemVer) -> Ordering {
    let pre = |a: &[String], b: &[String]| match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => {
            for (x, y) in a.iter().zip(b) {
                let order = match (x.parse::<u128>(), y.parse::<u128>()) {
                    (Ok(x), Ok(y)) => x.cmp(&y),
                    (Ok(_), _) => Ordering::Less,
                    (_, Ok(_)) => Ordering::Greater,
                    _ => x.cmp(y),
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
            a.len().cmp(&b.len())
        }
    };
    a.core.cmp(&b.core).then_with(|| pre(&a.pre, &b.pre))
}

type Pep440 = (u64, Vec<u64>, (i8, u64), u64, (i8, u64), Vec<(u64, String)>);

/// Epoch, release, pre, post, dev and local parts, in an order that sorts as PEP 440 says.
fn pep440(version: &str) -> Run<Pep440> {
    let form = regex::compile(
        r"^\s*v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?(?:(?:-(\d+))|(?:[-_.]?(post|rev|r)[-_.]?(\d*)))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*$",
        true,
        false,
    )?;
    let found =
        regex::search(&form, version)?.ok_or_else(|| failed(format!("Invalid version: '{version}'")))?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse().ok()).unwrap_or(0);
    let mut release: Vec<u64> =
        found.get(2).map_or(vec![], |m| m.as_str().split('.').map(|n| n.parse().unwrap_or(0)).collect());
    while release.len() > 1 && release.last() == Some(&0) {
        release.pop();
    }
    let dev = found.get(8).is_some();
    let post = if found.get(5).is_some() {
        number(5) + 1
    } else if found.get(6).is_some() {
        number(7) + 1
    } else {
        0
    };
    let pre = match found.get(3).map(|m| m.as_str().to_lowercase()) {
        Some(word) if word.starts_with("al") || word == "a" => (0, number(4)),
        Some(word) if word.starts_with('b') => (1, number(4)),
        Some(_) => (2, number(4)),
        // A development release without pre or post is before every pre-release.
        None if dev && post == 0 => (-1, 0),
        None => (3, 0),
    };
    let dev = if dev { (0, number(9)) } else { (1, 0) };
    let local = found.get(10).map_or(vec![], |m| {
        m.as_str()
            .split(['-', '_', '.'])
            .map(|p| p.parse().map_or((0, p.to_lowercase()), |n: u64| (n + 1, String::new())))
            .collect()
    });
    Ok((number(1), release, pre, post, dev, local))
}
