//! `docker_compose_v2`: bring the services of a Compose project up, down, or to read their
//! configuration again.
//!
//! Whether anything would change is asked of Compose itself, with `--dry-run` and the very flags of
//! the effect; its configuration hash isn't sound for that (`--no-deps` stores another one).
//! Afterwards `ps` is read again: a recreated container must have a new id, and with `wait` be
//! running and healthy. A failure names the service, its state and the end of its log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::compose::{Container, DEFAULT_FILES, Progress, Version, containers, version};
use super::plan::CheckAnswer;
use super::{Failure, Module, Plan, PlanCx, Step, StepKind, Undo};
use crate::remote::{Checksum, Command, Effect, Output, RemoteErrorKind};
use crate::source::{Text, Val};

mod args;
mod goal;
#[cfg(test)]
mod tests;

use args::{Args, Build, Pull, Recreate, RemoveImages, State};
use goal::{Goal, last_line};

/// Lines of a service's log that a failure shows.
const LOG_LINES: &str = "20";

/// For what only looks.
const LOOK: Duration = Duration::from_secs(120);

/// For an effect, beside what `wait_timeout` allows: images may have to come over a slow line.
const WORK: Duration = Duration::from_secs(3600);

pub struct DockerComposeV2;

const VOLUMES: &str = "the volumes are gone; their data comes back only from a backup";

impl Module for DockerComposeV2 {
    type Args = Args;
    const NAME: &'static str = "docker_compose_v2";
    const COLLECTION: &'static str = "community.docker";

    fn one_way(args: &Val) -> Option<&'static str> {
        (args.get("remove_volumes")?.as_bool()?).then_some(VOLUMES)
    }

    fn validate(args: &Args) -> Result<(), String> {
        if args.definition.is_some() {
            return Err("definition is not supported: put the Compose file on the host with `copy` or `template` and \
                        name its directory with project_src"
                .into());
        }
        if args.project_src.is_none() {
            return Err("one of the following is required: definition, project_src".into());
        }
        if args.docker_host.is_some() && args.cli_context.is_some() {
            return Err("parameters are mutually exclusive: docker_host|cli_context".into());
        }
        Ok(())
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let (project, warnings) = Project::find(args, cx).await?;
        let before = project.containers(cx).await?;
        let mut plan = match project.args.state {
            State::Present => project.up(cx, before).await?,
            State::Stopped => project.stop(cx, before).await?,
            State::Restarted => project.restart(cx, before).await?,
            State::Absent => project.down(cx, before).await?,
        };
        plan.warnings.extend(warnings);
        Ok(plan)
    }
}

/// A Compose project on a host, and how Compose is called for it.
struct Project {
    args: Args,
    version: Version,
    /// The docker program with its own flags.
    docker: Vec<String>,
    dir: String,
    env: Vec<(String, Text)>,
}

impl Project {
    /// Looks for Compose and for the project's files.
    async fn find(args: Args, cx: &PlanCx<'_>) -> Result<(Arc<Project>, Vec<String>), Failure> {
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
        if at_dir.is_none_or(|stat| stat.kind != crate::remote::FileKind::Directory) {
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
    fn compose<T: AsRef<str>>(&self, words: &[T], limit: Duration) -> Command {
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

    fn ps(&self) -> Command {
        let mut words = vec!["ps", "--format", "json", "--all"];
        if self.version >= Version::PS_NO_TRUNC {
            words.push("--no-trunc");
        }
        self.compose(&words, LOOK)
    }

    async fn containers(&self, cx: &PlanCx<'_>) -> Result<Vec<Container>, Failure> {
        let output = cx.target.probe(self.ps()).await?;
        if !output.success() {
            return Err(self.refused("ps", &output));
        }
        containers::parse(&output.stdout_text()).map_err(Failure::new)
    }

    /// What Compose says that it would do. It isn't asked to wait: a dry run would wait for the
    /// containers that are there now, and fail where one of them is stopped.
    async fn dry_run(&self, cx: &PlanCx<'_>, words: &[String]) -> Result<(Progress, Output), Failure> {
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
    fn refused(&self, what: &str, output: &Output) -> Failure {
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

    fn up_words(&self) -> Vec<String> {
        let args = &self.args;
        let mut words: Vec<String> =
            ["up", "--detach", "--no-color", "--quiet-pull"].map(String::from).to_vec();
        let mut push = |word: &str| words.push(word.to_string());
        match args.pull {
            Pull::Policy => {}
            Pull::Always => ["--pull", "always"].into_iter().for_each(&mut push),
            Pull::Missing => ["--pull", "missing"].into_iter().for_each(&mut push),
            Pull::Never => ["--pull", "never"].into_iter().for_each(&mut push),
        }
        if args.remove_orphans {
            push("--remove-orphans");
        }
        match args.recreate {
            Recreate::Always => push("--force-recreate"),
            Recreate::Never => push("--no-recreate"),
            Recreate::Auto => {}
        }
        if args.renew_anon_volumes {
            push("--renew-anon-volumes");
        }
        if !args.dependencies {
            push("--no-deps");
        }
        if let Some(seconds) = args.timeout {
            push("--timeout");
            push(&seconds.to_string());
        }
        match args.build {
            Build::Always => push("--build"),
            Build::Never => push("--no-build"),
            Build::Policy => {}
        }
        for (service, count) in &args.scale {
            push("--scale");
            push(&format!("{service}={count}"));
        }
        if args.wait {
            push("--wait");
            if let Some(seconds) = args.wait_timeout {
                push("--wait-timeout");
                push(&seconds.to_string());
            }
        }
        if args.assume_yes {
            push(if self.version < Version::ASSUME_YES_LONG { "-y" } else { "--yes" });
        }
        self.services_after(words)
    }

    fn services_after(&self, mut words: Vec<String>) -> Vec<String> {
        words.push("--".into());
        words.extend(self.args.services.iter().cloned());
        words
    }

    fn with_timeout(&self, word: &str) -> Vec<String> {
        let mut words = vec![word.to_string()];
        if let Some(seconds) = self.args.timeout {
            words.extend(["--timeout".into(), seconds.to_string()]);
        }
        words
    }

    /// Whether the task is about this service.
    fn concerns(&self, service: &str) -> bool {
        self.args.services.is_empty() || self.args.services.iter().any(|s| s == service)
    }

    fn limit(&self) -> Duration {
        WORK + Duration::from_secs(self.args.wait_timeout.unwrap_or(0))
    }

    async fn up(self: Arc<Self>, cx: &PlanCx<'_>, before: Vec<Container>) -> Result<Plan, Failure> {
        let words = self.up_words();
        let (dry, output) = self.dry_run(cx, &words).await?;
        if !dry.changes(self.args.ignore_build_events)
            && self.args.pull != Pull::Always
            && self.args.build != Build::Always
        {
            let mut plan = self.unchanged(cx, &before, &dry, &output).await?;
            if cx.check && self.args.recreate == Recreate::Auto && self.env_is_planned(cx).await? {
                plan.check = CheckAnswer::Unknown(
                    "Compose can't be asked about the variables that an earlier task would have written"
                        .into(),
                );
            }
            return Ok(plan);
        }
        let fresh = match self.args.recreate {
            Recreate::Always => {
                before.iter().filter(|c| self.concerns(&c.service)).map(|c| c.id.clone()).collect()
            }
            _ => BTreeSet::new(),
        };
        let step = Step::new(
            format!("docker compose up {}", self.named()),
            Effect::Run(self.compose(&words, self.limit())),
            self.kind_of_up(&dry),
        );
        let goal =
            Goal { gone: fresh, well: self.args.wait, running: self.args.recreate == Recreate::Always };
        Ok(self.effect(vec![step], goal, &before, &dry))
    }

    /// What undo does about an `up`: containers that it only created or started can go again; one
    /// that it recreated must read the restored configuration.
    fn kind_of_up(&self, dry: &Progress) -> StepKind {
        if dry.any("Recreate") || !(dry.any("Creating") || dry.any("Starting")) {
            return StepKind::Derived;
        }
        let created: Vec<&str> = dry.containers("Creating").collect();
        let started: Vec<&str> = dry.containers("Starting").filter(|name| !created.contains(name)).collect();
        let mut script = Vec::new();
        for (verb, names) in [(&["rm", "--force"][..], created), (&["stop"][..], started)] {
            if !names.is_empty() {
                let words = self.docker.iter().map(String::as_str).chain(verb.iter().copied()).chain(names);
                script.push(shell_words::join(words));
            }
        }
        let inverse =
            Command { env: self.env.clone(), timeout: Some(WORK), ..Command::shell(script.join(" && ")) };
        StepKind::Stateful(Undo::Effect(Box::new(Effect::Run(inverse))))
    }

    async fn stop(self: Arc<Self>, cx: &PlanCx<'_>, before: Vec<Container>) -> Result<Plan, Failure> {
        let running: Vec<&Container> =
            before.iter().filter(|c| self.concerns(&c.service) && !c.is_stopped()).collect();
        let known: BTreeSet<&str> = before.iter().map(|c| c.service.as_str()).collect();
        let missing = self.args.services.iter().any(|s| !known.contains(s.as_str())) || before.is_empty();
        let mut steps = Vec::new();
        let mut dry = Progress::default();
        // A service without a container gets one, as with Ansible's module; one that has a container
        // is stopped as it is and never recreated first.
        if missing {
            let mut words = without_wait(&self.up_words());
            words.retain(|w| !matches!(w.as_str(), "--force-recreate" | "--no-recreate"));
            let end = words.iter().position(|w| w == "--").unwrap_or(words.len());
            words.splice(end..end, ["--no-start".to_string(), "--no-recreate".to_string()]);
            let (made, _) = self.dry_run(cx, &words).await?;
            if made.changes(self.args.ignore_build_events) {
                let effect = Effect::Run(self.compose(&words, self.limit()));
                let kind = self.kind_of_up(&made);
                steps.push(Step::new(format!("create containers of {}", self.named()), effect, kind));
                dry.actions.extend(made.actions);
            }
        }
        if !running.is_empty() {
            let words = self.services_after(self.with_timeout("stop"));
            let (stopping, _) = self.dry_run(cx, &words).await?;
            dry.actions.extend(stopping.actions);
            let services: BTreeSet<String> = running.iter().map(|c| c.service.clone()).collect();
            let start: Vec<String> = ["start".to_string(), "--".into()].into_iter().chain(services).collect();
            let stop = Step::with_inverse(
                format!("docker compose stop {}", self.named()),
                Effect::Run(self.compose(&words, self.limit())),
                Effect::Run(self.compose(&start, self.limit())),
            );
            steps.push(stop.interrupting(true));
        }
        if steps.is_empty() {
            return self.unchanged(cx, &before, &dry, &Output::default()).await;
        }
        Ok(self.effect(steps, Goal::default(), &before, &dry))
    }

    async fn restart(self: Arc<Self>, cx: &PlanCx<'_>, before: Vec<Container>) -> Result<Plan, Failure> {
        let mut words = vec!["restart".to_string()];
        if !self.args.dependencies {
            words.push("--no-deps".into());
        }
        words.extend(self.with_timeout("restart").into_iter().skip(1));
        let words = self.services_after(words);
        let (dry, output) = self.dry_run(cx, &words).await?;
        if !dry.changes(true) {
            return self.unchanged(cx, &before, &dry, &output).await;
        }
        let command = self.compose(&words, self.limit());
        let step = Step::derived(format!("docker compose restart {}", self.named()), command);
        let goal = Goal { running: true, ..Goal::default() };
        Ok(self.effect(vec![step], goal, &before, &dry))
    }

    async fn down(self: Arc<Self>, cx: &PlanCx<'_>, before: Vec<Container>) -> Result<Plan, Failure> {
        let mut words = self.with_timeout("down");
        if self.args.remove_orphans {
            words.push("--remove-orphans".into());
        }
        match self.args.remove_images {
            Some(RemoveImages::All) => words.extend(["--rmi".into(), "all".into()]),
            Some(RemoveImages::Local) => words.extend(["--rmi".into(), "local".into()]),
            None => {}
        }
        if self.args.remove_volumes {
            words.push("--volumes".into());
        }
        let words = self.services_after(words);
        let (dry, output) = self.dry_run(cx, &words).await?;
        if !dry.changes(true) {
            return self.unchanged(cx, &before, &dry, &output).await;
        }
        let effect = Effect::Run(self.compose(&words, self.limit()));
        let label = format!("docker compose down {}", self.named());
        let step = if self.args.remove_volumes {
            Step::one_way(label, effect, VOLUMES)
        } else {
            let services: BTreeSet<String> = before.iter().map(|c| c.service.clone()).collect();
            let up = ["up", "--detach", "--no-deps", "--"].map(String::from).into_iter().chain(services);
            let up: Vec<String> = up.collect();
            Step::with_inverse(label, effect, Effect::Run(self.compose(&up, self.limit())))
        };
        Ok(self.effect(vec![step.interrupting(true)], Goal::default(), &before, &dry))
    }

    /// The Plan of an effect: the steps, then a look at what became of the containers.
    fn effect(self: Arc<Self>, steps: Vec<Step>, goal: Goal, before: &[Container], dry: &Progress) -> Plan {
        let ps = looking("look at the containers", self.ps());
        let images = looking("list the images", self.compose(&["images", "--format", "json"], LOOK));
        let count = steps.len();
        let steps = steps.into_iter().chain([ps, images]).collect();
        let plan = Plan { steps, ..Plan::default() }
            .value("actions", dry.result())
            .value("containers", Val::list(before.iter().map(Container::result).collect()));
        plan.finish(move |outputs| self.judge(outputs, count, &goal))
    }

    /// Whether the effect came to what was wanted; if not, the logs of what is at fault are fetched
    /// before the task fails.
    fn judge(self: Arc<Self>, outputs: &[Output], effects: usize, goal: &Goal) -> Result<Plan, Failure> {
        let (work, after) = outputs.split_at(effects.min(outputs.len()));
        let [ps, images] = after else {
            return Err(Failure::new("Compose was not asked for its containers"));
        };
        let stderr: Vec<String> = work.iter().map(said).filter(|t| !t.is_empty()).collect();
        let stderr = stderr.join("\n");
        let stdout: String = work.iter().map(Output::stdout_text).collect();
        let status = work.iter().map(|o| o.status).find(|s| *s != 0).unwrap_or(0);
        let progress = Progress::parse(&stderr);
        let now = containers::parse(&ps.stdout_text()).map_err(Failure::new)?;
        let mine: Vec<&Container> = now.iter().filter(|c| self.concerns(&c.service)).collect();
        let faults = goal.faults(&mine, status, &progress, &stderr);
        let mut result = Plan::ok()
            .value("actions", progress.result())
            .value("containers", Val::list(now.iter().map(Container::result).collect()))
            .value("images", containers::images(&images.stdout_text()));
        for (key, text) in [("stdout", &stdout), ("stderr", &stderr)] {
            if !text.is_empty() {
                result = result.value(key, text.as_str());
            }
        }
        result.warnings = progress.warnings;
        let Some(faults) = faults else { return Ok(result) };
        let mut failure = Failure::new(faults.message(&self.dir, &mine));
        failure.help = Some(faults.help(&self.dir));
        failure.result = std::mem::take(&mut result.result);
        failure = failure.value("rc", Val::Int(status.into()));
        let at_fault = faults.services;
        if at_fault.is_empty() {
            return Err(failure);
        }
        let first = outputs.len();
        let logs = at_fault.iter().map(|service| {
            let words = ["logs", "--no-color", "--no-log-prefix", "--tail", LOG_LINES, "--", service];
            looking("read the log", self.compose(&words, LOOK))
        });
        Ok(Plan { steps: logs.collect(), ..Plan::default() }.finish(move |outputs| {
            for (service, log) in at_fault.iter().zip(outputs.iter().skip(first)) {
                let text = log.stdout_text() + &log.stderr_text();
                if !text.trim().is_empty() {
                    failure.message +=
                        &format!("\nThe end of the log of {service}:\n{}", indented(text.trim_end()));
                }
            }
            Err(failure)
        }))
    }

    async fn unchanged(
        &self,
        cx: &PlanCx<'_>,
        before: &[Container],
        dry: &Progress,
        output: &Output,
    ) -> Result<Plan, Failure> {
        let images = cx.target.probe(self.compose(&["images", "--format", "json"], LOOK)).await?;
        let mut plan = Plan::ok()
            .value("actions", Val::list(Vec::new()))
            .value("containers", Val::list(before.iter().map(Container::result).collect()))
            .value("images", containers::images(&images.stdout_text()));
        if !output.stdout.is_empty() {
            plan = plan.value("stdout", output.stdout_text());
        }
        plan.warnings.extend(dry.warnings.iter().cloned());
        Ok(plan)
    }

    /// In check mode: whether the variables that Compose would read aren't on the host yet.
    async fn env_is_planned(&self, cx: &PlanCx<'_>) -> Result<bool, Failure> {
        for path in env_paths(&self.args, &self.dir) {
            let planned = cx.target.stat_with(&path, true, Some(Checksum::Sha256)).await?;
            let planned = planned.and_then(|stat| stat.checksum.clone());
            // A command sees the host as it is, whatever is planned.
            let present = cx.target.query(Command::argv(["sha256sum", "--", &path])).await?;
            let present = present.stdout_text().split_whitespace().next().map(str::to_string);
            if planned.is_some() && planned != present {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn named(&self) -> String {
        if self.args.services.is_empty() { "(all services)".into() } else { self.args.services.join(" ") }
    }
}

fn docker_command(args: &Args) -> Vec<String> {
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

/// The flags of `up` but for those that make it wait.
fn without_wait(words: &[String]) -> Vec<String> {
    let mut kept = words.to_vec();
    if let Some(at) = kept.iter().position(|w| w == "--wait-timeout") {
        kept.drain(at..at + 2);
    }
    kept.retain(|w| w != "--wait");
    kept
}

fn below(dir: &str, name: &str) -> String {
    if name.starts_with('/') { name.to_string() } else { format!("{dir}/{name}") }
}

fn env_paths(args: &Args, dir: &str) -> Vec<String> {
    match &args.env_files {
        Some(files) if !files.is_empty() => files.iter().map(|f| below(dir, f)).collect(),
        _ => vec![below(dir, ".env")],
    }
}

/// The shell's environment wins over `.env`: a variable set in both means that a changed `.env` is
/// not what the containers get.
async fn overridden(args: &Args, dir: &str, cx: &PlanCx<'_>) -> Result<Vec<String>, Failure> {
    let mut keys = BTreeSet::new();
    for path in env_paths(args, dir) {
        match cx.target.read(&path, 1 << 20).await {
            Ok(file) => keys.extend(keys_of(&String::from_utf8_lossy(&file.content))),
            Err(e) if e.kind == RemoteErrorKind::Unreachable => return Err(e.into()),
            Err(e) => {
                return Ok(vec![format!("{path} can't be compared with the environment: {}", e.message)]);
            }
        }
    }
    // Names only: the values are nobody's business.
    let script = "env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'";
    let names = cx.target.query(Command::shell(script)).await?;
    let names = names.stdout_text();
    let own = cx.environment.iter().map(|(name, _)| (name.as_str(), "`environment:` of the task"));
    let login = names.lines().map(|name| (name, "the environment of the login on the host"));
    Ok(own
        .chain(login)
        .filter(|(name, _)| keys.contains(*name))
        .map(|(name, place)| {
            format!("{name} is set by {place}, which wins over .env: containers get that value, not the one in the file")
        })
        .collect())
}

/// The keys that a `.env` assigns.
fn keys_of(text: &str) -> BTreeSet<String> {
    let key = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let name = line.split(['=', ':']).next()?.trim();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (plain && line.contains(['=', ':'])).then(|| name.to_string())
    };
    text.lines().filter_map(key).collect()
}

fn looking(label: &str, command: Command) -> Step {
    Step::passing(label, command)
}

/// The stderr of Compose, without what it repeats of a `.env` that it can't parse: that line may
/// hold a secret that nobody has registered yet.
fn said(output: &Output) -> String {
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

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
