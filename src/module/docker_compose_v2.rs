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

use super::compose::{Container, Progress, containers};
use super::plan::CheckAnswer;
use super::{Failure, Module, Plan, PlanCx, Step, StepKind, Undo};
use crate::remote::{Command, Effect, Output};
use crate::source::Val;

mod args;
mod environment;
mod goal;
mod project;
#[cfg(test)]
mod tests;
mod words;

use args::{Args, Build, Pull, Recreate, RemoveImages, State};
use goal::Goal;
use project::{Project, said};
use words::without_wait;

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

impl Project {
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
        // A dry run would also remove the network that the other services are in.
        let nothing_left =
            !self.args.services.is_empty() && !before.iter().any(|c| self.concerns(&c.service));
        if nothing_left || !dry.changes(true) {
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

    fn named(&self) -> String {
        if self.args.services.is_empty() { "(all services)".into() } else { self.args.services.join(" ") }
    }
}

fn looking(label: &str, command: Command) -> Step {
    Step::passing(label, command)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
