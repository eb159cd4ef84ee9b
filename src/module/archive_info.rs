//! `archive_info` (ours): which keys open an archive?

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::archive_decrypt::key_at;
use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::secret::archive::{HEADER_MAX, Key, Kind};
use crate::source::{Map, Val};

/// Tells which private keys of the operator open an archive of the host, from its header alone: an
/// archive of age doesn't say whom it is for, so each key is tried, here; one of GPG names its
/// recipients. And tells what to encrypt to for each key. Changes nothing.
pub struct ArchiveInfo;

/// Arguments of `archive_info`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The archive on the host; without one only the public keys are told.
    #[serde(alias = "src")]
    pub path: Option<String>,
    /// What it is encrypted with: `age` or `gpg`.
    #[serde(default)]
    pub kind: Kind,
    /// Private keys on the operator's machine, by what they are called in the result: an identity file
    /// of `age`, the whole fingerprint of a `gpg` key in the keyring.
    pub keys: BTreeMap<String, String>,
}

impl Module for ArchiveInfo {
    type Args = Args;
    const NAME: &'static str = "archive_info";
    const COLLECTION: &'static str = "seqn.play";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let mut named = Vec::new();
        for (name, key) in &args.keys {
            let at = key_at(args.kind, std::slice::from_ref(key), cx)?;
            named.push((name.as_str(), Key::load(&at)?));
        }
        let keys = named.iter().map(|(name, key)| {
            let public = key.recipients().into_iter().map(Val::from).collect();
            (Val::from(*name), Val::list(public))
        });
        let mut plan = Plan::ok().value("recipients", Val::map(Map::from_iter(keys)));
        let Some(path) = &args.path else { return Ok(plan) };
        let path = host_path::expand(cx.target, path).await?;
        let Some(stat) = cx.target.stat(&path).await? else {
            return Err(Failure::new(format!("{path} does not exist")));
        };
        let mut head = Vec::new();
        let mut archive = cx.target.download(&path).await?.take(HEADER_MAX);
        archive
            .read_to_end(&mut head)
            .await
            .map_err(|e| Failure::new(format!("{path} can't be read: {e}")))?;
        let of_archive = |e: crate::secret::Error| Failure::from(e.about(path.as_ref()));
        let mut opened_by = Vec::new();
        let mut count = 0;
        for (name, key) in &named {
            if key.opens(&head).map_err(of_archive)? {
                opened_by.push(Val::from(*name));
            }
            count = key.recipient_count(&head).map_err(of_archive)?;
        }
        plan = plan
            .value("path", path.as_str())
            .value("mtime", Val::Float(stat.mtime))
            .value("recipient_count", count as i64)
            .value("opened_by", Val::list(opened_by));
        Ok(plan)
    }
}
