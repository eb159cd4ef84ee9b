//! `stat`: what is at a path.

use serde::Deserialize;

use super::file_args::octal;
use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::remote::{Checksum, Command, FileKind, Output, Stat};
use crate::source::{Map, Val};

/// Tells what is at a path.
pub struct StatFile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Md5,
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl From<Algorithm> for Checksum {
    fn from(algorithm: Algorithm) -> Checksum {
        match algorithm {
            Algorithm::Md5 => Checksum::Md5,
            Algorithm::Sha1 => Checksum::Sha1,
            Algorithm::Sha224 => Checksum::Sha224,
            Algorithm::Sha256 => Checksum::Sha256,
            Algorithm::Sha384 => Checksum::Sha384,
            Algorithm::Sha512 => Checksum::Sha512,
        }
    }
}

/// Arguments of `stat`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Where to look.
    #[serde(alias = "dest", alias = "name")]
    pub path: String,
    /// Look through symbolic links.
    #[serde(default)]
    pub follow: bool,
    /// Checksum of a regular file.
    #[serde(default = "yes")]
    pub get_checksum: bool,
    /// MIME type and character set, where the host has `file`.
    #[serde(default = "yes", alias = "mime", alias = "mime_type", alias = "mime-type")]
    pub get_mime: bool,
    /// Flags of the file system, where the host has `lsattr`.
    #[serde(default = "yes", alias = "attr", alias = "attributes")]
    pub get_attributes: bool,
    /// Which checksum.
    #[serde(default, alias = "checksum", alias = "checksum_algo")]
    pub checksum_algorithm: Algorithm,
}

fn yes() -> bool {
    true
}

impl Module for StatFile {
    type Args = Args;
    const NAME: &'static str = "stat";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let path = host_path::expand(cx.target, &args.path).await?;
        let checksum = args.get_checksum.then(|| args.checksum_algorithm.into());
        let (stat, extra) =
            tokio::join!(cx.target.stat_with(&path, args.follow, checksum), extra(&args, &path, cx));
        let answer = match stat? {
            None => Map::from_iter([(Val::from("exists"), Val::Bool(false))]),
            Some(stat) => {
                let mut map = describe(&stat, &path);
                map.extend(extra?);
                map
            }
        };
        Ok(Plan::ok().value("stat", answer))
    }
}

/// What `stat` and `find` say of a file alike.
pub fn permissions(stat: &Stat) -> Vec<(&'static str, Val)> {
    let kind = |k: FileKind| Val::Bool(stat.kind == k);
    let bit = |b: u32| Val::Bool(stat.mode & b != 0);
    vec![
        ("mode", octal(stat.mode).into()),
        ("isdir", kind(FileKind::Directory)),
        ("ischr", kind(FileKind::Char)),
        ("isblk", kind(FileKind::Block)),
        ("isreg", kind(FileKind::File)),
        ("isfifo", kind(FileKind::Fifo)),
        ("islnk", kind(FileKind::Link)),
        ("issock", kind(FileKind::Socket)),
        ("uid", Val::Int(stat.uid.into())),
        ("gid", Val::Int(stat.gid.into())),
        ("size", int(stat.size)),
        ("inode", int(stat.inode)),
        ("dev", int(stat.device)),
        ("nlink", int(stat.links)),
        ("atime", Val::Float(stat.atime)),
        ("mtime", Val::Float(stat.mtime)),
        ("ctime", Val::Float(stat.ctime)),
        ("wusr", bit(0o200)),
        ("rusr", bit(0o400)),
        ("xusr", bit(0o100)),
        ("wgrp", bit(0o020)),
        ("rgrp", bit(0o040)),
        ("xgrp", bit(0o010)),
        ("woth", bit(0o002)),
        ("roth", bit(0o004)),
        ("xoth", bit(0o001)),
        ("isuid", bit(0o4000)),
        ("isgid", bit(0o2000)),
    ]
}

fn int(n: u64) -> Val {
    Val::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn describe(stat: &Stat, path: &str) -> Map {
    let mut map = Map::new();
    let mut put = |key: &str, val: Val| {
        map.insert(Val::from(key), val);
    };
    put("exists", Val::Bool(true));
    put("path", path.into());
    for (key, val) in permissions(stat) {
        put(key, val);
    }
    put("readable", Val::Bool(stat.readable));
    put("writeable", Val::Bool(stat.writable));
    put("executable", Val::Bool(stat.executable));
    if stat.kind == FileKind::Link {
        // Where a broken link would lead is still told, as realpath does.
        let beside =
            host_path::parent(path).map_or_else(String::new, |p| host_path::join(p, &stat.link_text));
        let leads = if stat.link_target.is_empty() { beside } else { stat.link_target.clone() };
        put("lnk_source", leads.into());
        put("lnk_target", stat.link_text.as_str().into());
    }
    for (key, name) in [("pw_name", &stat.owner), ("gr_name", &stat.group)] {
        if !name.is_empty() {
            put(key, name.as_str().into());
        }
    }
    if let Some(checksum) = &stat.checksum {
        put("checksum", checksum.as_str().into());
    }
    map
}

/// MIME type and flags, as far as the host's tools know them.
async fn extra(args: &Args, path: &str, cx: &PlanCx<'_>) -> Result<Map, Failure> {
    let mut script = String::new();
    let path = host_path::quote(path);
    let follow = if args.follow { "-L " } else { "" };
    if args.get_mime {
        script.push_str(&format!(
            "if command -v file >/dev/null 2>&1; then echo \"mime $(file {follow}--mime-type --mime-encoding -- {path})\"; fi\n"
        ));
    }
    if args.get_attributes {
        script.push_str(&format!(
            "if command -v lsattr >/dev/null 2>&1; then echo \"attr $(lsattr -vd -- {path})\"; fi\n"
        ));
    }
    let mut map = Map::new();
    if script.is_empty() {
        return Ok(map);
    }
    let said: Output = (*cx.target.query(Command::shell(format!("{script}exit 0"))).await?).clone();
    let said = said.stdout_text();
    let line = |kind: &str| said.lines().find_map(|l| l.strip_prefix(kind)).unwrap_or_default().to_string();
    if args.get_mime {
        let (mimetype, charset) = mime(&line("mime "));
        map.insert(Val::from("mimetype"), mimetype.into());
        map.insert(Val::from("charset"), charset.into());
    }
    if args.get_attributes {
        map.extend(flags(&line("attr ")));
    }
    Ok(map)
}

/// `PATH: text/plain; charset=us-ascii`
fn mime(line: &str) -> (String, String) {
    let said = line.rsplit_once(": ").and_then(|(_, mime)| mime.split_once(';'));
    match said.and_then(|(kind, charset)| Some((kind, charset.split_once('=')?.1))) {
        Some((kind, charset)) => (kind.trim().into(), charset.trim().into()),
        None => ("unknown".into(), "unknown".into()),
    }
}

/// `VERSION FLAGS PATH`, as `lsattr -v` says it.
fn flags(line: &str) -> Map {
    const NAMES: &[(char, &str)] = &[
        ('A', "noatime"),
        ('a', "append"),
        ('c', "compressed"),
        ('C', "nocow"),
        ('d', "nodump"),
        ('D', "dirsync"),
        ('e', "extents"),
        ('E', "encrypted"),
        ('h', "blocksize"),
        ('i', "immutable"),
        ('I', "indexed"),
        ('j', "journalled"),
        ('N', "inline"),
        ('s', "zero"),
        ('S', "synchronous"),
        ('t', "notail"),
        ('T', "blockroot"),
        ('u', "undelete"),
        ('X', "compressedraw"),
        ('Z', "compresseddirty"),
    ];
    let mut words = line.split_whitespace();
    let version = words.next().map_or(Val::Null, Val::from);
    let flags: String = words.next().unwrap_or_default().chars().filter(|c| *c != '-').collect();
    let names: Vec<&str> =
        flags.chars().filter_map(|f| NAMES.iter().find(|(c, _)| *c == f).map(|(_, n)| *n)).collect();
    Map::from_iter([
        (Val::from("version"), version),
        (Val::from("attributes"), Val::from(names)),
        (Val::from("attr_flags"), Val::from(flags)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hosts_tools_say() {
        assert_eq!(mime("/a: b: text/plain; charset=us-ascii"), ("text/plain".into(), "us-ascii".into()));
        assert_eq!(mime("cannot open"), ("unknown".into(), "unknown".into()));
        let map = flags("42 ----i---------e------- /x");
        assert_eq!(map.get("attributes"), Some(&Val::from(vec!["immutable", "extents"])));
        assert_eq!(map.get("attr_flags"), Some(&Val::from("ie")));
        assert_eq!(flags("").get("version"), Some(&Val::Null));
    }

    #[test]
    fn a_file_is_described_in_ansibles_words() {
        let stat = Stat { mode: 0o4751, size: 3, owner: "root".into(), readable: true, ..Stat::default() };
        let map = describe(&stat, "/f");
        for (key, want) in [
            ("mode", Val::from("4751")),
            ("isreg", Val::Bool(true)),
            ("isuid", Val::Bool(true)),
            ("woth", Val::Bool(false)),
            ("xoth", Val::Bool(true)),
            ("size", Val::Int(3)),
            ("pw_name", Val::from("root")),
            ("readable", Val::Bool(true)),
            ("writeable", Val::Bool(false)),
        ] {
            assert_eq!(map.get(key), Some(&want), "{key}");
        }
        assert!(
            map.get("gr_name").is_none() && map.get("checksum").is_none() && map.get("lnk_source").is_none()
        );
    }
}
