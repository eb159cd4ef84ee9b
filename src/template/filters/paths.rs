//! Paths: `basename`, `dirname`, `realpath`, `relpath`, `path_join`, `fileglob`, …

use std::path::{Path, PathBuf};

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("basename", |e, v, a| simple(e, v, a, |p| p.rsplit('/').next().unwrap_or("").to_string())),
    Filter::new("commonpath", commonpath),
    Filter::new("dirname", |e, v, a| simple(e, v, a, dirname)),
    Filter::new("expanduser", |e, v, a| simple(e, v, a, expanduser)),
    Filter::new("expandvars", |e, v, a| simple(e, v, a, expandvars)),
    Filter::new("fileglob", fileglob).impure(),
    Filter::new("normpath", |e, v, a| simple(e, v, a, normalise)),
    Filter::new("path_join", path_join),
    Filter::new("realpath", |e, v, a| simple(e, v, a, realpath)),
    Filter::new("relpath", relpath),
    Filter::new("splitext", splitext),
    Filter::new("win_basename", |e, v, a| simple(e, v, a, |p| win_split(p).1)),
    Filter::new("win_dirname", |e, v, a| simple(e, v, a, |p| win_split(p).0)),
    Filter::new("win_splitdrive", win_splitdrive),
];

fn simple(eval: &Eval, value: Value, args: Args, f: fn(&str) -> String) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::text(f(&eval.text_of(&value)?)))
}

fn dirname(path: &str) -> String {
    let head = path.rfind('/').map_or("", |at| &path[..=at]);
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head.to_string() } else { trimmed.to_string() }
}

pub fn expanduser(path: &str) -> String {
    match (path.strip_prefix('~'), std::env::var("HOME")) {
        (Some(rest), Ok(home)) if rest.is_empty() || rest.starts_with('/') => {
            let home = home.trim_end_matches('/');
            if home.is_empty() && rest.is_empty() { "/".into() } else { format!("{home}{rest}") }
        }
        _ => path.to_string(),
    }
}

fn expandvars(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            Some((name, after)) => (name, after),
            None => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        match std::env::var(name) {
            Ok(value) if !name.is_empty() => {
                out.push_str(&value);
                rest = after;
            }
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

/// Python's `os.path.normpath`.
pub fn normalise(path: &str) -> String {
    if path.is_empty() {
        return ".".into();
    }
    let root = if path.starts_with("//") && !path.starts_with("///") {
        "//"
    } else if path.starts_with('/') {
        "/"
    } else {
        ""
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    let joined = format!("{root}{}", parts.join("/"));
    if joined.is_empty() { ".".into() } else { joined }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        return normalise(path);
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    normalise(&format!("{}/{path}", here.display()))
}

fn realpath(path: &str) -> String {
    let path = absolute(path);
    // What doesn't exist is kept behind what does.
    let mut known = Path::new(&path);
    let mut rest: Vec<String> = Vec::new();
    loop {
        if let Ok(real) = std::fs::canonicalize(known) {
            let mut real = real;
            real.extend(rest.iter().rev());
            return real.display().to_string();
        }
        let (Some(parent), Some(name)) = (known.parent(), known.file_name()) else { return path };
        rest.push(name.to_string_lossy().into_owned());
        known = parent;
    }
}

fn relpath(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [start] = args.bind(["start"])?;
    let path = absolute(&eval.text_of(&value)?);
    let start = absolute(&eval.text_or(start, ".")?);
    let split = |p: &str| p.split('/').filter(|s| !s.is_empty()).map(str::to_string).collect::<Vec<_>>();
    let (path, start) = (split(&path), split(&start));
    let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let mut parts = vec!["..".to_string(); start.len() - common];
    parts.extend_from_slice(&path[common..]);
    Ok(Value::text(if parts.is_empty() { ".".to_string() } else { parts.join("/") }))
}

fn splitext(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let path = eval.text_of(&value)?;
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let name = &path[name_at..];
    let lead = name.len() - name.trim_start_matches('.').len();
    let (root, ext) = match name[lead..].rfind('.') {
        Some(at) => path.split_at(name_at + lead + at),
        None => (&*path, ""),
    };
    Ok(Value::tuple(vec![Value::text(root), Value::text(ext)]))
}

/// Python's `os.path.join`.
pub fn join(parts: &[String]) -> String {
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        if part.starts_with('/') || i == 0 {
            out = part.clone();
        } else {
            if !out.is_empty() && !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(part);
        }
    }
    out
}

fn texts(eval: &Eval, value: &Value, filter: &str) -> Run<Vec<String>> {
    if !value.is_sequence() {
        return Err(Fault::plain(format!("|{filter} expects sequence, got {} instead.", value.type_name())));
    }
    eval.iterate(value)?.iter().map(|p| Ok(eval.text_of(p)?.to_string())).collect()
}

fn path_join(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    match &value {
        Value::Text(_) => Ok(value),
        list => Ok(Value::text(join(&texts(eval, list, "path_join")?))),
    }
}

fn commonpath(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let paths = texts(eval, &value, "commonpath")?;
    let absolute = paths.iter().filter(|p| p.starts_with('/')).count();
    if paths.is_empty() {
        return Err(Fault::plain("commonpath() arg is an empty sequence"));
    }
    if absolute != 0 && absolute != paths.len() {
        return Err(Fault::plain("Can't mix absolute and relative paths"));
    }
    let split =
        |p: &String| p.split('/').filter(|s| !s.is_empty() && *s != ".").map(str::to_string).collect();
    let split: Vec<Vec<String>> = paths.iter().map(split).collect();
    let mut common = split[0].clone();
    for parts in &split[1..] {
        let same = common.iter().zip(parts).take_while(|(a, b)| a == b).count();
        common.truncate(same);
    }
    Ok(Value::text(format!("{}{}", if absolute > 0 { "/" } else { "" }, common.join("/"))))
}

fn fileglob(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let found = glob(&eval.text_of(&value)?)?;
    let files = found.into_iter().filter(|p| p.is_file());
    Ok(Value::list(files.map(|p| Value::text(p.display().to_string())).collect()))
}

/// Paths that match a shell pattern (`*`, `?`, `[…]`), sorted. A dot at a name's start must be
/// written.
pub fn glob(pattern: &str) -> Run<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        let mut next = Vec::new();
        if !part.contains(['*', '?', '[']) {
            next.extend(found.iter().map(|dir| dir.join(part)).filter(|p| p.symlink_metadata().is_ok()));
        } else {
            let matcher = regex::compile(&as_regex(part), false, false)?;
            for dir in &found {
                let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
                // What can't be read matches nothing, as for a shell.
                let Ok(entries) = std::fs::read_dir(place) else { continue };
                for entry in entries.flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let hidden = name.starts_with('.') && !part.starts_with('.');
                    if !hidden && regex::search(&matcher, &name)?.is_some() {
                        next.push(dir.join(&name));
                    }
                }
            }
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

fn as_regex(pattern: &str) -> String {
    let mut out = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' if chars.clone().any(|c| c == ']') => {
                out.push('[');
                if chars.next_if_eq(&'!').is_some() {
                    out.push('^');
                }
                for c in chars.by_ref() {
                    if c == '\\' {
                        out.push('\\');
                    }
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push_str("\\Z");
    out
}

/// The folder and the name of a Windows path.
fn win_split(path: &str) -> (String, String) {
    let (drive, rest) = win_drive(path);
    let at = rest.rfind(['\\', '/']).map_or(0, |at| at + 1);
    let (head, name) = rest.split_at(at);
    let trimmed = head.trim_end_matches(['\\', '/']);
    let head = if trimmed.is_empty() { head } else { trimmed };
    (format!("{drive}{head}"), name.to_string())
}

fn win_drive(path: &str) -> (&str, &str) {
    let bytes = path.as_bytes();
    if bytes.len() >= 2 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic() {
        return path.split_at(2);
    }
    if let Some(rest) = path.strip_prefix("\\\\") {
        let mut ends = rest.match_indices('\\').map(|(i, _)| i + 2);
        let end = ends.nth(1).unwrap_or(path.len());
        return path.split_at(end);
    }
    ("", path)
}

fn win_splitdrive(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let path = eval.text_of(&value)?;
    let (drive, rest) = win_drive(&path);
    Ok(Value::tuple(vec![Value::text(drive), Value::text(rest)]))
}
