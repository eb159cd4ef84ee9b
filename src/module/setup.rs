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

/// Gathers facts as a task of its own; here it does what `setup` does.
pub struct GatherFacts;

/// Arguments of `gather_facts`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatherFactsArgs {
    /// Of no effect: everything is gathered in one round trip.
    #[serde(rename = "parallel")]
    pub _parallel: Option<bool>,
    /// As in `setup`.
    #[serde(default = "all")]
    pub gather_subset: Vec<String>,
    /// As in `setup`.
    #[serde(default = "ten")]
    pub gather_timeout: u64,
    /// As in `setup`.
    #[serde(default)]
    pub filter: Vec<String>,
    /// As in `setup`.
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
        let output =
            cx.target.probe(command.timeout(Duration::from_secs(args.gather_timeout.max(1) * 6))).await?;
        let facts = gather.parse(&output.stdout).map_err(|why| {
            Failure::new(format!("the host's facts could not be read: {why}"))
                .value("stderr", output.stderr_text())
        })?;
        Ok(Plan::ok().value("ansible_facts", facts))
    }
}

impl Module for GatherFacts {
    type Args = GatherFactsArgs;
    const NAME: &'static str = "gather_facts";

    async fn plan(args: GatherFactsArgs, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let GatherFactsArgs { _parallel, gather_subset, gather_timeout, filter, fact_path } = args;
        Setup::plan(Args { gather_subset, gather_timeout, filter, fact_path }, cx).await
    }
}
