//! `setup`: facts of the host.

use std::time::Duration;

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::remote::Command;
use crate::vars::facts::Gather;

/// Gathers facts (`ansible_distribution`, `ansible_default_ipv4`, …) in one round trip.
pub struct Setup;

/// Arguments of `setup`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// `all`, `min`, `network`, `!hardware`, …
    #[serde(default = "all")]
    pub gather_subset: Vec<String>,
    /// Seconds for the whole gathering.
    #[serde(default = "ten")]
    pub gather_timeout: u64,
    /// Globs on fact names; none means everything.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Where the host's own facts (`*.fact`) lie.
    #[serde(default = "fact_path")]
    pub fact_path: String,
}

fn all() -> Vec<String> {
    vec!["all".into()]
}
fn ten() -> u64 {
    10
}
fn fact_path() -> String {
    "/etc/ansible/facts.d".into()
}

/// The script of all facts is one command; Ansible's limit is for each collector.
const COLLECTORS_AT_ONCE: u64 = 6;

impl Module for Setup {
    type Args = Args;
    const NAME: &'static str = "setup";

    fn validate(args: &Args) -> Result<(), String> {
        gather(args, args.fact_path.clone()).script().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let fact_path = host_path::expand(cx.target, &args.fact_path).await?;
        let gather = gather(&args, fact_path);
        let limit = Duration::from_secs(args.gather_timeout.max(1) * COLLECTORS_AT_ONCE);
        let script = gather.script().map_err(Failure::new)?;
        let said = cx.target.probe(Command::shell(script).timeout(limit)).await?;
        let facts = gather.parse(&said.stdout).map_err(|e| {
            Failure::new(e).value("rc", i64::from(said.status)).value("stderr", said.stderr_text())
        })?;
        Ok(Plan::ok().value("ansible_facts", facts))
    }
}

fn gather(args: &Args, fact_path: String) -> Gather {
    Gather { subset: args.gather_subset.clone(), filter: args.filter.clone(), fact_path }
}
