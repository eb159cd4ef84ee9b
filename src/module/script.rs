//! `script`: a script of the operator's machine, run on the host.

use serde::Deserialize;

use super::command::split;
use super::{CheckAnswer, Failure, Module, Plan, PlanCx, Step, host_path, output};
use crate::remote::{Command, Effect};
use crate::source::{Map, Text, Val};

/// Runs a script that lies on the operator's machine, with arguments.
pub struct Script;

/// Arguments of `script`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Path of the script and its arguments.
    #[serde(alias = "cmd")]
    pub _raw_params: Text,
    /// Run in this folder, an absolute path.
    pub chdir: Option<String>,
    /// Don't run when this path is there.
    pub creates: Option<String>,
    /// Don't run unless this path is there.
    pub removes: Option<String>,
    /// What to run the script with; without one, its first line says so.
    pub executable: Option<String>,
    /// Open a script that is encrypted.
    #[serde(default = "yes")]
    pub decrypt: bool,
}

fn yes() -> bool {
    true
}

/// Puts its standard input into a file only for us, runs it with the words after it, removes it.
const RUN: &str = "umask 077
f=$(mktemp) || exit 1
trap 'rm -f \"$f\"' EXIT HUP INT TERM
cat >\"$f\" && chmod 700 \"$f\" || exit 1
";

impl Module for Script {
    type Args = Args;
    const NAME: &'static str = "script";
    const FREE_FORM: Option<&'static str> = Some("_raw_params");

    fn one_way(_: &Val) -> Option<&'static str> {
        Some(super::command::ANYTHING)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let raw = args._raw_params.trim();
        let words = split(raw).map_err(Failure::new)?;
        let Some(name) = words.first() else { return Err(Failure::new("no script given")) };
        let skip = |why: String| {
            Plan { check: CheckAnswer::Skip(Map::new()), ..Plan::ok() }
                .value("skipped", true)
                .value("msg", why)
        };
        if let Some(path) = host_path::expand_opt(cx.target, args.creates.as_deref()).await?
            && cx.target.stat(&path).await?.is_some()
        {
            return Ok(skip(format!("{path} exists, matching creates option")));
        }
        if let Some(path) = host_path::expand_opt(cx.target, args.removes.as_deref()).await?
            && cx.target.stat(&path).await?.is_none()
        {
            return Ok(skip(format!("{path} does not exist, matching removes option")));
        }
        if let Some(folder) = args.chdir.as_deref().filter(|f| !f.starts_with('/')) {
            let message = format!("chdir {folder} must be an absolute path for a Unix-aware remote node");
            return Err(Failure::new(message));
        }
        let content = read(&args, name, cx)?;
        // The arguments keep their quotes: a shell reads them, as the operator wrote them.
        let rest = arguments(raw, name);
        let run = match &args.executable {
            Some(program) => format!("{program} \"$f\" {rest}"),
            None => format!("\"$f\" {rest}"),
        };
        let shell = format!("{RUN}{run} </dev/null");
        let shell = if args._raw_params.is_secret() { Text::secret(shell) } else { Text::new(shell) };
        let mut command = Command::shell(shell).stdin(content);
        command.chdir = args.chdir;
        command.env = cx.environment.to_vec();
        let guarded = args.creates.is_some() || args.removes.is_some();
        let label = format!("run the script {}", host_path::basename(name));
        let why = "what a script did cannot be undone by itself; give the task `undo:`";
        let step = Step::one_way(label, Effect::Run(command), why);
        // Where `creates` and `removes` still ask for it, it didn't come to its end before.
        let mut plan = Plan::ok().step(if guarded { step } else { step.unobservable() });
        plan.changed = Some(true);
        if !guarded {
            let why = "Check mode is not supported for this task.";
            let told = [("changed", Val::from(false)), ("msg", Val::from(why))];
            plan.check = CheckAnswer::Skip(told.into_iter().map(|(k, v)| (Val::from(k), v)).collect());
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

/// The script's text, opened if it is encrypted.
fn read(args: &Args, name: &str, cx: &PlanCx<'_>) -> Result<Text, Failure> {
    let path = cx.find("files", name)?;
    let bytes = std::fs::read(&path)
        .map_err(|e| Failure::new(format!("can't read the script {}: {e}", path.display())))?;
    let (bytes, secret) = if args.decrypt { cx.services.open_encrypted(&bytes)? } else { (bytes, false) };
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(format!("the script {} is not text", path.display()))
            .help("copy a program to the host with `copy` and run it with `command`")
    })?;
    Ok(if secret { Text::secret(text) } else { Text::new(text) })
}

/// What follows the script's name, as it is written.
fn arguments<'a>(raw: &'a str, name: &str) -> &'a str {
    match raw.find(name) {
        Some(at) => raw[at + name.len()..].trim_start_matches(['"', '\'']),
        // A name with quotes or backslashes inside: the first word as it is written.
        None => raw.split_once(char::is_whitespace).map_or("", |(_, rest)| rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_quotes() {
        for (raw, name, want) in [
            ("a.sh x 'y z'", "a.sh", " x 'y z'"),
            ("'a b.sh' \"$HOME\"", "a b.sh", " \"$HOME\""),
            ("a.sh", "a.sh", ""),
        ] {
            assert_eq!(arguments(raw, name), want, "{raw}");
        }
    }
}
