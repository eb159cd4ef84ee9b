//! `age_info` (ours): which keys open an archive?

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::secret::Identities;
use crate::secret::agefile::{self, HEADER_MAX};
use crate::source::{Map, Val};

/// Tells which identities of the operator open an age archive of the host, from its header alone:
/// an archive doesn't say whom it is for, so each key is tried, here. And tells the public key of
/// each identity. Changes nothing.
pub struct AgeInfo;

/// Arguments of `age_info`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The archive on the host; without one only the public keys are told.
    #[serde(alias = "src")]
    pub path: Option<String>,
    /// Identity files on the operator's machine, by what they are called in the result.
    pub identities: BTreeMap<String, String>,
}

impl Module for AgeInfo {
    type Args = Args;
    const NAME: &'static str = "age_info";
    const COLLECTION: &'static str = "seqn.play";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let mut named = Vec::new();
        for (name, file) in &args.identities {
            named.push((name.as_str(), Identities::load(&[cx.find("files", file)?], None)?));
        }
        let keys = named.iter().map(|(name, keys)| {
            let public = keys.recipients().into_iter().map(Val::from).collect();
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
        let mut opened_by = Vec::new();
        for (name, keys) in &named {
            match agefile::opens(&head, keys) {
                Ok(true) => opened_by.push(Val::from(*name)),
                Ok(false) => {}
                Err(e) => return Err(Failure::new(format!("{path}: {e}"))),
            }
        }
        plan = plan
            .value("path", path)
            .value("mtime", Val::Float(stat.mtime))
            .value("recipient_count", agefile::recipient_count(&head) as i64)
            .value("opened_by", Val::list(opened_by));
        Ok(plan)
    }
}
