//! What `lineinfile`, `blockinfile` and `replace` share: read a file, decide, write it back.

use crate::source::hex::sha256;
use std::sync::Arc;

use super::file_args::{self, FileArgs};
use super::{Failure, Plan, PlanCx, Step, host_path};
use crate::remote::{Effect, Expect, FileKind, FileRead, Stat};
use crate::source::{Text, Val};

/// Bytes of a file that is edited as a whole; larger ones are refused.
pub const MAX_SIZE: u64 = 64 << 20;

/// What an edit came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edited {
    /// The new content; `None`: the file is as wanted.
    pub content: Option<Vec<u8>>,
    /// What was done, in Ansible's words.
    pub msg: String,
}

/// A file on the host, read to be edited.
pub struct Opened {
    /// As given, `~` and variables expanded. A write goes through links.
    pub path: String,
    file: Arc<FileRead>,
}

impl Opened {
    /// `None`: there is no such file.
    pub fn content(&self) -> Option<&[u8]> {
        self.stat().map(|_| self.file.content.as_slice())
    }

    pub fn stat(&self) -> Option<&Stat> {
        self.file.stat.as_ref()
    }
}

/// Reads `path` in one round trip.
///
/// # Errors
/// It is a directory, too large, or can't be read.
pub async fn open(cx: &PlanCx<'_>, path: &str) -> Result<Opened, Failure> {
    let path = host_path::expand(cx.target, path).await?;
    let file = cx.target.read(&path, MAX_SIZE).await?;
    if file.stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory) {
        return Err(Failure::new(format!("Path {path} is a directory !")).value("rc", 256));
    }
    Ok(Opened { path, file })
}

/// How the new content is written.
pub struct Write<'a> {
    pub attributes: &'a FileArgs,
    pub validate: Option<&'a Text>,
    pub backup: bool,
    /// The name of the result value that holds the backup's path, and whether it is there (empty)
    /// when there is none.
    pub backup_key: (&'static str, bool),
    /// Something in the new content is a Secret.
    pub secret: bool,
}

/// The Plan that brings `opened` to `edited`, attributes included; with `msg` in its result.
///
/// # Errors
/// The arguments can't be carried out.
pub async fn plan(
    cx: &PlanCx<'_>,
    opened: &Opened,
    edited: Edited,
    write: Write<'_>,
) -> Result<Plan, Failure> {
    let attributes_differ = match opened.stat() {
        Some(stat) => write.attributes.differing(stat),
        None if edited.content.is_some() && write.attributes.differing_from_new(cx.target.user()) => {
            Some(write.attributes.wanted(None))
        }
        None => None,
    };
    let mut msg = edited.msg;
    // In check mode Ansible stops at a file that isn't there yet, before it looks at attributes.
    if attributes_differ.is_some() && (opened.stat().is_some() || !cx.check) {
        if edited.content.is_some() {
            msg.push_str(" and ");
        }
        msg.push_str("ownership, perms or SE linux context changed");
    }
    let mut plan = Plan::ok().value("msg", msg);
    let (backup_key, always) = write.backup_key;
    if always {
        plan = plan.value(backup_key, "");
    }
    let Some(content) = edited.content else {
        return Ok(match attributes_differ {
            Some(attributes) => plan.step(Step::file(
                format!("set attributes of {}", opened.path),
                Effect::Attributes { path: opened.path.clone(), attributes, recurse: false, follow: true },
            )),
            None => plan,
        });
    };
    if let Some(validate) = write.validate
        && !validate.contains("%s")
    {
        return Err(Failure::new(format!("validate must contain %s: {}", validate.as_str())));
    }
    if opened.stat().is_none() {
        plan = with_missing_parent(cx, plan, &opened.path).await?;
    }
    let backup = write.backup && opened.stat().is_some();
    let written = plan.steps.len();
    plan = plan.step(Step::file(
        format!("write {}", opened.path),
        Effect::Write {
            path: opened.path.clone(),
            content: file_args::content(content, write.secret),
            attributes: write.attributes.wanted(opened.stat()),
            expect: match opened.content() {
                Some(before) => Expect::Sha256(sha256(before)),
                None => Expect::Absent,
            },
            validate: write.validate.cloned(),
            backup,
        },
    ));
    if backup {
        plan = plan.finish(move |outputs| {
            let file = outputs.get(written).map(|o| o.stdout_text()).unwrap_or_default();
            Ok(Plan::ok().value(backup_key, Val::from(file.trim_end_matches('\n'))))
        });
    }
    Ok(plan)
}

/// Adds the Step that makes the folder of `path`, if it is missing.
///
/// # Errors
/// The host couldn't be asked.
pub async fn with_missing_parent(cx: &PlanCx<'_>, plan: Plan, path: &str) -> Result<Plan, Failure> {
    let Some(folder) = host_path::parent(path) else { return Ok(plan) };
    if cx.target.stat(folder).await?.is_some() {
        return Ok(plan);
    }
    let effect = Effect::Directory { path: folder.into(), attributes: Default::default() };
    Ok(plan.step(Step::file(format!("make directory {folder}"), effect)))
}

/// Lines with their ends, split after `\n` only.
pub fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|b| *b == b'\n').collect()
}

/// A line without `\r` and `\n` at its end.
pub fn bare(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |i| i + 1);
    &line[..end]
}
