//! Putting one file at a `dest` by the rules of Ansible's `copy`, which `template`, `assemble` and
//! `copy` share: folders as destination, `force`, `backup`, links, checksums.

use crate::source::hex::{hex, sha256};
use std::path::Path;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::file_args::{FileArgs, Mode, final_path_info, octal, path_info};
use super::{Failure, Plan, PlanCx, Step, host_path};
use crate::remote::{Attributes, Checksum, Content, Effect, Expect, FileKind, Stat};
use crate::source::{Text, Val};

/// Bytes to put somewhere, and what is known of them.
#[derive(Debug, Clone)]
pub struct Payload {
    pub content: Content,
    pub sha256: String,
    pub sha1: String,
    pub md5: Option<String>,
    /// Permission bits of where it comes from, for `mode: preserve`.
    pub mode: Option<u32>,
}

impl Payload {
    /// Bytes that are at hand.
    pub fn inline(bytes: Vec<u8>, secret: bool, mode: Option<u32>) -> Payload {
        Payload {
            sha256: sha256(&bytes),
            sha1: hex(Sha1::digest(&bytes)),
            md5: Some(hex(Md5::digest(&bytes))),
            content: super::file_args::content(bytes, secret),
            mode,
        }
    }

    /// A file of the operator's machine, read once for its checksums.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn operator(path: &Path) -> Result<Payload, Failure> {
        use std::os::unix::fs::PermissionsExt;
        let failed = |e: std::io::Error| Failure::new(format!("could not read {}: {e}", path.display()));
        let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
        let meta = file.metadata().await.map_err(failed)?;
        let (mut sha256, mut sha1, mut md5) = (Sha256::new(), Sha1::new(), Md5::new());
        let (mut buffer, mut size) = (vec![0; 64 * 1024], 0);
        loop {
            let n = file.read(&mut buffer).await.map_err(failed)?;
            if n == 0 {
                break;
            }
            sha256.update(&buffer[..n]);
            sha1.update(&buffer[..n]);
            md5.update(&buffer[..n]);
            size += n as u64;
        }
        Ok(Payload {
            content: Content::Operator { path: path.to_path_buf(), size },
            sha256: hex(sha256.finalize()),
            sha1: hex(sha1.finalize()),
            md5: Some(hex(md5.finalize())),
            mode: Some(meta.permissions().mode() & 0o7777),
        })
    }
}

/// Where a file goes, and how.
#[derive(Debug, Clone)]
pub struct Placing<'a> {
    /// A file, or a folder (with a final `/`: made where missing) in which it gets `basename`.
    pub dest: String,
    /// `None`: `dest` can't be a folder (`content`).
    pub basename: Option<&'a str>,
    pub attributes: FileArgs,
    /// Mode of folders that are made.
    pub directory_mode: Option<Mode>,
    /// An existing file with another content is replaced.
    pub force: bool,
    pub backup: bool,
    pub validate: Option<&'a Text>,
    /// A link at the destination is looked through; otherwise a file takes its place.
    pub follow: bool,
}

/// What has to be done for one file.
pub struct Placed {
    pub steps: Vec<Step>,
    /// The file in the end.
    pub dest: String,
    /// What is there now.
    pub now: Option<Stat>,
    /// Index into `steps` of the write that keeps a backup.
    backup: Option<usize>,
}

/// Decides what has to be done to have `payload` at its place.
///
/// # Errors
/// The destination can't take it.
pub async fn place(cx: &PlanCx<'_>, placing: &Placing<'_>, payload: &Payload) -> Result<Placed, Failure> {
    let mut dest = placing.dest.clone();
    let mut steps = Vec::new();
    if let Some(folder) = dest.strip_suffix('/') {
        let Some(basename) = placing.basename else {
            return Err(Failure::new("can not use content with a dir as dest"));
        };
        let folder = if folder.is_empty() { "/" } else { folder };
        dest = host_path::join(folder, basename);
    }
    let mut found = Found::at(cx, &dest, placing.follow).await?;
    if found.is_directory {
        let Some(basename) = placing.basename else {
            return Err(Failure::new("can not use content with a dir as dest"));
        };
        dest = host_path::join(&dest, basename);
        found = Found::at(cx, &dest, placing.follow).await?;
        if found.is_directory {
            return Err(Failure::new(format!("{dest} is a directory, a file cannot take its place")));
        }
    }
    let now = found.stat;
    let attributes = with_source_mode(&placing.attributes, payload);
    if now.is_some() && !placing.force {
        return Ok(Placed { steps, dest, now, backup: None });
    }
    let is_link = now.as_ref().is_some_and(|s| s.kind == FileKind::Link);
    let same = now.as_ref().is_some_and(|s| s.checksum.as_ref() == Some(&payload.sha256)) && !is_link;
    if same {
        if let Some(attributes) = now.as_ref().and_then(|now| attributes.differing(now)) {
            let effect = Effect::Attributes { path: dest.clone(), attributes, recurse: false, follow: true };
            steps.push(Step::file(format!("set attributes of {dest}"), effect));
        }
        return Ok(Placed { steps, dest, now, backup: None });
    }
    // The write itself tells that its folder is missing; only a prediction, or the making of that
    // folder, has to ask.
    if now.is_none()
        && (cx.check || placing.dest.ends_with('/'))
        && let Some(folder) = host_path::parent(&dest)
        && cx.target.stat(folder).await?.is_none()
    {
        if !placing.dest.ends_with('/') {
            return Err(Failure::new(format!("Destination directory {folder} does not exist"))
                .help(format!("make it first (file: path={folder} state=directory)")));
        }
        steps.push(directory_step(folder, placing));
    }
    if let Some(validate) = placing.validate
        && !validate.contains("%s")
    {
        return Err(Failure::new(format!("validate must contain %s: {}", validate.as_str())));
    }
    // What stands in place of a link is new, whatever the link's own attributes were; a write to it
    // would go through it.
    let kept = now.as_ref().filter(|_| !is_link);
    if is_link && !placing.follow {
        let effect = Effect::Remove { path: dest.clone(), recurse: false };
        steps.push(Step::file(format!("remove the link {dest}"), effect));
    }
    let backup = (placing.backup && kept.is_some()).then_some(steps.len());
    steps.push(Step::file(
        format!("write {dest}"),
        Effect::Write {
            path: dest.clone(),
            content: payload.content.clone(),
            attributes: attributes.wanted(kept),
            expect: match kept {
                Some(Stat { checksum: Some(sha256), .. }) => Expect::Sha256(sha256.clone()),
                Some(_) => Expect::Anything,
                None if is_link && placing.follow => Expect::Anything,
                None => Expect::Absent,
            },
            validate: placing.validate.cloned(),
            backup: backup.is_some(),
        },
    ));
    Ok(Placed { steps, dest, now, backup })
}

/// The Step that makes a folder as `placing` wants new ones.
pub fn directory_step(folder: &str, placing: &Placing<'_>) -> Step {
    let attributes = Attributes {
        mode: placing.directory_mode.as_ref().and_then(|mode| match mode {
            Mode::Octal(bits) => Some(octal(*bits)),
            Mode::Symbolic(text) => Some(text.clone()),
            Mode::Preserve => None,
        }),
        owner: placing.attributes.owner.clone(),
        group: placing.attributes.group.clone(),
        ..Attributes::default()
    };
    Step::file(format!("make directory {folder}"), Effect::Directory { path: folder.into(), attributes })
}

fn with_source_mode(attributes: &FileArgs, payload: &Payload) -> FileArgs {
    match (&attributes.mode, payload.mode) {
        (Some(Mode::Preserve), Some(bits)) => {
            FileArgs { mode: Some(Mode::Octal(bits)), ..attributes.clone() }
        }
        _ => attributes.clone(),
    }
}

struct Found {
    /// Not followed unless asked; with SHA-256.
    stat: Option<Stat>,
    /// Through links.
    is_directory: bool,
}

impl Found {
    async fn at(cx: &PlanCx<'_>, path: &str, follow: bool) -> Result<Found, Failure> {
        let mut stat = cx.target.stat_with(path, follow, Some(Checksum::Sha256)).await?;
        if follow && stat.is_none() {
            // A broken link is still something that a file would replace.
            stat = cx.target.stat_with(path, false, None).await?;
        }
        let is_directory = match stat.as_ref().map(|s| s.kind) {
            Some(FileKind::Directory) => true,
            Some(FileKind::Link) => {
                cx.target.stat(path).await?.is_some_and(|s| s.kind == FileKind::Directory)
            }
            _ => false,
        };
        Ok(Found { stat: stat.map(|s| (*s).clone()), is_directory })
    }
}

impl Placed {
    /// A Plan of this alone, with `copy`'s result values.
    pub fn into_plan(self, payload: &Payload) -> Plan {
        let mut plan = Plan::ok()
            .value("dest", self.dest)
            .value("checksum", payload.sha1.as_str())
            .value("md5sum", payload.md5.clone());
        if let Some(now) = &self.now {
            plan.result.extend(path_info(now));
        }
        plan.steps = self.steps;
        if plan.steps.is_empty() {
            return plan;
        }
        let backup = self.backup;
        plan.finish(move |outputs| {
            let mut result = final_path_info(outputs);
            if let Some(output) = backup.and_then(|i| outputs.get(i)) {
                let path = output.stdout_text();
                result.insert(Val::from("backup_file"), Val::from(path.trim_end_matches('\n')));
            }
            Ok(Plan { result, ..Plan::ok() })
        })
    }
}
