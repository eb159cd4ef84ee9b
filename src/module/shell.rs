//! `shell`: a script for a shell.

use serde::Deserialize;

use super::command::{Guarded, guarded, stdin};
use super::{Failure, Module, Plan, PlanCx};
use crate::remote::Program;
use crate::source::{Text, Val};

/// Runs a script in a shell.
pub struct RunShell;

/// Arguments of `shell`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The script.
    #[serde(alias = "cmd")]
    pub _raw_params: Option<Text>,
    /// Run in this folder.
    pub chdir: Option<String>,
    /// Don't run when this path or glob is there.
    pub creates: Option<String>,
    /// Don't run unless this path or glob is there.
    pub removes: Option<String>,
    /// The shell, an absolute path.
    #[serde(default = "sh")]
    pub executable: String,
    /// Given on standard input.
    pub stdin: Option<Text>,
    /// End `stdin` with a newline.
    #[serde(default = "yes")]
    pub stdin_add_newline: bool,
    /// Cut empty lines from the end of the output.
    #[serde(default = "yes")]
    pub strip_empty_ends: bool,
    /// Refused: only `command` has it; a shell always expands.
    pub expand_argument_vars: Option<bool>,
}

fn yes() -> bool {
    true
}
fn sh() -> String {
    "/bin/sh".into()
}

impl Module for RunShell {
    type Args = Args;
    const NAME: &'static str = "shell";
    const FREE_FORM: Option<&'static str> = Some("_raw_params");

    fn one_way(_: &Val) -> Option<&'static str> {
        Some(super::command::ANYTHING)
    }

    fn validate(args: &Args) -> Result<(), String> {
        match args.expand_argument_vars {
            Some(_) => Err("Unsupported parameters for (shell) module: expand_argument_vars".into()),
            None => Ok(()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let Some(script) = args._raw_params.filter(|t| !t.trim().is_empty()) else {
            return Err(Failure::new("no command given").value("rc", 256).value("cmd", Val::Null));
        };
        guarded(
            Guarded {
                shown: Val::Text(script.plain()),
                program: Program::Shell { script, executable: args.executable },
                label: "run a shell script".into(),
                chdir: args.chdir,
                creates: args.creates,
                removes: args.removes,
                stdin: stdin(args.stdin, args.stdin_add_newline),
                strip: args.strip_empty_ends,
                not_found: None,
            },
            cx,
        )
        .await
    }
}
