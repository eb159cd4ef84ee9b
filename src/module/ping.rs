//! `ping`: the host answers.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx};
use crate::remote::Command;
use crate::source::Text;

/// Shows that the host can be reached and has a shell.
pub struct Ping;

/// Arguments of `ping`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What the result value `ping` shall be; `crash` fails.
    #[serde(default = "pong")]
    pub data: Text,
}

fn pong() -> Text {
    Text::new("pong")
}

impl Module for Ping {
    type Args = Args;
    const NAME: &'static str = "ping";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let said = cx.target.probe(Command::shell("echo pong")).await?;
        if said.stdout != b"pong\n" {
            return Err(Failure::new("the host's shell doesn't answer as a shell does")
                .value("stdout", said.stdout_text())
                .value("stderr", said.stderr_text()));
        }
        if args.data.as_str() == "crash" {
            return Err(Failure::new("boom")
                .value("module_stdout", "")
                .value("module_stderr", "Exception: boom"));
        }
        Ok(Plan::ok().value("ping", args.data.plain()))
    }
}
