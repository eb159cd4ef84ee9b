//! Observations and effects as scripts for the host's `sh`. Pure text.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::lock::mark::Mark;
use super::quote::quote;
use super::{Attributes, Checksum, Command, Effect, Expect, Observation, Program};
use crate::source::Text;

/// Payloads up to this many bytes travel inside the script, as one encoded line.
pub const INLINE: usize = 48 << 10;

/// Scripts up to this many bytes may be one argument of a program; Linux takes 128 KiB.
const ARGUMENT: usize = 32 << 10;

/// Functions of [`Effect::Keep`], [`Effect::Close`] and [`Effect::Restore`].
const KEPT: &str = include_str!("kept.sh");

/// Shells whose scripts may be handed over on a descriptor instead of the argument list, where a
/// process list would show them.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"];

pub fn checksum_name(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Md5 => "md5",
        Checksum::Sha1 => "sha1",
        Checksum::Sha224 => "sha224",
        Checksum::Sha256 => "sha256",
        Checksum::Sha384 => "sha384",
        Checksum::Sha512 => "sha512",
    }
}

/// A question; `entry` is what each entry of a list begins with, unguessable.
pub fn observation(question: &Observation, entry: &str) -> String {
    match question {
        Observation::Stat { path, follow, checksum } => {
            let algorithm = checksum.map_or("-", checksum_name);
            format!("s_stat {} {} {algorithm}", quote(path), u8::from(*follow))
        }
        Observation::Read { path, max } => format!("s_read {} {max}", quote(path)),
        Observation::List { path, recurse } => {
            format!("s_list {} {} {entry}", quote(path), u8::from(*recurse))
        }
        Observation::Query(command) | Observation::Probe(command) => run(command),
    }
}

/// `base64` text decoded to stdout. `echo` is built in everywhere and the alphabet is safe for it,
/// so nothing shows in a process list.
pub fn decoded(bytes: &[u8]) -> String {
    format!("echo {} | base64 -d", STANDARD.encode(bytes))
}

/// A script as the one line that the bootstrap of a channel reads.
pub fn line(script: &str) -> String {
    match script.contains('\n') {
        false => format!("{script}\n"),
        true => format!("eval \"$({})\"\n", decoded(script.as_bytes())),
    }
}

fn option(value: &Option<String>) -> String {
    value.as_deref().map_or("-".into(), quote)
}

fn expectation(expect: &Expect) -> &str {
    match expect {
        Expect::Anything => "any",
        Expect::Absent => "absent",
        Expect::Sha256(hash) => hash,
    }
}

/// Fills a temporary file beside the target and puts it in place. `fill` writes to `"$s_tmp"`.
pub fn write(effect: &Effect, fill: &str) -> String {
    let Effect::Write { path, attributes, expect, validate, backup, .. } = effect else {
        return String::new();
    };
    let validate = validate.as_ref().map(|v| format!(" {}", quote(v))).unwrap_or_default();
    format!(
        "s_real {path} || exit 1\n\
         s_tmp=$(s_temp \"$s_to\") || exit 1\n\
         {{ {fill}; }} || {{ s_s=$?; rm -f -- \"$s_tmp\"; exit $s_s; }}\n\
         s_install \"$s_tmp\" \"$s_to\" {mode} {owner} {group} {expect} {backup}{validate} || exit $?\n\
         {times}",
        path = quote(path),
        mode = option(&attributes.mode),
        owner = option(&attributes.owner),
        group = option(&attributes.group),
        expect = expectation(expect),
        backup = u8::from(*backup),
        times = times("\"$s_to\"", attributes),
    )
}

/// `touch` for the times that are given.
fn times(path: &str, attributes: &Attributes) -> String {
    let stamp = |flag: &str, seconds: Option<f64>| {
        seconds.map_or(String::new(), |s| format!("touch {flag} -d @{s} -- {path} || exit 1\n"))
    };
    format!("{}{}", stamp("-m", attributes.mtime), stamp("-a", attributes.atime))
}

fn attributes(path: &str, a: &Attributes) -> String {
    format!("s_attributes {path} {} {} {}", option(&a.mode), option(&a.owner), option(&a.group))
}

/// The script of an effect that needs no payload. A command notes itself.
pub fn effect(effect: &Effect, mark: Option<&Mark>) -> String {
    match effect {
        Effect::Attributes { path, attributes: a, recurse, follow } => {
            let p = quote(path);
            let mut script = String::new();
            if *recurse {
                let mut change = |tool: &str, value: &Option<String>| {
                    if let Some(value) = value {
                        script.push_str(&format!("{tool} -R -- {} {p} || exit 1\n", quote(value)));
                    }
                };
                change("chown", &a.owner);
                change("chgrp", &a.group);
                change("chmod", &a.mode);
            } else if !*follow {
                if let Some(owner) = &a.owner {
                    script.push_str(&format!("chown -h -- {} {p} || exit 1\n", quote(owner)));
                }
                if let Some(group) = &a.group {
                    script.push_str(&format!("chgrp -h -- {} {p} || exit 1\n", quote(group)));
                }
                if let Some(mode) = &a.mode {
                    // A link has no mode of its own.
                    script.push_str(&format!("[ -h {p} ] || chmod -- {} {p} || exit 1\n", quote(mode)));
                }
            } else {
                script.push_str(&format!("{} || exit 1\n", attributes(&p, a)));
            }
            script + &times(&p, a)
        }
        Effect::Directory { path, attributes: a } => {
            let p = quote(path);
            // Every directory made here gets the attributes, as Ansible does; parents that exist
            // keep theirs.
            format!(
                "s_mkdir {p} {} {} {} || exit 1\n{} || exit 1\n{}",
                option(&a.mode),
                option(&a.owner),
                option(&a.group),
                attributes(&p, a),
                times(&p, a)
            )
        }
        Effect::Link { path, target, hard, force } => {
            let (p, t) = (quote(path), quote(target));
            let kind = if *hard { "" } else { "-s" };
            let tmp = format!("{path}.seqn-link");
            match force {
                // Replaced in one step, so that nobody finds it missing.
                true => format!(
                    "if [ -d {p} ] && [ ! -h {p} ]; then rmdir -- {p} || exit 1; fi\n\
                     rm -f -- {tmp}; ln {kind} -- {t} {tmp} && {{ mv -f -T -- {tmp} {p} 2>/dev/null || {{ rm -f -- {p} && mv -f -- {tmp} {p}; }}; }}",
                    tmp = quote(&tmp)
                ),
                false => format!("ln {kind} -- {t} {p}"),
            }
        }
        Effect::Touch { path, attributes: a } => {
            let p = quote(path);
            // A time that isn't given is now.
            format!("touch -- {p} || exit 1\n{} || exit 1\n{}", attributes(&p, a), times(&p, a))
        }
        Effect::Remove { path, recurse } => {
            let p = quote(path);
            match recurse {
                true => format!("rm -rf -- {p}"),
                false => {
                    format!("if [ -d {p} ] && [ ! -h {p} ]; then rmdir -- {p}; else rm -f -- {p}; fi")
                }
            }
        }
        Effect::Unmake { path, expect } => format!(
            "s_real {} || exit 1\n[ -e \"$s_to\" ] || exit 0\ns_expect \"$s_to\" {} || exit $?\nrm -f -- \"$s_to\"",
            quote(path),
            expectation(expect)
        ),
        Effect::Keep { path, kept } => format!("{KEPT}s_keep {} {}", quote(path), quote(kept)),
        Effect::Close { kept } => format!("{KEPT}s_close {}", quote(kept)),
        Effect::Restore { kept, path, inode, mtime, mode, expect } => format!(
            "{KEPT}s_restore {} {} {inode} {mtime} {} {}",
            quote(kept),
            quote(path),
            quote(mode),
            expectation(expect)
        ),
        Effect::Rename { from, path } => format!("mv -f -- {} {}", quote(from), quote(path)),
        Effect::Run(command) => isolated(command, mark),
        Effect::Write { .. } | Effect::Http(_) | Effect::Fetch { .. } | Effect::Feed { .. } => String::new(),
    }
}

/// Notes an effect on files where its host does so, and tells what is at its path after it, as the
/// last line.
pub fn whole(effect: &Effect, script: String, mark: Option<&Mark>) -> String {
    let script = match (effect, mark) {
        (Effect::Run(_), _) | (_, None) => script,
        (_, Some(mark)) => mark.around(&script),
    };
    let (path, follow) = match effect {
        Effect::Write { path, .. } | Effect::Directory { path, .. } | Effect::Touch { path, .. } => (path, 1),
        Effect::Attributes { path, follow, .. } => (path, u8::from(*follow)),
        Effect::Link { path, .. } => (path, 0),
        _ => return script,
    };
    // In a shell of its own: the effect's way out must not skip it.
    format!("(\n{script}\n) || exit $?\ns_stat {} {follow} -\n", quote(path))
}

/// Whether a shell takes it as the name of a variable.
fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A command that only looks.
pub fn run(command: &Command) -> String {
    let (setup, program) = parts(command);
    format!("{setup}{}\n", limited(program, command))
}

/// A command whose output goes through files of its own, so that what a child that it leaves
/// behind prints later can't reach the next command's output. They have no name by the time it
/// runs: a connection that is cut leaves nothing.
fn isolated(command: &Command, mark: Option<&Mark>) -> String {
    let (setup, program) = parts(command);
    let (program, after) = match mark {
        None => (format!("{setup}{}", limited(program, command)), String::new()),
        // What is noted needs nothing of the command's own surroundings.
        Some(mark) => {
            let noted = mark.around(&format!("{setup}{program}"));
            let run = match command.timeout {
                // Its mark names its group, which it leads.
                Some(limit) => own_input(&noted, &format!("s_limited {} \"$s_given\"", seconds(limit))),
                None => own_input(&noted, "s_grouped"),
            };
            (run, mark.after_kill())
        }
    };
    format!(
        "s_o=$(s_scratch) || exit 1\n\
         exec 5>\"$s_o/out\" 6>\"$s_o/err\" 7<\"$s_o/out\" 8<\"$s_o/err\"; rm -rf -- \"$s_o\"\n\
         ( {program}\n) >&5 2>&6 5>&- 6>&- 7<&- 8<&-\ns_st=$?\n{after}\
         cat <&7; cat <&8 >&2; exit $s_st\n"
    )
}

/// Ends a command's whole group when its time is over.
fn limited(program: String, command: &Command) -> String {
    match command.timeout {
        None => program,
        Some(limit) if may_be_shown(command) && program.len() <= ARGUMENT => {
            format!("s_in_time {} {} 3</dev/null 4<&0", seconds(limit), quote(&program))
        }
        Some(limit) => own_input(&program, &format!("s_in_time {} \"$s_given\"", seconds(limit))),
    }
}

/// Whether its program's own arguments show all of it in a process list anyway.
fn may_be_shown(command: &Command) -> bool {
    let is_secret = match &command.program {
        Program::Argv(words) => words.iter().any(Text::is_secret),
        Program::Shell { script, .. } => script.is_secret(),
    };
    !is_secret && command.stdin.is_none() && command.env.is_empty()
}

/// Whole ones, as every host's tools take them.
fn seconds(limit: Duration) -> f64 {
    limit.as_secs_f64().ceil()
}

/// A script on descriptor 3 of `runner`, with the input on 4.
fn own_input(script: &str, runner: &str) -> String {
    // Not `((`, which is arithmetic.
    format!(" (exec 4<&0; {} | {{ exec 3<&0; {runner}; }})", decoded(script.as_bytes()))
}

/// What a command's program needs around it, and the program.
fn parts(command: &Command) -> (String, String) {
    let mut script = String::new();
    if let Some(umask) = &command.umask {
        script.push_str(&format!("umask {}\n", quote(umask)));
    }
    for (name, value) in &command.env {
        // A name is code to the shell, whatever stands in it.
        if !is_name(name) {
            let complaint = quote(&format!("the host's sh can't export a variable of this name: {name}"));
            return (format!("echo {complaint} >&2; exit 1\n"), String::new());
        }
        script.push_str(&format!("export {name}={}\n", quote(value)));
    }
    if let Some(dir) = &command.chdir {
        script.push_str(&format!(
            "cd -P -- {dir} || {{ echo \"can't change to the directory\" {dir} >&2; exit 1; }}\n",
            dir = quote(dir)
        ));
    }
    let program = match &command.program {
        Program::Argv(words) => {
            let words: Vec<String> = words.iter().map(|w| quote(w)).collect();
            // The program itself, whatever this shell has of that name: functions, aliases, builtins.
            format!("(exec {})", words.join(" "))
        }
        Program::Shell { script, executable } => {
            let name = executable.rsplit('/').next().unwrap_or(executable);
            if script.is_secret() && SHELLS.contains(&name) {
                // A pipe, not a here-document: some shells keep those in /tmp. Every descriptor
                // stands at the command: mksh gives no other above 2 to a program.
                format!(
                    "{{ exec 4<&0; {script} | {exe} -c 'eval \"$(cat <&3)\" 3<&-' 3<&0 0<&4 4<&-; }}",
                    exe = quote(executable),
                    script = decoded(script.as_bytes())
                )
            } else {
                format!("{} -c {}", quote(executable), quote(script))
            }
        }
    };
    let program = match &command.stdin {
        Some(text) => format!("{} | {{ {program}\n}}", decoded(text.as_bytes())),
        None => program,
    };
    (script, program)
}
