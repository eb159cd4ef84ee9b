//! `fetch`: a file of the host to the operator's machine.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::place::Payload;
use super::{CheckAnswer, Failure, Module, Plan, PlanCx, Step, StepKind, host_path};
use crate::remote::{Checksum, Effect, FileKind};
use crate::source::{Map, Val};

/// Fetches a file of the host.
pub struct Fetch;

/// Arguments of `fetch`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file on the host.
    pub src: String,
    /// The folder on this machine, in which it goes to HOST/PATH; with `flat` its very place.
    pub dest: String,
    /// `dest` is the file (or, with a final `/`, the folder) itself.
    #[serde(default)]
    pub flat: bool,
    /// A file that isn't there is a failure.
    #[serde(default = "yes")]
    pub fail_on_missing: bool,
    /// What was written must be what the host has.
    #[serde(default = "yes")]
    pub validate_checksum: bool,
}

fn yes() -> bool {
    true
}

impl Module for Fetch {
    type Args = Args;
    const NAME: &'static str = "fetch";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        if cx.check {
            let msg = "check mode not (yet) supported for this module";
            let skip = Map::from_iter([(Val::from("msg"), Val::from(msg))]);
            return Ok(Plan { check: CheckAnswer::Skip(skip), ..Plan::ok() });
        }
        let src = host_path::expand(cx.target, &args.src).await?;
        let (sha256, sha1) = tokio::join!(
            cx.target.stat_with(&src, true, Some(Checksum::Sha256)),
            cx.target.stat_with(&src, true, Some(Checksum::Sha1)),
        );
        let (stat, sha1) = (sha256?, sha1?.and_then(|s| s.checksum.clone()));
        let missing = |msg: &str| {
            if args.fail_on_missing {
                return Err(Failure::new(msg).value("file", src.as_str()));
            }
            Ok(Plan::ok().value("file", src.as_str()).value("msg", msg))
        };
        let Some(stat) = stat else {
            return missing("the remote file does not exist, not transferring, ignored");
        };
        if stat.kind == FileKind::Directory {
            return missing("remote file is a directory, fetch cannot work on directories");
        }
        let Some(wanted) = stat.checksum.clone() else {
            return missing(&format!("file is not readable: {src}"));
        };
        let host = cx.services.variable("inventory_hostname");
        let host = host.as_ref().and_then(Val::as_str).unwrap_or(cx.target.name());
        let dest = destination(&args, &src, host, cx.playbook_dir)?;
        let shown = dest.display().to_string();
        if dest.is_dir() {
            return Err(Failure::new(format!(
                "calculated dest '{shown}' is an existing directory, use another path that does not point to an \
                 existing directory"
            )));
        }
        let plan = Plan::ok()
            .value("dest", shown.as_str())
            .value("checksum", sha1.clone())
            .value("md5sum", Val::Null);
        if dest.is_file() && Payload::operator(&dest).await?.sha256 == wanted {
            return Ok(plan.value("file", src));
        }
        let mut plan = plan.value("remote_checksum", sha1).value("remote_md5sum", Val::Null).step(Step::new(
            format!("fetch {src}"),
            Effect::Fetch { from: src.clone(), to: dest },
            StepKind::Passing,
        ));
        plan.changed = Some(true);
        let validate = args.validate_checksum;
        Ok(plan.finish(move |outputs| {
            let written = outputs.last().map(|o| o.stdout_text()).unwrap_or_default();
            if validate && written != wanted {
                return Err(Failure::new("checksum mismatch")
                    .help("the file changed while it was fetched; fetch it again")
                    .value("file", src)
                    .value("dest", shown));
            }
            Ok(Plan { changed: Some(true), ..Plan::ok() })
        }))
    }
}

/// Where the file goes on this machine.
fn destination(args: &Args, src: &str, host: &str, playbook_dir: &Path) -> Result<PathBuf, Failure> {
    let home = std::env::var("HOME").unwrap_or_default();
    let dest = match args.dest.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None => args.dest.clone(),
    };
    let base = playbook_dir.join(&dest);
    if !args.flat {
        let relative: PathBuf = Path::new(src)
            .components()
            .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
            .collect();
        if relative.components().any(|c| c == Component::ParentDir) {
            return Err(Failure::new(format!(
                "Detected directory traversal, expected to be contained in '{dest}' but got '{src}'"
            )));
        }
        return Ok(base.join(host).join(relative));
    }
    if dest.ends_with('/') {
        return Ok(base.join(host_path::basename(src)));
    }
    if base.is_dir() {
        return Err(Failure::new(
            "dest is an existing directory, use a trailing slash if you want to fetch src into that directory",
        ));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let dir = tempfile::tempdir().unwrap();
        let at = |dest: &str, flat: bool, src: &str| {
            let args = Args {
                src: src.into(),
                dest: dest.into(),
                flat,
                fail_on_missing: true,
                validate_checksum: true,
            };
            destination(&args, src, "h", dir.path()).map_err(|e| e.message)
        };
        assert_eq!(at("out", false, "/etc/x"), Ok(dir.path().join("out/h/etc/x")));
        assert_eq!(at("/o/f", true, "/etc/x"), Ok("/o/f".into()));
        assert_eq!(at("/o/", true, "/etc/x"), Ok("/o/x".into()));
        assert!(at("/", true, "/etc/x").is_ok());
        assert!(at(".", true, "/etc/x").unwrap_err().contains("trailing slash"));
        assert!(at("out", false, "/a/../../x").unwrap_err().contains("traversal"));
    }
}
