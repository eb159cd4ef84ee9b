//! `group`: a group of the host.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx, Step};
use crate::remote::{Command, Effect, Output};
use crate::source::Val;

/// Makes, changes or removes a group.
pub struct Group;

/// Arguments of `group`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Name of the group.
    pub name: String,
    /// `present` or `absent`.
    #[serde(default)]
    pub state: State,
    /// The group's number.
    pub gid: Option<u32>,
    /// A new group is a system group.
    #[serde(default)]
    pub system: bool,
    /// Another group may have the same number.
    #[serde(default)]
    pub non_unique: bool,
    /// Remove it although it is some user's primary group.
    #[serde(default)]
    pub force: bool,
}

/// Whether it shall be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Present => "present",
            State::Absent => "absent",
        }
    }
}

impl Module for Group {
    type Args = Args;
    const NAME: &'static str = "group";

    fn validate(args: &Args) -> Result<(), String> {
        match args.non_unique && args.gid.is_none() {
            true => Err("non_unique is True but all of the following are missing: gid".into()),
            false => Ok(()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let said = cx.target.query(Command::argv(["getent", "group", &args.name])).await?;
        let found = match said.status {
            0 => said.stdout_text().split(':').nth(2).and_then(|gid| gid.trim().parse::<u32>().ok()),
            2 => None,
            127 => return Err(Failure::new("the host has no getent")),
            other => return Err(Failure::new(format!("getent ended with status {other}"))),
        };
        let plan = Plan::ok()
            .value("name", args.name.as_str())
            .value("state", args.state.name())
            .value("system", args.system);
        let gid = |gid: Option<u32>| gid.map_or(Val::Null, |gid| Val::Int(gid.into()));
        let mut options: Vec<String> = args.gid.iter().flat_map(|g| ["-g".into(), g.to_string()]).collect();
        if args.non_unique {
            options.push("-o".into());
        }
        let command = |program: &str, options: &[String]| {
            let mut argv = vec![program.to_string()];
            argv.extend(options.iter().cloned());
            argv.push(args.name.clone());
            Effect::Run(Command::argv(argv))
        };
        match (args.state, found) {
            (State::Present, None) => {
                if args.system {
                    options.push("-r".into());
                }
                let (made, undone) = (command("groupadd", &options), command("groupdel", &[]));
                let step = Step::with_inverse(format!("make the group {}", args.name), made, undone);
                Ok(plan.value("gid", gid(args.gid)).step(step).finish(succeeded))
            }
            (State::Present, Some(now)) if args.gid.is_some_and(|wanted| wanted != now) => {
                let back = ["-g".to_string(), now.to_string(), "-o".into()];
                let label = format!("change the number of the group {}", args.name);
                let step =
                    Step::with_inverse(label, command("groupmod", &options), command("groupmod", &back));
                Ok(plan.value("gid", gid(args.gid)).step(step).finish(succeeded))
            }
            (State::Absent, Some(now)) => {
                let force: &[String] = if args.force { &["-f".to_string()] } else { &[] };
                let back = ["-g".to_string(), now.to_string()];
                let label = format!("remove the group {}", args.name);
                let step = Step::with_inverse(label, command("groupdel", force), command("groupadd", &back));
                Ok(plan.step(step).finish(succeeded))
            }
            (State::Present, Some(now)) => Ok(plan.value("gid", gid(Some(now)))),
            (State::Absent, None) => Ok(plan),
        }
    }
}

/// Every command must have ended well; the last one's words are the reason otherwise.
pub fn succeeded(outputs: &[Output]) -> Result<Plan, Failure> {
    match outputs.last() {
        Some(output) if !output.success() => {
            let why = output.stderr_text().trim().to_string();
            let message =
                if why.is_empty() { format!("it ended with status {}", output.status) } else { why };
            Err(Failure::new(message).value("rc", Val::Int(output.status.into())))
        }
        _ => Ok(Plan::ok()),
    }
}
