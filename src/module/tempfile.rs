//! `tempfile`: a new file or folder that nobody else has.

use std::sync::Arc;

use serde::Deserialize;

use super::{CheckAnswer, Failure, Module, Plan, PlanCx, Step, StepKind, Undo, file_args, host_path};
use crate::remote::{Command, Effect, Output};
use crate::source::{Map, Val};

/// Makes a temporary file or folder with a name of its own.
pub struct TempFile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    File,
    Directory,
}

/// Arguments of `tempfile`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// File or folder.
    #[serde(default)]
    pub state: State,
    /// The folder to make it in; the host's own for temporary files if not given.
    pub path: Option<String>,
    /// How its name begins.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// How its name ends.
    #[serde(default)]
    pub suffix: String,
}

fn default_prefix() -> String {
    "ansible.".into()
}

impl Module for TempFile {
    type Args = Args;
    const NAME: &'static str = "tempfile";

    fn validate(args: &Args) -> Result<(), String> {
        for (name, text) in [("prefix", &args.prefix), ("suffix", &args.suffix)] {
            if text.contains('/') {
                return Err(format!("{name} must not contain a '/', got '{text}'"));
            }
        }
        Ok(())
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let folder = host_path::expand_opt(cx.target, args.path.as_deref()).await?;
        let effect = Effect::Run(Command::shell(script(&args, folder.as_deref())));
        let undo = |output: &Output| {
            let path = made(output)?;
            Some(Effect::Remove { path, recurse: true })
        };
        let mut plan = Plan::ok().step(
            Step::new("make a temporary file", effect, StepKind::Stateful(Undo::FromOutput(Arc::new(undo))))
                .unobservable(),
        );
        plan.check = CheckAnswer::Skip(Map::from_iter([(
            Val::from("msg"),
            Val::from("remote module (tempfile) does not support check mode"),
        )]));
        let directory = args.state == State::Directory;
        Ok(plan.finish(move |outputs| {
            let output = outputs.last().cloned().unwrap_or_default();
            let Some(path) = made(&output) else {
                return Err(Failure::new(output.stderr_text().trim()));
            };
            let ids: Vec<String> = output.stdout_text().lines().skip(1).map(str::to_string).collect();
            let id = |i: usize| ids.get(i).and_then(|n| n.parse().ok()).unwrap_or_default();
            let stat = crate::remote::Stat {
                kind: if directory { crate::remote::FileKind::Directory } else { Default::default() },
                mode: if directory { 0o700 } else { 0o600 },
                uid: id(0),
                gid: id(1),
                owner: ids.get(2).cloned().unwrap_or_default(),
                group: ids.get(3).cloned().unwrap_or_default(),
                links: 1,
                ..Default::default()
            };
            let mut result = file_args::path_info(&stat);
            if directory {
                result.shift_remove("size");
            }
            result.insert(Val::from("path"), path.into());
            Ok(Plan { result, changed: Some(true), ..Plan::ok() })
        }))
    }
}

fn made(output: &Output) -> Option<String> {
    if !output.success() {
        return None;
    }
    output.stdout_text().lines().next().map(str::to_string).filter(|p| p.starts_with('/'))
}

/// Says the path, then who owns it. `mkdir` and `set -C` fail where something is already; busybox's
/// `mktemp` takes no suffix, so the name is made first and then claimed.
fn script(args: &Args, folder: Option<&str>) -> String {
    let folder = folder.map_or_else(|| "\"${TMPDIR:-/tmp}\"".to_string(), host_path::quote);
    let claim = match args.state {
        State::File => "(set -C; : >\"$made\") 2>/dev/null",
        State::Directory => "mkdir \"$made\" 2>/dev/null",
    };
    format!(
        "umask 077\nfolder={folder}\nprefix={}\nsuffix={}\n\
         cd \"$folder\" || exit 1\nfolder=$(pwd)\n\
         for attempt in 1 2 3 4 5 6 7 8; do\n\
         random=$(LC_ALL=C tr -dc a-z0-9_ </dev/urandom 2>/dev/null | head -c 8)\n\
         made=${{folder%/}}/$prefix$random$suffix\n\
         if {claim}; then printf '%s\\n' \"$made\"; id -u; id -g; id -un; id -gn; exit 0; fi\n\
         done\n\
         echo \"cannot make a file in $folder: $(ls -ld \"$folder\")\" >&2\nexit 1",
        host_path::quote(&args.prefix),
        host_path::quote(&args.suffix),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: State, suffix: &str, folder: &str) -> Output {
        let args = Args { state, path: None, prefix: "it's ".into(), suffix: suffix.into() };
        let said =
            std::process::Command::new("sh").args(["-c", &script(&args, Some(folder))]).output().unwrap();
        Output {
            status: said.status.code().unwrap(),
            stdout: said.stdout,
            stderr: said.stderr,
            ..Output::default()
        }
    }

    #[test]
    fn a_real_shell_makes_what_was_asked_for() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        for (state, mode, is_dir) in [(State::File, 0o600, false), (State::Directory, 0o700, true)] {
            let path = made(&run(state, ".x", folder)).unwrap();
            let meta = std::fs::metadata(&path).unwrap();
            assert_eq!((meta.permissions().mode() & 0o777, meta.is_dir()), (mode, is_dir));
            let name = host_path::basename(&path);
            assert!(name.starts_with("it's ") && name.ends_with(".x") && name.len() == 15, "{name}");
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);
        assert_eq!(made(&run(State::File, "", "/nope")), None);
    }
}
