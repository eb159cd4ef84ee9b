//! `ini`: values of an INI or a Java properties file.

use indexmap::IndexMap;

use super::find::require_file;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup::new("ini", run).impure();

const OPTIONS: &[&str] = &[
    "allow_none",
    "case_sensitive",
    "default",
    "encoding",
    "file",
    "interpolation",
    "re",
    "section",
    "type",
];
const PROPERTIES: &str = "java_properties";

type Sections = IndexMap<String, IndexMap<String, Option<String>>>;

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    let mut out = Vec::new();
    for term in terms {
        let mut options = options.clone();
        let term = eval.text_of(&term)?;
        let mut key = term.to_string();
        if term.contains('=') {
            let mut named = None;
            for word in term.split_whitespace() {
                match word.split_once('=') {
                    Some((name, value)) if OPTIONS.contains(&name) => options.set(name, value),
                    Some((name, _)) => return Err(Fault::plain(format!("'{name}' is not a valid option."))),
                    None => named = named.or(Some(word.to_string())),
                }
            }
            key = named.ok_or_else(|| {
                Fault::plain("No key to look up was provided as first term within string inline options")
            })?;
        }
        let is_regex = options.flag(eval, "re", false)?;
        let case_sensitive = options.flag(eval, "case_sensitive", false)?;
        let allow_none = options.flag(eval, "allow_none", false)?;
        let interpolation = options.flag(eval, "interpolation", true)?;
        let properties = &*options.text_or(eval, "type", "ini")? == "properties";
        let section = options.text_or(eval, "section", "global")?;
        let section = if properties { PROPERTIES } else { &*section };
        let file = options.text_or(eval, "file", "ansible.ini")?;
        let default = options.take("default");
        options.take("encoding");
        options.finish(OPTIONS)?;

        let path = require_file(eval, "files", &file)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Fault::new(format!("cannot read {}: {e}", path.display())))?;
        let sections = parse(&text, properties, case_sensitive, allow_none)
            .map_err(|why| Fault::new(format!("{}: {why}", path.display())))?;
        let Some(entries) = sections.get(section) else {
            return Err(Fault::new(format!("No section '{section}' in '{file}'.")));
        };
        let value = |v: &Option<String>| match v {
            Some(text) if interpolation => Ok(Value::text(interpolate(text, section, &sections, 0)?)),
            Some(text) => Ok(Value::text(text.as_str())),
            None => Ok(Value::None),
        };
        if is_regex {
            let compiled = regex::compile(&key, false, false)?;
            let defaults =
                sections.get("DEFAULT").into_iter().flatten().filter(|(k, _)| !entries.contains_key(*k));
            for (name, text) in entries.iter().chain(defaults) {
                if regex::matches_at_start(&compiled, name)? {
                    out.push(value(text)?);
                }
            }
            continue;
        }
        let name = if case_sensitive { key } else { key.to_lowercase() };
        match entries.get(&name).or_else(|| sections.get("DEFAULT")?.get(&name)) {
            Some(text) => out.push(value(text)?),
            None => out.push(default.unwrap_or_else(|| Value::text(""))),
        }
    }
    Ok(out)
}

/// Python's `configparser`: `key = value` or `key: value`, indented lines continue a value.
fn parse(text: &str, properties: bool, case_sensitive: bool, allow_none: bool) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut section = properties.then(|| PROPERTIES.to_string());
    if let Some(name) = &section {
        sections.insert(name.clone(), IndexMap::new());
    }
    let mut last: Option<String> = None;
    for (i, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let entries = section.as_ref().and_then(|s| sections.get_mut(s));
        if line.starts_with(char::is_whitespace)
            && let (Some(entries), Some(key)) = (entries, &last)
        {
            if let Some(Some(value)) = entries.get_mut(key) {
                value.push('\n');
                value.push_str(trimmed);
            }
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|r| r.split_once(']')).map(|(n, _)| n) {
            if !properties && sections.contains_key(name) && name != "DEFAULT" {
                return Err(format!("line {}: the section '{name}' is there twice", i + 1));
            }
            sections.entry(name.to_string()).or_default();
            section = Some(name.to_string());
            last = None;
            continue;
        }
        let Some(entries) = section.as_ref().and_then(|s| sections.get_mut(s)) else {
            return Err(format!("line {}: there is no [section] above it", i + 1));
        };
        let (key, value) = match trimmed.find(['=', ':']) {
            Some(at) => (trimmed[..at].trim(), Some(trimmed[at + 1..].trim().to_string())),
            None if allow_none => (trimmed, None),
            None => return Err(format!("line {}: neither '=' nor ':' in it", i + 1)),
        };
        let key = if case_sensitive { key.to_string() } else { key.to_lowercase() };
        if entries.contains_key(&key) {
            return Err(format!("line {}: duplicate option '{key}'", i + 1));
        }
        last = Some(key.clone());
        entries.insert(key, value);
    }
    Ok(sections)
}

/// `%(name)s` within values; `%%` is a percent sign.
fn interpolate(text: &str, section: &str, sections: &Sections, depth: usize) -> Run<String> {
    if depth > 10 {
        return Err(Fault::plain("the interpolation is nested too deeply"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(")s")) {
            let name = name.to_lowercase();
            let found = sections.get(section).and_then(|s| s.get(&name));
            let found = found.or_else(|| sections.get("DEFAULT")?.get(&name));
            let Some(Some(value)) = found else {
                return Err(Fault::new(format!("the interpolated option '{name}' does not exist")));
            };
            out.push_str(&interpolate(value, section, sections, depth + 1)?);
            rest = after;
        } else {
            return Err(Fault::new("'%' must be followed by '%' or '('"));
        }
    }
    out.push_str(rest);
    Ok(out)
}
