//! `find`: files by name, age, size, mode and content.

use serde::Deserialize;

use super::file_args::apply_symbolic;
use super::stat::{Algorithm, permissions};
use super::text_edit::MAX_SIZE;
use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::remote::{Command, FileKind, Stat};
use crate::source::python_re::{Flags, Pattern, PatternError};
use crate::source::{Map, Val};

/// Lists what is in folders of the host and fits.
pub struct Find;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    Any,
    Directory,
    #[default]
    File,
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stamp {
    Atime,
    Ctime,
    #[default]
    Mtime,
}

/// Arguments of `find`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The folders to look into.
    #[serde(alias = "name", alias = "path")]
    pub paths: Vec<String>,
    /// Globs, or regular expressions with `use_regex`, on names; any fits.
    #[serde(default, alias = "pattern")]
    pub patterns: Vec<String>,
    /// As `patterns`; what fits is left out.
    #[serde(default, alias = "exclude")]
    pub excludes: Vec<String>,
    /// A regular expression that a line must begin with.
    pub contains: Option<String>,
    /// `contains` is searched for in the whole file.
    #[serde(default)]
    pub read_whole_file: bool,
    /// What counts.
    #[serde(default)]
    pub file_type: FileType,
    /// At least this old (`-` before it: at most), in `s`, `m`, `h`, `d` or `w`.
    pub age: Option<String>,
    /// Which time `age` is about.
    #[serde(default)]
    pub age_stamp: Stamp,
    /// At least this large (`-` before it: at most), in `b`, `k`, `m`, `g` or `t`.
    pub size: Option<String>,
    /// Folders in folders too.
    #[serde(default)]
    pub recurse: bool,
    /// Names that begin with a dot too.
    #[serde(default)]
    pub hidden: bool,
    /// Not supported: links to folders are never entered.
    #[serde(default)]
    pub follow: bool,
    /// Checksum of every file.
    #[serde(default)]
    pub get_checksum: bool,
    /// Which checksum.
    #[serde(default, alias = "checksum", alias = "checksum_algo")]
    pub checksum_algorithm: Algorithm,
    /// Patterns are regular expressions.
    #[serde(default)]
    pub use_regex: bool,
    /// How deep to go, 1 for a folder itself.
    pub depth: Option<usize>,
    /// Octal or symbolic permissions.
    pub mode: Option<String>,
    /// `mode` fits only exactly; otherwise any of its bits will do.
    #[serde(default = "yes")]
    pub exact_mode: bool,
    /// Only `utf-8` is supported.
    pub encoding: Option<String>,
    /// Stop after so many.
    pub limit: Option<usize>,
}

fn yes() -> bool {
    true
}

impl Module for Find {
    type Args = Args;
    const NAME: &'static str = "find";

    fn validate(args: &Args) -> Result<(), String> {
        if args.follow {
            return Err("follow is not supported: links to folders are never entered".into());
        }
        if let Some(encoding) = &args.encoding
            && !matches!(encoding.to_lowercase().as_str(), "utf-8" | "utf8" | "ascii")
        {
            return Err(format!("encoding '{encoding}' is not supported, only utf-8"));
        }
        if args.limit == Some(0) {
            return Err("limit cannot be 0 (use None for unlimited)".into());
        }
        Wanted::new(args, 0.0).map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let now = match args.age {
            Some(_) => {
                let said = cx.target.probe(Command::shell("date +%s")).await?;
                said.stdout_text()
                    .trim()
                    .parse()
                    .map_err(|_| Failure::new("the host doesn't tell its time"))?
            }
            None => 0.0,
        };
        let wanted = Wanted::new(&args, now).map_err(Failure::new)?;
        let failed = |e: PatternError| Failure::new(e.to_string());
        let (mut files, mut skipped, mut examined) = (Vec::new(), Map::new(), 0);
        let mut plan = Plan::ok();
        let limit = args.limit.unwrap_or(usize::MAX);
        for path in &args.paths {
            let path = host_path::expand(cx.target, path).await?;
            if cx.target.stat(&path).await?.is_none_or(|s| s.kind != FileKind::Directory) {
                let why = format!("'{path}' is not a directory");
                plan.warnings.push(format!("Skipped '{path}' path due to this access issue: {why}\n"));
                skipped.insert(Val::from(path), Val::from(why));
                continue;
            }
            let entries = cx.target.list(path.trim_end_matches('/'), args.recurse).await?;
            for entry in entries.iter() {
                if files.len() >= limit {
                    break;
                }
                examined += 1;
                if !wanted.fits(entry, &path).map_err(failed)? {
                    continue;
                }
                match contains(&args, entry, &wanted, cx).await? {
                    Contains::Yes => {}
                    Contains::No => continue,
                    Contains::Unreadable(why) => {
                        plan.warnings
                            .push(format!("Skipped '{path}' path due to this access issue: {why}\n"));
                        skipped.insert(Val::from(path.as_str()), Val::from(why));
                        continue;
                    }
                }
                files.push(Val::map(found(&args, entry, cx).await?));
            }
        }
        let msg = match (skipped.is_empty(), files.len() >= limit) {
            (false, _) => "Not all paths examined, check warnings for details",
            (true, true) => "Limit of matches reached",
            (true, false) => "All paths examined",
        };
        Ok(plan
            .value("msg", msg)
            .value("matched", files.len() as i64)
            .value("examined", examined)
            .value("skipped_paths", skipped)
            .value("files", Val::list(files)))
    }
}

/// Whether a file has what `contains` asks for.
enum Contains {
    Yes,
    No,
    /// It is no text; the reason.
    Unreadable(String),
}

async fn contains(args: &Args, entry: &Stat, wanted: &Wanted, cx: &PlanCx<'_>) -> Result<Contains, Failure> {
    let (Some(pattern), FileType::File) = (&wanted.contains, args.file_type) else {
        return Ok(Contains::Yes);
    };
    // Ansible passes by what it can't read.
    let Ok(file) = cx.target.read(&entry.path, MAX_SIZE).await else { return Ok(Contains::No) };
    let failed = |e: PatternError| Failure::new(e.to_string());
    let found = match args.read_whole_file {
        true => pattern.is_match(&file.content).map_err(failed)?,
        false => {
            let mut lines = super::text_edit::lines(&file.content).into_iter();
            lines.try_fold(false, |found, line| {
                Ok::<_, Failure>(found || pattern.is_match(line).map_err(failed)?)
            })?
        }
    };
    Ok(match (found, std::str::from_utf8(&file.content)) {
        (true, _) => Contains::Yes,
        (false, Ok(_)) => Contains::No,
        (false, Err(_)) => Contains::Unreadable(format!(
            "Failed to read the file {} due to an encoding error. current encoding: {}",
            entry.path,
            args.encoding.as_deref().unwrap_or("utf-8")
        )),
    })
}

async fn found(args: &Args, entry: &Stat, cx: &PlanCx<'_>) -> Result<Map, Failure> {
    let mut map = Map::from_iter([(Val::from("path"), Val::from(entry.path.as_str()))]);
    map.extend(permissions(entry).into_iter().map(|(key, val)| (Val::from(key), val)));
    map.insert(Val::from("pw_name"), entry.owner.as_str().into());
    map.insert(Val::from("gr_name"), entry.group.as_str().into());
    if args.get_checksum && entry.kind == FileKind::File {
        let stat = cx.target.stat_with(&entry.path, false, Some(args.checksum_algorithm.into())).await?;
        map.insert(Val::from("checksum"), stat.and_then(|s| s.checksum.clone()).into());
    }
    Ok(map)
}

/// The filters, read once.
struct Wanted {
    patterns: Vec<Pattern>,
    excludes: Vec<Pattern>,
    contains: Option<Pattern>,
    file_type: FileType,
    /// Seconds, and which time.
    age: Option<(f64, Stamp, f64)>,
    /// Bytes; negative: at most.
    size: Option<i64>,
    mode: Option<(u32, bool)>,
    hidden: bool,
    depth: Option<usize>,
}

impl Wanted {
    fn new(args: &Args, now: f64) -> Result<Wanted, String> {
        let compile = |given: &String| {
            let (pattern, flags) = match args.use_regex {
                true => (format!("\\A(?:{given})"), Flags::default()),
                false => (glob(given), Flags { dotall: true, ..Flags::default() }),
            };
            Pattern::unicode(&pattern, flags).map_err(|e| e.to_string())
        };
        let seconds = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604_800)];
        let bytes = [("b", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40)];
        let age =
            args.age.as_deref().map(|a| amount(a, &seconds).ok_or("failed to process age")).transpose()?;
        let size =
            args.size.as_deref().map(|s| amount(s, &bytes).ok_or("failed to process size")).transpose()?;
        let mode = match args.mode.as_deref() {
            None => None,
            Some(text) => {
                let bits = u32::from_str_radix(text, 8).ok().or_else(|| apply_symbolic(text, 0, false));
                Some((
                    bits.ok_or_else(|| format!("mode must be octal or symbolic, got '{text}'"))?,
                    args.exact_mode,
                ))
            }
        };
        let contains = args.contains.as_ref().map(|c| match args.read_whole_file {
            true => c.clone(),
            false => format!("\\A(?:{c})"),
        });
        Ok(Wanted {
            patterns: args.patterns.iter().map(compile).collect::<Result<_, _>>()?,
            excludes: args.excludes.iter().map(compile).collect::<Result<_, _>>()?,
            contains: contains
                .map(|c| Pattern::unicode(&c, Flags::default()).map_err(|e| e.to_string()))
                .transpose()?,
            file_type: args.file_type,
            age: age.map(|a| (a as f64, args.age_stamp, now)),
            size,
            mode,
            hidden: args.hidden,
            depth: args.depth,
        })
    }

    fn fits(&self, entry: &Stat, top: &str) -> Result<bool, PatternError> {
        let name = host_path::basename(&entry.path);
        let below = entry.path.strip_prefix(top.trim_end_matches('/')).unwrap_or(&entry.path);
        let depth = below.matches('/').count();
        let kind = match self.file_type {
            FileType::Any => true,
            FileType::Directory => entry.kind == FileKind::Directory,
            FileType::File => entry.kind == FileKind::File,
            FileType::Link => entry.kind == FileKind::Link,
        };
        let age = self.age.is_none_or(|(age, stamp, now)| {
            let time = match stamp {
                Stamp::Atime => entry.atime,
                Stamp::Ctime => entry.ctime,
                Stamp::Mtime => entry.mtime,
            };
            if age >= 0.0 { now - time >= age } else { now - time <= -age }
        });
        let size = entry.kind != FileKind::File
            || self.size.is_none_or(|size| {
                let is = i64::try_from(entry.size).unwrap_or(i64::MAX);
                if size >= 0 { is >= size } else { is <= -size }
            });
        let mode = self.mode.is_none_or(|(mode, exact)| match exact {
            true => entry.mode == mode,
            false => entry.mode & mode != 0,
        });
        if !kind || !age || !size || !mode || self.depth.is_some_and(|d| d > 0 && depth > d) {
            return Ok(false);
        }
        if name.starts_with('.') && !self.hidden {
            return Ok(false);
        }
        let any = |patterns: &[Pattern]| -> Result<bool, PatternError> {
            for pattern in patterns {
                if pattern.is_match(name.as_bytes())? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        Ok((self.patterns.is_empty() || any(&self.patterns)?) && !any(&self.excludes)?)
    }
}

/// `-2d` in units.
fn amount(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let text = text.to_lowercase();
    let (number, unit) = match units.iter().find(|(name, _)| text.ends_with(name)) {
        Some((name, size)) => (&text[..text.len() - name.len()], *size),
        None => (text.as_str(), 1),
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// A shell glob as a regular expression for a whole name, as Python's fnmatch.
fn glob(pattern: &str) -> String {
    let mut out = String::from("\\A");
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        at += 1;
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let negated = usize::from(chars.get(at) == Some(&'!'));
                // A `]` that comes first is a member.
                let first = at + negated;
                let end = chars.iter().skip(first + 1).position(|c| *c == ']').map(|i| first + 1 + i);
                match end {
                    Some(end) => {
                        let members: String = chars[first..end].iter().collect();
                        let negation = if negated == 1 { "^" } else { "" };
                        out.push_str(&format!(
                            "[{negation}{}]",
                            members.replace('\\', "\\\\").replace('^', "\\^")
                        ));
                        at = end + 1;
                    }
                    None => out.push_str("\\["),
                }
            }
            c if c.is_ascii_punctuation() => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str("\\Z");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::{self, from_val};

    #[test]
    fn globs_are_whole_names() {
        for (pattern, name, want) in [
            ("*.log", "a.log", true),
            ("*.log", "a.logx", false),
            ("a?c", "abc", true),
            ("[!a]*", "b", true),
            ("[!a]*", "a", false),
            ("[]a]", "]", true),
            ("a[b", "a[b", true),
            ("a+b", "a+b", true),
        ] {
            let flags = Flags { dotall: true, ..Flags::default() };
            let pattern_ = Pattern::unicode(&glob(pattern), flags).unwrap();
            assert_eq!(pattern_.is_match(name.as_bytes()), Ok(want), "{pattern} {name}");
        }
    }

    #[test]
    fn what_fits() {
        let entry =
            Stat { path: "/d/s/a.log".into(), size: 2048, mtime: 100.0, mode: 0o640, ..Stat::default() };
        let fits = |given: &[(&'static str, &str)]| {
            let mut all = vec![("paths", Val::from("/d"))];
            all.extend(given.iter().map(|(k, v)| (*k, Val::from(*v))));
            let typed: Args = from_val(&args::args(all)).unwrap();
            Wanted::new(&typed, 1100.0).unwrap().fits(&entry, "/d/").unwrap()
        };
        for (given, want) in [
            (&[][..], true),
            (&[("size", "2k")], true),
            (&[("size", "3k")], false),
            (&[("size", "-2k")], true),
            (&[("age", "10m")], true),
            (&[("age", "-10m")], false),
            (&[("age", "1h")], false),
            (&[("mode", "0640")], true),
            (&[("mode", "0600")], false),
            (&[("mode", "0400"), ("exact_mode", "no")], true),
            (&[("depth", "1")], false),
            (&[("depth", "2")], true),
            (&[("patterns", "*.log,x"), ("excludes", "a*")], false),
            (&[("patterns", "a\\.l"), ("use_regex", "yes")], true),
            (&[("file_type", "directory")], false),
        ] {
            assert_eq!(fits(given), want, "{given:?}");
        }
    }
}
