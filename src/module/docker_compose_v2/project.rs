//! A Compose project on a host, and how Compose is asked about it.

use std::sync::Arc;
use std::time::Duration;

use super::args::Args;
use super::environment::overridden;
use super::goal::last_line;
use super::words::without_wait;
use super::{LOOK, WORK};
use crate::module::compose::{Container, DEFAULT_FILES, Progress, Version, containers, version};
use crate::module::{Failure, PlanCx};
use crate::remote::{Command, FileKind, Output};
use crate::source::{Text, Val};

/// A Compose project on a host, and how Compose is called for it.
pub struct Project {
    pub args: Args,
    pub version: Version,
    /// The docker program with its own flags.
    pub docker: Vec<String>,
    pub dir: String,
    pub env: Vec<(String, Text)>,
}

impl Project {
    /// Looks for Compose and for the project's files.
    pub async fn find(args: Args, cx: &PlanCx<'_>) -> Result<(Arc<Project>, Vec<String>), Failure> {
        let docker = docker_command(&args);
        let dir = args.project_src.clone().unwrap_or_default();
        let dir = if dir.len() > 1 { dir.trim_end_matches('/').to_string() } else { dir };
        let mut env = cx.environment.to_vec();
        for (name, value) in
            [("DOCKER_API_VERSION", &args.api_version), ("DOCKER_TLS_HOSTNAME", &args.tls_hostname)]
        {
            if let Some(value) = value.as_deref().filter(|v| *v != "auto") {
                env.push((name.into(), Text::new(value)));
            }
        }
        let ask = ["/bin/sh", "-c", version::ASK, "sh"].into_iter().chain(docker.iter().map(String::as_str));
        let ask = Command { env: env.clone(), timeout: Some(LOOK), ..Command::argv(ask) };
        let names: Vec<String> = match &args.files {
            Some(files) if !files.is_empty() => files.clone(),
            _ => DEFAULT_FILES.map(String::from).to_vec(),
        };
        let paths: Vec<String> = names.iter().map(|name| below(&dir, name)).collect();
        let (answer, at_dir, files) = tokio::try_join!(
            cx.target.query(ask),
            cx.target.stat(&dir),
            futures::future::try_join_all(paths.iter().map(|path| cx.target.stat(path))),
        )?;
        let version = version::judge(&docker[0], &answer)?;
        if at_dir.is_none_or(|stat| stat.kind != FileKind::Directory) {
            return Err(Failure::new(format!("\"{dir}\" is not a directory"))
                .help("project_src is the directory of the Compose file on the host"));
        }
        if args.files.as_ref().is_some_and(|f| !f.is_empty()) {
            if let Some((name, _)) = names.iter().zip(&files).find(|(_, stat)| stat.is_none()) {
                return Err(Failure::new(format!(
                    "Cannot find Compose file \"{name}\" relative to project directory \"{dir}\""
                )));
            }
        } else if args.check_files_existing && files.iter().all(Option::is_none) {
            return Err(Failure::new(format!(
                "\"{dir}\" does not contain {}, or {}",
                DEFAULT_FILES[..3].join(", "),
                DEFAULT_FILES[3]
            )));
        }
        if args.assume_yes && version < Version::ASSUME_YES {
            return Err(Failure::new(format!(
                "assume_yes=true needs Docker Compose {} or newer, not version {version}",
                Version::ASSUME_YES
            )));
        }
        let warnings = overridden(&args, &dir, cx).await?;
        Ok((Arc::new(Project { args, version, docker, dir, env }), warnings))
    }

    /// `docker compose …` in the project's directory.
    pub fn compose<T: AsRef<str>>(&self, words: &[T], limit: Duration) -> Command {
        let args = &self.args;
        let mut argv = self.docker.clone();
        let mut push = |words: &[&str]| argv.extend(words.iter().map(|w| w.to_string()));
        push(&["compose", "--ansi", "never"]);
        if self.version >= Version::PROGRESS {
            push(&["--progress", "plain"]);
        }
        push(&["--project-directory", &self.dir]);
        if let Some(name) = &args.project_name {
            push(&["--project-name", name]);
        }
        for (flag, values) in
            [("--file", &args.files), ("--env-file", &args.env_files), ("--profile", &args.profiles)]
        {
            for value in values.iter().flatten() {
                push(&[flag, value]);
            }
        }
        argv.extend(words.iter().map(|w| w.as_ref().to_string()));
        Command {
            chdir: Some(self.dir.clone()),
            env: self.env.clone(),
            timeout: Some(limit),
            ..Command::argv(argv)
        }
    }

    pub fn ps(&self) -> Command {
        let mut words = vec!["ps", "--format", "json", "--all"];
        if self.version >= Version::PS_NO_TRUNC {
            words.push("--no-trunc");
        }
        self.compose(&words, LOOK)
    }

    pub async fn containers(&self, cx: &PlanCx<'_>) -> Result<Vec<Container>, Failure> {
        let output = cx.target.probe(self.ps()).await?;
        if !output.success() {
            return Err(self.refused("ps", &output));
        }
        containers::parse(&output.stdout_text()).map_err(Failure::new)
    }

    /// What Compose says that it would do. It isn't asked to wait: a dry run would wait for the
    /// containers that are there now, and fail where one of them is stopped.
    pub async fn dry_run(&self, cx: &PlanCx<'_>, words: &[String]) -> Result<(Progress, Output), Failure> {
        let mut dry = without_wait(words);
        // Before `--`, after which only services come.
        let end = dry.iter().position(|w| w == "--").unwrap_or(dry.len());
        dry.insert(end, "--dry-run".into());
        let output = cx.target.probe(self.compose(&dry, WORK)).await?;
        if !output.success() {
            return Err(self.refused(&words[0], &output));
        }
        Ok((Progress::parse(&said(&output)), (*output).clone()))
    }

    /// Compose refused before anything was changed.
    pub fn refused(&self, what: &str, output: &Output) -> Failure {
        let stderr = said(output);
        let progress = Progress::parse(&stderr);
        let why = if progress.errors.is_empty() { last_line(&stderr) } else { progress.errors.join("\n") };
        let failure =
            Failure::new(format!("docker compose {what} in {} failed: {why}; nothing was changed", self.dir))
                .value("rc", Val::Int(output.status.into()))
                .value("stdout", output.stdout_text())
                .value("stderr", stderr.as_str());
        let help = if stderr.contains("permission denied") {
            "this user may not talk to the Docker engine: use `become: true`, or add it to the group `docker`"
        } else if stderr.contains("Cannot connect to the Docker daemon") {
            "start the engine: `systemctl start docker`"
        } else if stderr.contains("no such service") {
            "`docker compose config --services` in that directory lists the services"
        } else {
            return failure;
        };
        failure.help(help)
    }
}

pub fn docker_command(args: &Args) -> Vec<String> {
    let mut words = vec![args.docker_cli.clone().unwrap_or_else(|| "docker".into())];
    for (flag, value) in [("--host", &args.docker_host), ("--context", &args.cli_context)] {
        if let Some(value) = value {
            words.extend([flag.to_string(), value.clone()]);
        }
    }
    if args.validate_certs {
        words.push("--tlsverify".into());
    } else if args.tls {
        words.push("--tls".into());
    }
    for (flag, value) in
        [("--tlscacert", &args.ca_path), ("--tlscert", &args.client_cert), ("--tlskey", &args.client_key)]
    {
        if let Some(value) = value {
            words.extend([flag.to_string(), value.clone()]);
        }
    }
    words
}

pub fn below(dir: &str, name: &str) -> String {
    if name.starts_with('/') { name.to_string() } else { format!("{dir}/{name}") }
}

/// The stderr of Compose, without what it repeats of a `.env` that it can't parse: that line may
/// hold a secret that nobody has registered yet.
pub fn said(output: &Output) -> String {
    let text = output.stderr_text();
    let cut = |line: &str| {
        [
            "unterminated quoted value",
            "unexpected character",
            "in variable name",
            "Invalid template:",
            "invalid template",
        ]
        .iter()
        .find_map(|phrase| line.find(phrase).map(|at| at + phrase.len()))
        .map_or_else(
            || line.to_string(),
            |end| format!("{} (the rest is not shown: it may be secret)", &line[..end]),
        )
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}
