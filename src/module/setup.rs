//! `setup`: gathers facts, in one round trip.

use std::time::Duration;

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx};
use crate::remote::Command;
use crate::vars::facts::Gather;

/// Gathers facts about the host.
pub struct Setup;

/// Arguments of `setup`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Which facts: `all`, `min`, `network`, `hardware`, `virtual`, …, or `!` and one of them.
    #[serde(default = "all")]
    pub gather_subset: Vec<String>,
    /// Seconds that one group of facts may take; gathering all may take six times as long.
    #[serde(default = "ten")]
    pub gather_timeout: u64,
    /// Globs on fact names; empty means all.
    #[serde(default)]
    pub filter: Vec<String>,
    /// Folder of the host with local facts (`*.fact`).
    #[serde(default = "facts_d")]
    pub fact_path: String,
}

fn all() -> Vec<String> {
    vec!["all".into()]
}

fn ten() -> u64 {
    10
}

fn facts_d() -> String {
    "/etc/ansible/facts.d".into()
}

impl Module for Setup {
    type Args = Args;
    const NAME: &'static str = "setup";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let gather = Gather {
            subset: args.gather_subset,
            filter: args.filter.into_iter().filter(|f| f != "*" && !f.is_empty()).collect(),
            fact_path: args.fact_path,
        };
        let script = gather.script().map_err(Failure::new)?;
        let mut command = Command::shell(script);
        command.env = cx.environment.to_vec();
        // Facts change by themselves (time, uptime, mounts): never remembered.
        let output = cx.target.probe(command.timeout(Duration::from_secs(args.gather_timeout.max(1) * 6))).await?;
        let facts = gather.parse(&output.stdout).map_err(|why| {
            Failure::new(format!("the host's facts could not be read: {why}"))
                .value("stderr", output.stderr_text())
        })?;
        Ok(Plan::ok().value("ansible_facts", facts))
    }
}
