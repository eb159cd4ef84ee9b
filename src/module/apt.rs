//! `apt` and `package`: packages of Debian and its kin.

use std::time::Duration;

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx, Step, host_path};
use crate::remote::{Command, Effect, Output, Target};
use crate::source::Val;

/// Installs, upgrades or removes Debian packages.
pub struct Apt;

/// Installs or removes packages with what the host has; here that is `apt`.
pub struct Package;

/// Arguments of `apt`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Packages, also as `NAME=VERSION`.
    #[serde(default, alias = "pkg", alias = "package")]
    pub name: Vec<String>,
    /// `present`, `latest` or `absent`.
    #[serde(default)]
    pub state: State,
    /// Read the lists of packages anew first.
    #[serde(alias = "update-cache")]
    pub update_cache: Option<bool>,
    /// Seconds for which lists that were read count as new.
    #[serde(default)]
    pub cache_valid_time: u64,
    /// With `absent`: remove configuration too.
    #[serde(default)]
    pub purge: bool,
    /// Remove what only removed packages needed.
    #[serde(default)]
    pub autoremove: bool,
    /// Install recommended packages; as the host is configured if not given.
    #[serde(alias = "install-recommends")]
    pub install_recommends: Option<bool>,
    /// Take packages from this release.
    #[serde(alias = "default-release")]
    pub default_release: Option<String>,
}

/// Arguments of `package`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageArgs {
    /// Packages.
    pub name: Vec<String>,
    /// `present`, `latest` or `absent`.
    #[serde(default)]
    pub state: State,
    /// The package manager: `auto` or `apt`.
    #[serde(default = "auto", rename = "use")]
    pub manager: String,
}

fn auto() -> String {
    "auto".into()
}

/// What packages shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    #[serde(alias = "installed")]
    Present,
    Latest,
    #[serde(alias = "removed")]
    Absent,
}

const ONE_WAY: &str = "scripts of a package change what only they know; install or remove it again by hand";

impl Module for Apt {
    type Args = Args;
    const NAME: &'static str = "apt";

    fn one_way(args: &Val) -> Option<&'static str> {
        ["name", "pkg", "package", "autoremove"]
            .iter()
            .any(|name| args.get(name).is_some())
            .then_some(ONE_WAY)
    }

    fn validate(args: &Args) -> Result<(), String> {
        let asks = !args.name.is_empty()
            || args.autoremove
            || args.update_cache.is_some()
            || args.cache_valid_time > 0;
        match asks {
            true => Ok(()),
            false => Err("one of the following is required: autoremove, name, update_cache".into()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        if !cx.target.query(Command::shell("command -v apt-get dpkg-query")).await?.success() {
            return Err(Failure::new("the host has no apt-get"));
        }
        let wants_update = args.update_cache.unwrap_or(args.cache_valid_time > 0);
        let is_stale = wants_update && age(cx.target).await?.is_none_or(|age| age >= args.cache_valid_time);
        if !is_stale || cx.check {
            let seen = cx.target.probe(Command::shell(look(&args))).await?;
            let mut plan = decide(&args, &seen)?;
            plan.changed = plan.changed.or((is_stale && args.name.is_empty()).then_some(true));
            return Ok(plan.value("cache_updated", is_stale));
        }
        let update = Command::shell("apt-get -q update").timeout(Duration::from_secs(600));
        Ok(Plan::ok().step(Step::derived("read the lists of packages", update).interrupting(false)).finish(
            move |outputs| {
                ended_well(outputs)?;
                let look = Step::passing("look at the packages", Command::shell(look(&args)));
                Ok(Plan::ok().step(look).finish(move |outputs| {
                    let seen = outputs.last().cloned().unwrap_or_default();
                    let mut plan = decide(&args, &seen)?;
                    // An update by itself is a change; before packages it is not.
                    plan.changed = Some(args.name.is_empty() || !plan.steps.is_empty());
                    Ok(plan.value("cache_updated", true))
                }))
            },
        ))
    }
}

impl Module for Package {
    type Args = PackageArgs;
    const NAME: &'static str = "package";

    fn one_way(_: &Val) -> Option<&'static str> {
        Some(ONE_WAY)
    }

    fn validate(args: &PackageArgs) -> Result<(), String> {
        match args.manager.rsplit('.').next() {
            Some("auto" | "apt") => Ok(()),
            _ => Err(format!("only apt is supported here, not '{}'", args.manager)),
        }
    }

    async fn plan(args: PackageArgs, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let args = Args {
            name: args.name,
            state: args.state,
            update_cache: None,
            cache_valid_time: 0,
            purge: false,
            autoremove: false,
            install_recommends: None,
            default_release: None,
        };
        Apt::plan(args, cx).await
    }
}

/// Seconds since the lists of packages were read; `None` where nobody knows.
async fn age(target: &Target) -> Result<Option<u64>, Failure> {
    let script = "f=/var/lib/apt/periodic/update-success-stamp\n[ -e \"$f\" ] || f=/var/lib/apt/lists\n\
                  echo $(( $(date +%s) - $(stat -c %Y \"$f\") ))";
    let said = target.probe(Command::shell(script)).await?;
    Ok(said.stdout_text().trim().parse().ok())
}

/// The names with a version cut off.
fn bare(name: &str) -> &str {
    name.split('=').next().unwrap_or(name)
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(host_path::quote).collect::<Vec<_>>().join(" ")
}

/// Status and version of each package that the host knows; then, where it matters, what an
/// install would do.
fn look(args: &Args) -> String {
    let known = quoted(args.name.iter().map(|n| bare(n)));
    let mut script = String::from("export LC_ALL=C\n");
    if !args.name.is_empty() {
        script += &format!(
            "dpkg-query -W -f '${{Package}} ${{db:Status-Status}} ${{Version}}\\n' {known} 2>/dev/null\n"
        );
    }
    if args.state == State::Latest && !args.name.is_empty() {
        script += &format!(
            "echo\napt-get -s -q {} {} 2>&1 || exit 1\n",
            flags(args),
            quoted(args.name.iter().map(String::as_str))
        );
    }
    if args.autoremove {
        script += "echo\napt-get -s -q autoremove 2>&1 | sed -n 's/^Remv /Auto /p'\n";
    }
    script + "exit 0"
}

fn flags(args: &Args) -> String {
    let mut flags = String::from("install");
    match args.install_recommends {
        Some(true) => flags += " -o APT::Install-Recommends=yes",
        Some(false) => flags += " -o APT::Install-Recommends=no",
        None => {}
    }
    if let Some(release) = &args.default_release {
        flags += &format!(" -t {}", host_path::quote(release));
    }
    flags
}

/// What is missing, too old or too much.
fn decide(args: &Args, seen: &Output) -> Result<Plan, Failure> {
    let text = seen.stdout_text();
    if !seen.success() {
        return Err(Failure::new(format!("apt-get can't do this: {}", text.trim()))
            .value("rc", Val::Int(seen.status.into())));
    }
    let installed = |name: &str| {
        let (name, version) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v)));
        text.lines().any(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            matches!(words[..], [n, "installed", v] if n == bare(name) && version.is_none_or(|w| glob(w, v)))
        })
    };
    let newer = |name: &str| text.lines().any(|line| line.starts_with(&format!("Inst {} ", bare(name))));
    let names = || args.name.iter().map(String::as_str);
    let targets: Vec<&str> = match args.state {
        State::Present => names().filter(|n| !installed(n)).collect(),
        State::Latest => names().filter(|n| !installed(n) || newer(n)).collect(),
        State::Absent => names().map(bare).filter(|n| installed(n)).collect(),
    };
    let superfluous = args.autoremove && text.lines().any(|line| line.starts_with("Auto "));
    let mut plan = Plan::ok();
    if !targets.is_empty() {
        let (verb, label) = match args.state {
            State::Absent if args.purge => ("purge".to_string(), "remove"),
            State::Absent => ("remove".to_string(), "remove"),
            _ => (flags(args), "install"),
        };
        let label = format!("{label} {}", targets.join(", "));
        plan = plan.step(apt_get(label, &format!("{verb} {}", quoted(targets.iter().copied()))));
    }
    if superfluous {
        plan = plan.step(apt_get("remove packages that nothing needs".into(), "autoremove"));
    }
    match plan.steps.is_empty() {
        true => Ok(plan),
        false => Ok(plan.finish(|outputs| {
            ended_well(outputs)?;
            let said = outputs.last().cloned().unwrap_or_default();
            let plan = Plan { changed: Some(true), ..Plan::ok() };
            Ok(plan.value("stdout", said.stdout_text()).value("stderr", said.stderr_text()))
        })),
    }
}

/// Never asks; files that a person changed stay.
fn apt_get(label: String, what: &str) -> Step {
    let script = format!(
        "DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical exec apt-get -y -q \
         -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold {what}"
    );
    Step::one_way(label, Effect::Run(Command::shell(script)), ONE_WAY)
}

/// A version, or one with `*` at its end.
fn glob(wanted: &str, version: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => version.starts_with(start),
        None => wanted == version,
    }
}

fn ended_well(outputs: &[Output]) -> Result<(), Failure> {
    match outputs.last() {
        Some(output) if !output.success() => {
            let why = output.stderr_text();
            Err(Failure::new(format!("apt-get failed: {}", why.trim()))
                .value("rc", Val::Int(output.status.into()))
                .value("stdout", output.stdout_text())
                .value("stderr", why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args;

    #[test]
    fn only_what_is_missing_or_too_much() {
        let seen = |text: &str| Output { stdout: text.as_bytes().to_vec(), ..Output::default() };
        let host = "acl installed 2.3-1\nnano not-installed \nInst acl [2.3-1] (2.4-1 stable [amd64])\n";
        for (names, state, want) in [
            (vec!["acl"], "present", None),
            (vec!["acl=2.3-1", "acl=2.*"], "present", None),
            (vec!["acl=9"], "present", Some("install acl=9")),
            (vec!["acl", "nano"], "present", Some("install nano")),
            (vec!["acl"], "latest", Some("install acl")),
            (vec!["acl", "nano", "vim"], "absent", Some("remove acl")),
        ] {
            let given = args::args([("name", Val::from(names.clone())), ("state", state.into())]);
            let plan = decide(&args::from_val(&given).unwrap(), &seen(host)).ok().unwrap();
            let label = plan.steps.first().map(|s| s.label.clone());
            assert_eq!(label.as_deref(), want, "{names:?} {state}");
        }
    }

    #[test]
    fn one_argument_is_needed() {
        let empty: Args = args::from_val(&Val::map(Default::default())).unwrap();
        assert!(Apt::validate(&empty).is_err());
    }
}
