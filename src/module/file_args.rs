//! The arguments that every module that makes or changes files has (`mode`, `owner`, `group`), and
//! the result keys that every one of them gives back.

use std::sync::Arc;

use crate::remote::{Attributes, Content, FileKind, Output, Stat};
use crate::source::{Map, Text, Val};

/// Declares the `Args` of a module that takes Ansible's common file arguments beside its own, and
/// `Args::file_args`.
macro_rules! with_file_args {
    ($(#[$meta:meta])* pub struct Args { $($fields:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Args {
            $($fields)*
            /// Permissions: octal as text (`"0640"`), a YAML octal (`0640`) or symbolic (`u+rw,o=`).
            pub mode: Option<$crate::source::Val>,
            /// User name or id that shall own it.
            pub owner: Option<String>,
            /// Group name or id that shall own it.
            pub group: Option<String>,
            /// Not supported: files are only ever replaced atomically.
            #[serde(default)]
            pub unsafe_writes: bool,
            /// Not supported: `chattr` flags.
            #[serde(alias = "attr")]
            pub attributes: Option<String>,
            /// Not supported: SELinux context.
            pub seuser: Option<String>,
            /// Not supported: SELinux context.
            pub serole: Option<String>,
            /// Not supported: SELinux context.
            pub selevel: Option<String>,
            /// Not supported: SELinux context.
            pub setype: Option<String>,
        }

        impl Args {
            /// The common file arguments, checked.
            #[allow(dead_code)]
            fn file_args(&self) -> Result<$crate::module::file_args::FileArgs, String> {
                for (name, given) in [
                    ("attributes", &self.attributes), ("seuser", &self.seuser),
                    ("serole", &self.serole), ("selevel", &self.selevel), ("setype", &self.setype),
                ] {
                    if given.is_some() {
                        return Err(format!("{name} is not supported; mode, owner and group are"));
                    }
                }
                if self.unsafe_writes {
                    return Err("unsafe_writes is not supported: files are only replaced atomically".into());
                }
                $crate::module::file_args::FileArgs::new(
                    self.mode.as_ref(), self.owner.as_deref(), self.group.as_deref(),
                )
            }
        }
    };
}
pub(crate) use with_file_args;

/// Wanted attributes of a file; what isn't given stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileArgs {
    pub mode: Option<Mode>,
    pub owner: Option<String>,
    pub group: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    Octal(u32),
    Symbolic(String),
    /// The mode of the source (`copy`, `template`).
    Preserve,
}

impl Mode {
    /// # Errors
    /// It is neither octal nor symbolic.
    pub fn parse(mode: &Val) -> Result<Mode, String> {
        let bad = |shown: &str| Err(format!("mode must be in octal or symbolic form, got '{shown}'"));
        match mode {
            // YAML has already read `0644` as an octal number.
            Val::Int(bits) => match u32::try_from(*bits) {
                Ok(bits) if bits <= 0o7777 => Ok(Mode::Octal(bits)),
                _ => bad(&bits.to_string()),
            },
            Val::Text(text) if text.trim() == "preserve" => Ok(Mode::Preserve),
            Val::Text(text) => {
                let text = text.trim().trim_start_matches("0o");
                match u32::from_str_radix(text, 8) {
                    Ok(bits) if bits <= 0o7777 => Ok(Mode::Octal(bits)),
                    Err(_) if apply_symbolic(text, 0, false).is_some() => Ok(Mode::Symbolic(text.into())),
                    _ => bad(text),
                }
            }
            other => bad(&format!("{other:?}")),
        }
    }

    /// The permission bits that this asks of what has `bits` now.
    pub fn bits(&self, now: u32, directory: bool) -> u32 {
        match self {
            Mode::Octal(bits) => *bits,
            Mode::Symbolic(text) => apply_symbolic(text, now, directory).unwrap_or(now),
            Mode::Preserve => now,
        }
    }
}

/// The umask that a clause without `u`, `g`, `o` or `a` is read against.
const USUAL_UMASK: u32 = 0o022;

/// `u=rw,g+X,o-rwx` on `bits`, as chmod(1); `None` if it isn't symbolic.
pub fn apply_symbolic(text: &str, bits: u32, directory: bool) -> Option<u32> {
    let mut mode = bits;
    for clause in text.split(',') {
        let start = clause.find(['+', '-', '='])?;
        let (who, actions) = clause.split_at(start);
        if !who.chars().all(|c| "ugoa".contains(c)) {
            return None;
        }
        let masked = who.is_empty();
        let who = if who.is_empty() || who.contains('a') { "ugo" } else { who };
        let mut rest = actions;
        while !rest.is_empty() {
            let operator = rest.chars().next()?;
            let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |i| i + 1);
            let permissions = &rest[1..end];
            rest = &rest[end..];
            let mut set = 0;
            let mut clear = 0;
            for user in who.chars() {
                let (shift, special) = match user {
                    'u' => (6, 0o4000),
                    'g' => (3, 0o2000),
                    _ => (0, 0),
                };
                clear |= (0o7 << shift) | special;
                for p in permissions.chars() {
                    let copied = |from: u32| ((mode >> from) & 0o7) << shift;
                    set |= match p {
                        'r' => 0o4 << shift,
                        'w' => 0o2 << shift,
                        'x' => 0o1 << shift,
                        'X' if directory || mode & 0o111 != 0 => 0o1 << shift,
                        'X' => 0,
                        's' => special,
                        't' => 0o1000,
                        'u' => copied(6),
                        'g' => copied(3),
                        'o' => copied(0),
                        _ => return None,
                    };
                }
            }
            if masked {
                set &= !USUAL_UMASK;
            }
            mode = match operator {
                '+' => mode | set,
                '-' => mode & !set,
                _ => (mode & !clear) | set,
            };
        }
    }
    Some(mode)
}

impl FileArgs {
    /// # Errors
    /// The mode can't be read.
    pub fn new(mode: Option<&Val>, owner: Option<&str>, group: Option<&str>) -> Result<FileArgs, String> {
        Ok(FileArgs {
            mode: mode.map(Mode::parse).transpose()?,
            owner: owner.map(str::to_string),
            group: group.map(str::to_string),
        })
    }

    /// Everything wanted, for something to be made (`None`) or replaced.
    pub fn wanted(&self, now: Option<&Stat>) -> Attributes {
        let mode = self.mode.as_ref().and_then(|mode| match (mode, now) {
            (Mode::Preserve, _) => None,
            (Mode::Symbolic(text), None) => Some(text.clone()),
            (mode, now) => Some(octal(mode.bits(now.map_or(0, |s| s.mode), is_directory(now)))),
        });
        Attributes { mode, owner: self.owner.clone(), group: self.group.clone(), ..Attributes::default() }
    }

    /// What must change on what is there; `None` if it is as wanted.
    pub fn differing(&self, now: &Stat) -> Option<Attributes> {
        let bits = self.mode.as_ref().map(|m| m.bits(now.mode, is_directory(Some(now))));
        let differing = Attributes {
            mode: bits.filter(|b| *b != now.mode).map(octal),
            owner: self.owner.clone().filter(|o| !is_id_or_name(o, now.uid, &now.owner)),
            group: self.group.clone().filter(|g| !is_id_or_name(g, now.gid, &now.group)),
            ..Attributes::default()
        };
        (differing != Attributes::default()).then_some(differing)
    }

    /// As [`FileArgs::differing`], for a file that `user` would make with the usual umask.
    pub fn differing_from_new(&self, user: &str) -> bool {
        let usual = Stat { mode: 0o644, owner: user.into(), ..Stat::default() };
        let uid_known = self.owner.as_deref().is_none_or(|o| o == user);
        self.mode.as_ref().is_some_and(|m| m.bits(usual.mode, false) != usual.mode)
            || !uid_known
            || self.group.is_some()
    }
}

fn is_directory(stat: Option<&Stat>) -> bool {
    stat.is_some_and(|s| s.kind == FileKind::Directory)
}

fn is_id_or_name(wanted: &str, id: u32, name: &str) -> bool {
    wanted.parse() == Ok(id) || wanted == name
}

/// `0644`
pub fn octal(bits: u32) -> String {
    format!("{bits:04o}")
}

/// The result keys that Ansible adds to every result with a `path` or `dest` that exists.
pub fn path_info(stat: &Stat) -> Map {
    let named = |name: &str, id: u32| if name.is_empty() { id.to_string() } else { name.to_string() };
    let mut map = Map::new();
    let mut put = |key: &str, val: Val| {
        map.insert(Val::from(key), val);
    };
    put("uid", Val::Int(stat.uid.into()));
    put("gid", Val::Int(stat.gid.into()));
    put("owner", named(&stat.owner, stat.uid).into());
    put("group", named(&stat.group, stat.gid).into());
    // Ansible's results put a 0 before all digits, its `stat` only where there are three.
    put("mode", format!("0{:03o}", stat.mode).into());
    put("state", state_name(stat).into());
    put("size", Val::Int(i64::try_from(stat.size).unwrap_or(i64::MAX)));
    map
}

/// `file`, `directory`, `link` or `hard`, as the `file` module names what is there.
pub fn state_name(stat: &Stat) -> &'static str {
    match stat.kind {
        FileKind::Link => "link",
        FileKind::Directory => "directory",
        _ if stat.links > 1 => "hard",
        _ => "file",
    }
}

/// The last Stat that a file effect gave back, as result keys.
pub fn final_path_info(outputs: &[Output]) -> Map {
    outputs.iter().rev().find_map(|o| o.stat.as_deref()).map(path_info).unwrap_or_default()
}

/// Bytes to write: as text where they are text, so that a Secret in them stays marked.
pub fn content(bytes: Vec<u8>, secret: bool) -> Content {
    match String::from_utf8(bytes) {
        Ok(text) => Content::Text(if secret { Text::secret(text) } else { Text::new(text) }),
        Err(e) => Content::Bytes(Arc::from(e.into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ansible_reads_them() {
        assert_eq!(Mode::parse(&Val::Int(0o644)), Ok(Mode::Octal(0o644)));
        assert_eq!(Mode::parse(&Val::from("0644")), Ok(Mode::Octal(0o644)));
        assert_eq!(Mode::parse(&Val::from("1777")), Ok(Mode::Octal(0o1777)));
        assert_eq!(Mode::parse(&Val::from("preserve")), Ok(Mode::Preserve));
        for bad in ["rw", "9", "u?w", "77777", ""] {
            assert!(Mode::parse(&Val::from(bad)).is_err(), "{bad}");
        }
        assert!(Mode::parse(&Val::Bool(true)).is_err());
    }

    #[test]
    fn symbolic_modes_act_as_chmod() {
        for (text, now, directory, want) in [
            ("u=rwX,g=rX,o=rX", 0o600, true, 0o755),
            ("u=rwX,g=rX,o=rX", 0o600, false, 0o644),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o600, false, 0o711),
            ("+w", 0o444, false, 0o644),
            ("o-rwx", 0o755, false, 0o750),
            ("g=u", 0o640, false, 0o660),
            ("u+s,g+s,+t", 0o755, true, 0o7755),
            ("u+r-w", 0o200, false, 0o400),
            ("=", 0o777, false, 0),
        ] {
            assert_eq!(apply_symbolic(text, now, directory), Some(want), "{text}");
        }
    }

    #[test]
    fn only_what_differs_is_asked_for() {
        let now = Stat { mode: 0o600, uid: 7, owner: "seven".into(), ..Stat::default() };
        let want = |mode: &str, owner: &str| {
            FileArgs::new(Some(&Val::from(mode)), Some(owner), None).unwrap().differing(&now)
        };
        assert_eq!(want("0600", "seven"), None);
        assert_eq!(want("u=rw", "7"), None);
        let differing = want("0640", "8").unwrap();
        assert_eq!((differing.mode.as_deref(), differing.owner.as_deref()), (Some("0640"), Some("8")));
    }
}
