//! `raw`: a script for the login user's shell, as it is.

use serde::Deserialize;

use super::{CheckAnswer, Failure, Module, Plan, PlanCx, Step, output};
use crate::remote::{Command, Effect, Program};
use crate::source::{Map, Text, Val};

/// Runs a script with nothing around it.
pub struct Raw;

/// Arguments of `raw`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The script.
    #[serde(alias = "cmd")]
    pub _raw_params: Text,
    /// The shell, an absolute path.
    pub executable: Option<String>,
}

impl Module for Raw {
    type Args = Args;
    const NAME: &'static str = "raw";
    const FREE_FORM: Option<&'static str> = Some("_raw_params");

    fn one_way(_: &Val) -> Option<&'static str> {
        Some(super::command::ANYTHING)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let executable = args.executable.unwrap_or_else(|| "/bin/sh".into());
        let command = Command::new(Program::Shell { script: args._raw_params, executable });
        let mut plan = Plan::ok().step(
            Step::one_way(
                "run a raw script",
                Effect::Run(command),
                "what a command did cannot be undone by itself; give the task `undo:`",
            )
            .unobservable(),
        );
        plan.changed = Some(true);
        plan.check = CheckAnswer::Skip(Map::new());
        if !cx.environment.is_empty() {
            plan.warnings.push("raw module does not support the environment keyword".into());
        }
        Ok(plan.finish(|outputs| {
            let said = outputs.last().cloned().unwrap_or_default();
            let mut result = output::texts(&said.stdout_text(), &said.stderr_text(), false);
            result.insert(Val::from("rc"), Val::Int(said.status.into()));
            if said.success() {
                return Ok(Plan { result, changed: Some(true), ..Plan::ok() });
            }
            result.insert(Val::from("changed"), Val::Bool(true));
            Err(Failure { result, ..Failure::new("non-zero return code") })
        }))
    }
}
