//! `secret_search` (ours): where on a host does a secret value stand, in files and in what every
//! container was started with?
//!
//! Before a password is changed, each place that holds it must be known: one that nobody declared
//! would go on with the old value. The values and all their encodings travel to the host on
//! standard input only, never in argv, environment or a file; containers are searched here.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx};
use crate::remote::{Command, Output};
use crate::secret::forms::forms;
use crate::source::{Map, Text, Val};

mod containers;
mod files;

/// One place that holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub place: Place,
    /// The variable or field that holds it, where one can be told.
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File { path: String, line: u64 },
    Container { name: String, service: Option<String>, project: Option<String> },
}

impl Found {
    /// For people: `/srv/.env line 3 (API_KEY)`.
    fn described(&self) -> String {
        let place = match &self.place {
            Place::File { path, line } => format!("{path} line {line}"),
            Place::Container { name, service: Some(service), .. } => {
                format!("the container {name} of the service {service}")
            }
            Place::Container { name, .. } => format!("the container {name}"),
        };
        match &self.key {
            Some(key) => format!("{place} ({key})"),
            None => place,
        }
    }

    fn result(&self, allowed: bool) -> Val {
        let mut map = Map::new();
        let mut put = |key: &str, value: Val| map.insert(Val::from(key), value);
        match &self.place {
            Place::File { path, line } => {
                put("kind", "file".into());
                put("path", path.as_str().into());
                put("line", Val::Int(*line as i64));
            }
            Place::Container { name, service, project } => {
                put("kind", "container".into());
                put("container", name.as_str().into());
                put("service", service.clone().into());
                put("project", project.clone().into());
            }
        }
        put("key", self.key.clone().into());
        put("allowed", allowed.into());
        Val::map(map)
    }
}

/// A place where the values may stand.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// An absolute path of a file.
    pub path: Option<String>,
    /// Services of the Compose project.
    #[serde(default)]
    pub services: Vec<String>,
    /// The variables there; any if empty.
    #[serde(default)]
    pub keys: Vec<String>,
}

impl Allowed {
    fn covers(&self, found: &Found, project: Option<&str>) -> bool {
        let place = match &found.place {
            Place::File { path, .. } => self.path.as_ref() == Some(path),
            Place::Container { service, project: of, .. } => {
                service.as_ref().is_some_and(|s| self.services.contains(s))
                    && project.is_none_or(|p| of.as_deref() == Some(p))
            }
        };
        let key = self.keys.is_empty() || found.key.as_ref().is_some_and(|key| self.keys.contains(key));
        place && key
    }
}

fn default_size() -> u64 {
    64 << 20
}

#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What to look for, each in every encoding: as it is, quoted, URL, base64, hexadecimal.
    pub values: Vec<Text>,
    /// Files, and directories with all below them, on the host. Absolute.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Paths to leave out, with all below them. Absolute.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether to look into what every container of the host, running or not, was made with:
    /// environment, command, labels.
    #[serde(default)]
    pub containers: bool,
    /// The Compose project that services named in `allowed` belong to.
    pub project: Option<String>,
    /// Places where the values may stand. Any other one fails the task by name.
    #[serde(default)]
    pub allowed: Vec<Allowed>,
    /// Only tell what was found; nothing found fails the task.
    #[serde(default)]
    pub report_only: bool,
    /// Larger files are named in the result and not searched. Bytes.
    #[serde(default = "default_size")]
    pub max_size: u64,
    /// Path of the docker program.
    pub docker_cli: Option<String>,
}

pub struct SecretSearch;

impl Module for SecretSearch {
    type Args = Args;
    const NAME: &'static str = "secret_search";
    const COLLECTION: &'static str = "seqn.play";
    const SECRET_ARGS: &'static [&'static str] = &["values"];

    fn validate(args: &Args) -> Result<(), String> {
        if args.paths.is_empty() && !args.containers {
            return Err("one of the following is required: paths, containers".into());
        }
        if let Some(path) = args.paths.iter().chain(&args.exclude).find(|p| !p.starts_with('/')) {
            return Err(format!("{path} must be an absolute path"));
        }
        Ok(())
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let needles = needles(&args.values)?;
        let mut found = Vec::new();
        let mut skipped = Vec::new();
        if !args.paths.is_empty() {
            let output = cx.target.probe(files::question(&args, &needles)).await?;
            let (hits, large) = files::read(&output)?;
            found.extend(hits);
            skipped = large;
        }
        if args.containers {
            let docker = args.docker_cli.as_deref().unwrap_or("docker");
            let output = cx.target.probe(containers::question(docker)).await?;
            found.extend(containers::read(&output, &needles)?);
        }
        judge(&args, &found, skipped)
    }
}

/// Every form of every value.
fn needles(values: &[Text]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for value in values {
        let forms = forms(value);
        if forms.is_empty() {
            return Err(Failure::new(
                "a value is too short or too common to be searched for: it would be found everywhere",
            )
            .help("search by hand, or rotate to a generated value first"));
        }
        // A line is looked at by itself; the lines of a longer value are forms of their own.
        all.extend(forms.into_iter().filter(|form| !form.contains(['\n', '\r', '\0'])));
    }
    Ok(all)
}

fn judge(args: &Args, found: &[Found], skipped: Vec<String>) -> Result<Plan, Failure> {
    let allowed = |f: &Found| args.allowed.iter().any(|a| a.covers(f, args.project.as_deref()));
    let undeclared: Vec<String> = found.iter().filter(|f| !allowed(f)).map(Found::described).collect();
    let mut services: Vec<&str> = found
        .iter()
        .filter_map(|f| match &f.place {
            Place::Container { service: Some(service), project, .. }
                if args.project.is_none() || *project == args.project =>
            {
                Some(service.as_str())
            }
            _ => None,
        })
        .collect();
    services.sort_unstable();
    services.dedup();
    let results = [
        ("found", Val::list(found.iter().map(|f| f.result(allowed(f))).collect())),
        ("undeclared", Val::from(undeclared.clone())),
        ("services", Val::from(services)),
        ("skipped", Val::from(skipped.clone())),
    ];
    if undeclared.is_empty() || args.report_only {
        let mut plan = results.into_iter().fold(Plan::ok(), |plan, (key, value)| plan.value(key, value));
        if !skipped.is_empty() {
            plan.warnings.push(format!("too large to be searched: {}", skipped.join(", ")));
        }
        return Ok(plan);
    }
    let failure = Failure::new(format!(
        "the value also stands where nobody declared it, and would be left there: {}",
        undeclared.join("; ")
    ))
    .help("declare the place in the inventory, so that it is changed too, or take the value out of there");
    Err(results.into_iter().fold(failure, |failure, (key, value)| failure.value(key, value)))
}

/// What `command` said on stderr, for a message.
fn complaint(output: &Output) -> String {
    let text = output.stderr_text();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).take(5).collect();
    if lines.is_empty() { format!("it ended with status {}", output.status) } else { lines.join("; ") }
}

fn shell(script: &str, arguments: impl IntoIterator<Item = String>) -> Command {
    let head = ["/bin/sh", "-c", script, "sh"].map(String::from);
    Command::argv(head.into_iter().chain(arguments)).timeout(std::time::Duration::from_secs(300))
}

#[cfg(test)]
mod tests;
