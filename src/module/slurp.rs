//! `slurp`: a file's content, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::text_edit::MAX_SIZE;
use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::remote::{FileKind, RemoteErrorKind};

/// Reads a file of the host into the result.
pub struct Slurp;

/// Arguments of `slurp`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file to read.
    #[serde(alias = "path")]
    pub src: String,
}

impl Module for Slurp {
    type Args = Args;
    const NAME: &'static str = "slurp";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let src = host_path::expand(cx.target, &args.src).await?;
        let file = cx.target.read(&src, MAX_SIZE).await.map_err(|e| match e.kind {
            RemoteErrorKind::Refused => Failure::new(format!("file is not readable: {src}")).help(e.message),
            _ => e.into(),
        })?;
        match &file.stat {
            None => Err(missing(cx, &src).await?),
            Some(stat) if stat.kind == FileKind::Directory => {
                Err(Failure::new(format!("source is a directory and must be a file: {src}")))
            }
            Some(_) => Ok(Plan::ok()
                .value("content", STANDARD.encode(&file.content))
                .value("source", src)
                .value("encoding", "base64")),
        }
    }
}

/// There is no such file; the reason may be that something above it is no directory.
async fn missing(cx: &PlanCx<'_>, src: &str) -> Result<Failure, Failure> {
    let mut above = src;
    while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        match cx.target.stat(parent).await? {
            Some(stat) if stat.kind != FileKind::Directory => {
                return Ok(Failure::new(format!("unable to slurp file: {parent} is not a directory")));
            }
            Some(_) => break,
            None => above = parent,
        }
    }
    Ok(Failure::new(format!("file not found: {src}")))
}
