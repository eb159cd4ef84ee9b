//! `docker compose`, in the words and with the exit codes of version 2.26.1.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::args::{Args, Flag};
use super::container::{Container, Image, Status, now};
use super::file::{Choice, Project, Service};
use super::show::{self, LogStyle};
use super::template::Template;
use super::{Failure, exec_into, print, signal_number};
use crate::place::{hex, lock_file};
use crate::sandbox::machine::Machine;
use crate::sandbox::process;

pub const VERSION: &str = "2.26.1";

const NETWORK_BASE: usize = 10;

/// What an unknown option or subcommand ends with.
const USAGE: u8 = 16;

const GLOBAL: [Flag; 9] = [
    ("file", Some('f'), true),
    ("env-file", None, true),
    ("project-directory", None, true),
    ("project-name", Some('p'), true),
    ("ansi", None, true),
    ("progress", None, true),
    ("dry-run", None, false),
    ("parallel", None, true),
    ("verbose", None, false),
];

struct Compose {
    machine: Machine,
    choice: Choice,
    dry_run: bool,
    quiet: bool,
}

pub fn run(machine: Machine, words: &[String]) -> Result<u8, Failure> {
    let args = Args::parse(words, &GLOBAL, true).map_err(|refused| Failure::new(USAGE, refused.0))?;
    if args.values("file").count() > 1 {
        return Err(Failure::new(USAGE, "the sandbox reads one Compose file only"));
    }
    let choice = Choice {
        file: args.value("file").map(PathBuf::from),
        env_file: args.value("env-file").map(PathBuf::from),
        directory: args.value("project-directory").map(PathBuf::from),
        name: args.value("project-name").map(ToOwned::to_owned),
    };
    let Some((command, words)) = args.rest.split_first() else {
        return Err(Failure::new(USAGE, "docker compose: a command is missing"));
    };
    let compose = Compose {
        machine,
        choice,
        dry_run: args.has("dry-run"),
        quiet: args.value("progress") == Some("quiet"),
    };
    compose.run(command, words)
}

impl Compose {
    fn run(mut self, command: &str, words: &[String]) -> Result<u8, Failure> {
        const TIMEOUT: Flag = ("timeout", Some('t'), true);
        const DRY_RUN: Flag = ("dry-run", None, false);
        let flags: &[Flag] = match command {
            "up" => &[
                ("detach", Some('d'), false),
                ("no-color", None, false),
                ("no-deps", None, false),
                ("force-recreate", None, false),
                ("no-recreate", None, false),
                ("no-build", None, false),
                ("no-start", None, false),
                ("pull", None, true),
                ("quiet-pull", None, false),
                ("remove-orphans", None, false),
                ("wait", None, false),
                ("wait-timeout", None, true),
                TIMEOUT,
            ],
            "down" => &[("volumes", Some('v'), false), ("remove-orphans", None, false), TIMEOUT],
            "ps" => &[
                ("all", Some('a'), false),
                ("quiet", Some('q'), false),
                ("services", None, false),
                ("format", None, true),
                ("filter", None, true),
                ("status", None, true),
                ("no-trunc", None, false),
                ("orphans", None, false),
            ],
            "exec" => &[
                ("no-TTY", Some('T'), false),
                ("interactive", Some('i'), false),
                ("env", Some('e'), true),
                ("index", None, true),
                ("user", Some('u'), true),
            ],
            "logs" => &[
                ("no-color", None, false),
                ("no-log-prefix", None, false),
                ("follow", Some('f'), false),
                ("timestamps", Some('t'), false),
                ("tail", Some('n'), true),
            ],
            "config" => &[
                ("services", None, false),
                ("volumes", None, false),
                ("images", None, false),
                ("hash", None, true),
                ("format", None, true),
                ("quiet", Some('q'), false),
            ],
            "images" => &[("format", None, true), ("quiet", Some('q'), false)],
            "restart" => &[("no-deps", None, false), TIMEOUT],
            "stop" => &[TIMEOUT],
            "start" | "pause" => &[],
            "kill" => &[("signal", Some('s'), true)],
            "rm" => &[("force", Some('f'), false), ("stop", Some('s'), false), ("volumes", Some('v'), false)],
            "port" => &[("index", None, true), ("protocol", None, true)],
            "version" => &[("short", None, false), ("format", Some('f'), true)],
            _ => {
                let text = format!("unknown docker command: \"compose {command}\"");
                return Err(Failure::new(USAGE, text));
            }
        };
        let mut flags = flags.to_vec();
        flags.push(DRY_RUN);
        let args = Args::parse(words, &flags, command == "exec")
            .map_err(|refused| Failure::new(USAGE, refused.0))?;
        self.dry_run |= args.has("dry-run");
        if self.dry_run && !["up", "restart", "stop", "start", "ps", "config"].contains(&command) {
            return Err(Failure::new(USAGE, "the sandbox has no dry run of this command"));
        }
        match command {
            "up" => self.up(&args)?,
            "down" => self.down(&args)?,
            "ps" => self.ps(&args)?,
            "exec" => return self.exec(&args),
            "logs" => self.logs(&args)?,
            "config" => self.config(&args)?,
            "images" => self.images(&args)?,
            "restart" => self.restart(&args)?,
            "stop" => self.stop(&args)?,
            "start" => self.start(&args)?,
            "kill" => self.kill(&args)?,
            "rm" => self.remove(&args)?,
            "port" => self.port(&args)?,
            "version" => self.version(&args)?,
            _ => return Err(Failure::new(USAGE, format!("the sandbox has no {command}"))),
        }
        Ok(0)
    }

    fn project(&self) -> Result<Project, Failure> {
        let project = Project::load(&self.choice)?;
        let time = super::container::rfc3339(now());
        let time = time.split('.').next().unwrap_or_default();
        for warning in &project.warnings {
            let line = format!("time=\"{time}Z\" level=warning msg={warning:?}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(project)
    }

    fn say(&self, container: &str, word: &str) {
        if !self.quiet {
            let mark = if self.dry_run { "DRY-RUN MODE -  " } else { "" };
            let line = format!(" {mark}Container {container}  {word}\n");
            // Progress is worth no failure.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// Changes of one machine go one after the other.
    fn lock(&self) -> Result<File> {
        let file = lock_file(&self.machine.docker.join("lock"))?;
        file.lock().context("cannot lock the sandbox")?;
        Ok(file)
    }

    fn containers(&self, project: &Project) -> Result<BTreeMap<String, Container>> {
        let all = Container::all(&self.machine)?.into_iter();
        let ours = all.filter(|found| found.project == project.name);
        Ok(ours.map(|found| (found.service.clone(), found)).collect())
    }

    /// The named services' containers, or all; a service without one is left out.
    fn chosen(&self, project: &Project, names: &[String]) -> Result<Vec<Container>> {
        for name in names {
            project.service(name)?;
        }
        let mut containers = self.containers(project)?;
        if !names.is_empty() {
            containers.retain(|service, _| names.contains(service));
        }
        Ok(containers.into_values().collect())
    }

    fn up(&self, args: &Args) -> Result<(), Failure> {
        if !args.has("detach") && !args.has("wait") && !args.has("no-start") {
            return Err(Failure::new(USAGE, "the sandbox starts services in the background only (-d)"));
        }
        if args.has("force-recreate") && args.has("no-recreate") {
            return Err(Failure::new(1, "--force-recreate and --no-recreate are incompatible"));
        }
        if let Some(pull @ ("always" | "build")) = args.value("pull") {
            return Err(Failure::new(1, format!("the sandbox has no registry to pull from ({pull})")));
        }
        let usage = |refused: super::args::Refused| Failure::new(USAGE, refused.0);
        let limit = args.seconds("wait-timeout").map_err(usage)?;
        let grace = args.seconds("timeout").map_err(usage)?;
        let project = self.project()?;
        let mut named = args.rest.clone();
        for name in &named {
            project.service(name)?;
        }
        if named.is_empty() {
            named = project.services.keys().cloned().collect();
        }
        let no_deps = args.has("no-deps");
        let names = match no_deps {
            true => named.clone(),
            false => project.with_dependencies(&named)?,
        };
        let up = Up {
            compose: self,
            project: &project,
            named,
            no_deps,
            force: args.has("force-recreate"),
            keep: args.has("no-recreate"),
            grace,
        };
        let lock = self.lock()?;
        let levels = project.levels(&names)?;
        let pending = up.make(&levels, args.has("remove-orphans"))?;
        if !args.has("no-start") {
            up.start(&levels, &pending)?;
        }
        drop(lock);
        if args.has("wait") && !self.dry_run {
            self.wait(&project, &names, limit)?;
        }
        Ok(())
    }

    /// Until all are healthy, or run where they have no health check.
    fn wait(&self, project: &Project, names: &[String], limit: Option<Duration>) -> Result<()> {
        let begin = Instant::now();
        let mut open = self.chosen(project, names)?;
        for container in &open {
            self.say(&container.name, "Waiting");
        }
        loop {
            let mut left = Vec::new();
            for container in open {
                match self.is_healthy(&container)? {
                    true => self.say(&container.name, "Healthy"),
                    false => left.push(container),
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            open = left;
            if let Some(limit) = limit.filter(|limit| begin.elapsed() >= *limit) {
                bail!("application not healthy after {}s", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_healthy(&self, container: &Container) -> Result<bool> {
        let state = container.state(&self.machine);
        match (state.status, state.health_word()) {
            (Status::Running, "healthy" | "") => Ok(true),
            (Status::Running, "unhealthy") => bail!("container {} is unhealthy", container.name),
            (Status::Exited | Status::Created, _) => {
                bail!("container {} exited ({})", container.name, state.exit_code)
            }
            _ => Ok(false),
        }
    }

    fn down(&self, args: &Args) -> Result<(), Failure> {
        if !args.rest.is_empty() {
            return Err(Failure::new(USAGE, "the sandbox takes down whole projects only"));
        }
        let grace = args.seconds("timeout").map_err(|refused| Failure::new(USAGE, refused.0))?;
        let project = self.project()?;
        let _lock = self.lock()?;
        let containers = self.containers(&project)?;
        let names: Vec<String> =
            containers.keys().filter(|name| project.services.contains_key(*name)).cloned().collect();
        for level in project.levels(&names)?.into_iter().rev() {
            let containers: Vec<&Container> = level.iter().filter_map(|name| containers.get(name)).collect();
            self.stop_all(&containers, grace)?;
            for container in containers {
                self.remove_one(container)?;
            }
        }
        if args.has("volumes") {
            for volume in &project.volumes {
                let dir = self.machine.volume(&format!("{}_{volume}", project.name));
                if dir.exists() {
                    std::fs::remove_dir_all(&dir).context("cannot remove a volume")?;
                }
            }
        }
        Ok(())
    }

    fn stop_all(&self, containers: &[&Container], grace: Option<Duration>) -> Result<()> {
        for container in containers {
            self.say(&container.name, "Stopping");
        }
        if self.dry_run {
            for container in containers {
                self.say(&container.name, "Stopped");
            }
            return Ok(());
        }
        std::thread::scope(|scope| {
            let stops: Vec<_> = containers
                .iter()
                .map(|container| scope.spawn(|| container.stop(&self.machine, grace)))
                .collect();
            for (stop, container) in stops.into_iter().zip(containers) {
                match stop.join() {
                    Ok(stopped) => stopped?,
                    Err(_) => bail!("stopping {} failed", container.name),
                }
                self.say(&container.name, "Stopped");
            }
            Ok(())
        })
    }

    fn remove_one(&self, container: &Container) -> Result<()> {
        self.say(&container.name, "Removing");
        container.remove(&self.machine)?;
        self.say(&container.name, "Removed");
        Ok(())
    }

    fn ps(&self, args: &Args) -> Result<(), Failure> {
        let project = self.project()?;
        let mut shown = self.chosen(&project, &args.rest)?;
        let mut statuses: Vec<&str> = args.values("status").collect();
        for filter in args.values("filter") {
            match filter.split_once('=') {
                Some(("status", status)) => statuses.push(status),
                _ => return Err(Failure::new(1, format!("unknown filter {filter}"))),
            }
        }
        shown.retain(|container| {
            let state = container.state(&self.machine);
            match statuses.is_empty() {
                true => args.has("all") || state.is_up(),
                false => statuses.contains(&state.status.word()),
            }
        });
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        if args.has("quiet") {
            let ids: String = shown.iter().map(|found| format!("{}\n", found.id)).collect();
            return Ok(print(&ids)?);
        }
        if args.has("services") {
            let names: String = shown.iter().map(|found| format!("{}\n", found.service)).collect();
            return Ok(print(&names)?);
        }
        let full = args.has("no-trunc");
        let lines: Vec<Map<String, Value>> =
            shown.iter().map(|found| show::listed_by_compose(&self.machine, found, full)).collect();
        match args.value("format") {
            Some("json") => {
                for line in lines {
                    print(&format!("{}\n", Value::Object(line)))?;
                }
            }
            None | Some("table") => {
                let head = ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"];
                let keys = ["Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports"];
                print(&show::table(&head, &cells(&lines, &keys)))?;
            }
            Some(format) => {
                let template = Template::parse(format)?;
                for line in lines {
                    print(&format!("{}\n", template.render(&Value::Object(line))?))?;
                }
            }
        }
        Ok(())
    }

    /// What the containers were made from. Nothing here takes room: there are no layers.
    fn images(&self, args: &Args) -> Result<(), Failure> {
        let project = self.project()?;
        let mut shown = self.chosen(&project, &args.rest)?;
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        if args.has("quiet") {
            let ids: String = shown.iter().map(|found| format!("{}\n", found.image.id())).collect();
            return Ok(print(&ids)?);
        }
        if args.value("format") != Some("json") {
            return Err(Failure::new(USAGE, "the sandbox lists images as JSON only (--format json)"));
        }
        let images: Vec<Value> = shown
            .iter()
            .map(|found| {
                let (repository, tag) =
                    found.image_name.rsplit_once(':').unwrap_or((&found.image_name, "latest"));
                serde_json::json!({
                    "ID": found.image.id(),
                    "ContainerName": found.name,
                    "Repository": repository,
                    "Tag": tag,
                    "Size": 0,
                })
            })
            .collect();
        Ok(print(&format!("{}\n", Value::Array(images)))?)
    }

    fn exec(&self, args: &Args) -> Result<u8, Failure> {
        let Some((service, command)) = args.rest.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            let text = "\"docker compose exec\" requires at least 2 arguments";
            return Err(Failure::new(USAGE, text));
        };
        if args.value("index").is_some_and(|index| index != "1") {
            return Err(Failure::new(1, format!("service {service:?} is not running")));
        }
        // Compose asks for a terminal only where its output is one.
        let terminal = !args.has("no-TTY") && std::io::stdout().is_terminal();
        if terminal && !std::io::stdin().is_terminal() {
            return Err(Failure::new(1, "the input device is not a TTY"));
        }
        let project = self.project()?;
        let containers = self.containers(&project)?;
        let Some(container) = containers.get(service) else {
            return Err(Failure::new(1, format!("service {service:?} is not running")));
        };
        if container.state(&self.machine).status != Status::Running {
            return Err(Failure::new(1, format!("service {service:?} is not running")));
        }
        let more: Vec<&str> = args.values("env").collect();
        exec_into(&self.machine, container, command, &more, args.value("user"))
    }

    fn logs(&self, args: &Args) -> Result<(), Failure> {
        let tail = match args.value("tail") {
            None | Some("all") => None,
            Some(count) => match count.parse() {
                Ok(count) => Some(count),
                Err(_) => return Err(Failure::new(1, format!("invalid value for tail: {count}"))),
            },
        };
        let project = self.project()?;
        let containers = self.chosen(&project, &args.rest)?;
        let names = containers.iter().map(|found| format!("{}-1", found.service));
        let width = names.map(|name| name.len()).max().unwrap_or(0);
        let mut shown = Vec::new();
        for container in containers {
            let name = format!("{}-1", container.service);
            let style = LogStyle {
                prefix: match args.has("no-log-prefix") {
                    true => String::new(),
                    false => format!("{name:width$}  | "),
                },
                timestamps: args.has("timestamps"),
                tail,
                one_stream: true,
            };
            let end = show::logs(&self.machine, &container, &style, 0)?;
            shown.push((container, style, end));
        }
        if args.has("follow") {
            show::follow(&self.machine, &mut shown)?;
        }
        Ok(())
    }

    fn config(&self, args: &Args) -> Result<(), Failure> {
        let mut project = self.project()?;
        if !args.rest.is_empty() {
            let chosen = project.with_dependencies(&args.rest)?;
            project.services.retain(|name, _| chosen.contains(name));
        }
        if args.has("quiet") {
            return Ok(());
        }
        if let Some(wanted) = args.value("hash") {
            let mut wanted: Vec<&str> = match wanted {
                "*" => project.services.keys().map(String::as_str).collect(),
                names => names.split(',').collect(),
            };
            wanted.sort_unstable();
            for name in wanted {
                let hash = project.service(name)?.hash(false);
                print(&format!("{name} {hash}\n"))?;
            }
            return Ok(());
        }
        if args.has("services") {
            let names: String = project.services.keys().map(|name| format!("{name}\n")).collect();
            return Ok(print(&names)?);
        }
        if args.has("volumes") {
            let names: String = project.volumes.iter().map(|name| format!("{name}\n")).collect();
            return Ok(print(&names)?);
        }
        if args.has("images") {
            let services = project.services.values();
            let images: String = services.map(|found| format!("{}\n", found.image)).collect();
            return Ok(print(&images)?);
        }
        let canonical = project.canonical();
        let text = match args.value("format") {
            Some("json") => serde_json::to_string_pretty(&canonical).context("cannot print")? + "\n",
            None | Some("yaml") => serde_yaml::to_string(&canonical).context("cannot print")?,
            Some(format) => return Err(Failure::new(1, format!("unsupported format {format:?}"))),
        };
        Ok(print(&text)?)
    }

    fn restart(&self, args: &Args) -> Result<(), Failure> {
        let grace = args.seconds("timeout").map_err(|refused| Failure::new(USAGE, refused.0))?;
        let project = self.project()?;
        let _lock = self.lock()?;
        let containers = self.chosen(&project, &args.rest)?;
        if containers.is_empty() {
            return Err(Failure::new(
                1,
                format!("no container found for project {:?}: not found", project.name),
            ));
        }
        for container in &containers {
            self.say(&container.name, "Restarting");
            if !self.dry_run {
                container.stop(&self.machine, grace)?;
                self.start_one(container)?;
            }
            self.say(&container.name, "Started");
        }
        Ok(())
    }

    fn stop(&self, args: &Args) -> Result<(), Failure> {
        let grace = args.seconds("timeout").map_err(|refused| Failure::new(USAGE, refused.0))?;
        let project = self.project()?;
        let _lock = self.lock()?;
        let containers = self.chosen(&project, &args.rest)?;
        let names: Vec<String> = containers.iter().map(|found| found.service.clone()).collect();
        for level in project.levels(&names)?.iter().rev() {
            let of_level: Vec<&Container> = containers
                .iter()
                .filter(|found| level.contains(&found.service))
                .filter(|found| found.state(&self.machine).is_up())
                .collect();
            self.stop_all(&of_level, grace)?;
        }
        Ok(())
    }

    fn start(&self, args: &Args) -> Result<(), Failure> {
        let project = self.project()?;
        let _lock = self.lock()?;
        let containers = self.chosen(&project, &args.rest)?;
        let there = self.containers(&project)?;
        for name in &args.rest {
            if !there.contains_key(name) {
                return Err(Failure::new(1, format!("service {name:?} has no container to start")));
            }
        }
        let names: Vec<String> = containers.iter().map(|found| found.service.clone()).collect();
        for name in &names {
            for dependency in project.service(name)?.depends_on.keys() {
                if !there.contains_key(dependency) {
                    return Err(Failure::new(1, format!("{name} is missing dependency {dependency}")));
                }
            }
        }
        let up = Up::only(self, &project, names.clone());
        let pending: Vec<(String, bool)> = containers
            .iter()
            .filter(|found| !found.state(&self.machine).is_up())
            .map(|found| (found.service.clone(), true))
            .collect();
        up.start(&project.levels(&names)?, &pending)?;
        Ok(())
    }

    fn start_one(&self, container: &Container) -> Result<()> {
        let ready = container.start(&self.machine)?.ready();
        ready
            .map(drop)
            .map_err(|error| anyhow::anyhow!("Error response from daemon: {}: {error:#}", container.name))
    }

    fn kill(&self, args: &Args) -> Result<(), Failure> {
        let signal = args.value("signal").unwrap_or("SIGKILL");
        let Some(number) = signal_number(signal) else {
            return Err(Failure::new(1, format!("Invalid signal: {signal}")));
        };
        let project = self.project()?;
        let _lock = self.lock()?;
        for container in self.chosen(&project, &args.rest)? {
            if container.state(&self.machine).is_up() {
                self.say(&container.name, "Killing");
                container.kill(&self.machine, number)?;
                self.say(&container.name, "Killed");
            }
        }
        Ok(())
    }

    fn remove(&self, args: &Args) -> Result<(), Failure> {
        if !args.has("force") {
            return Err(Failure::new(1, "the sandbox removes without asking only (-f)"));
        }
        let project = self.project()?;
        let _lock = self.lock()?;
        let containers = self.chosen(&project, &args.rest)?;
        if args.has("stop") {
            let all: Vec<&Container> = containers.iter().collect();
            self.stop_all(&all, None)?;
        }
        for container in &containers {
            if !container.state(&self.machine).is_up() {
                self.remove_one(container)?;
            }
        }
        Ok(())
    }

    fn port(&self, args: &Args) -> Result<(), Failure> {
        let [service, port] = &args.rest[..] else {
            return Err(Failure::new(USAGE, "\"docker compose port\" requires exactly 2 arguments"));
        };
        let project = self.project()?;
        project.service(service)?;
        let containers = self.containers(&project)?;
        let container = containers
            .get(service)
            .filter(|found| found.state(&self.machine).is_up())
            .with_context(|| format!("no container found for service {service:?}"))?;
        let wanted = port.strip_suffix("/tcp").unwrap_or(port);
        let mut ports = container.ports.iter();
        match ports.find(|found| found.target.to_string() == wanted) {
            Some(found) => Ok(print(&format!("{}:{}\n", found.host, found.published))?),
            None => Err(Failure::new(1, format!("no port {wanted}/tcp for container {}", container.name))),
        }
    }

    fn version(&self, args: &Args) -> Result<(), Failure> {
        let text = match (args.has("short"), args.value("format")) {
            (true, _) => format!("{VERSION}\n"),
            (_, Some("json")) => format!("{{\"version\":\"v{VERSION}\"}}\n"),
            _ => format!("Docker Compose version v{VERSION}\n"),
        };
        Ok(print(&text)?)
    }
}

pub fn cells(lines: &[Map<String, Value>], keys: &[&str]) -> Vec<Vec<String>> {
    let cell = |line: &Map<String, Value>, key: &str| {
        let value = line.get(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    lines.iter().map(|line| keys.iter().map(|key| cell(line, key)).collect()).collect()
}

/// One run of `up`.
struct Up<'a> {
    compose: &'a Compose,
    project: &'a Project,
    /// The services asked for, without what they depend on.
    named: Vec<String>,
    no_deps: bool,
    force: bool,
    keep: bool,
    grace: Option<Duration>,
}

impl<'a> Up<'a> {
    fn only(compose: &'a Compose, project: &'a Project, named: Vec<String>) -> Up<'a> {
        Up { compose, project, named, no_deps: false, force: false, keep: true, grace: None }
    }

    /// Makes the containers that are missing or outdated. Gives those that are to be started, and
    /// whether each has a container already (a dry run makes none).
    fn make(&self, levels: &[Vec<String>], drop_orphans: bool) -> Result<Vec<(String, bool)>> {
        let (compose, machine) = (self.compose, &self.compose.machine);
        let existing = compose.containers(self.project)?;
        if drop_orphans && !compose.dry_run {
            for (service, container) in &existing {
                if !self.project.services.contains_key(service) {
                    container.stop(machine, self.grace)?;
                    compose.remove_one(container)?;
                }
            }
        }
        let mut pending = Vec::new();
        for name in levels.iter().flatten() {
            let service = self.project.service(name)?;
            let fresh = self.describe(service)?;
            let Some(old) = existing.get(name) else {
                compose.say(&fresh.name, "Creating");
                if !compose.dry_run {
                    fresh.create(machine)?;
                }
                compose.say(&fresh.name, "Created");
                pending.push((name.clone(), !compose.dry_run));
                continue;
            };
            let hash = "com.docker.compose.config-hash";
            let outdated = old.labels.get(hash) != fresh.labels.get(hash);
            let forced = self.force && self.named.contains(name);
            if !self.keep && (forced || outdated) {
                compose.say(&old.name, "Recreate");
                if !compose.dry_run {
                    old.stop(machine, self.grace)?;
                    old.remove(machine)?;
                    fresh.create(machine)?;
                }
                compose.say(&fresh.name, "Recreated");
                pending.push((name.clone(), true));
            } else if old.state(machine).is_up() {
                compose.say(&old.name, "Running");
            } else {
                pending.push((name.clone(), true));
            }
        }
        Ok(pending)
    }

    fn describe(&self, service: &Service) -> Result<Container> {
        let (machine, project) = (&self.compose.machine, self.project);
        let image = Image::of(&service.image)?;
        if image == Image::Postgres && !service.mounts.is_empty() {
            bail!("service {:?}: the sandbox mounts nothing into a Postgres container", service.name);
        }
        let mut environment: BTreeMap<String, String> = image.environment().into_iter().collect();
        environment.extend(service.environment.clone());
        let address = |index: usize| format!("{}.{}", machine.network, NETWORK_BASE + index);
        let hosts: Vec<(String, String)> =
            project.services.keys().enumerate().map(|(index, name)| (name.clone(), address(index))).collect();
        let mut resolve = Vec::new();
        for (index, other) in project.services.values().enumerate() {
            let mut ports: Vec<u16> = other.ports.iter().map(|port| port.target).collect();
            if Image::of(&other.image)? == Image::Postgres && !ports.contains(&5432) {
                ports.push(5432);
            }
            for port in ports {
                resolve.push(format!("{}:{port}={}:{port}", other.name, address(index)));
            }
        }
        let own = hosts.iter().find(|(name, _)| *name == service.name);
        let own = own.map(|(_, address)| address.clone());
        let depends_on: Vec<String> = match self.no_deps {
            true => Vec::new(),
            false => service
                .depends_on
                .iter()
                .map(|(name, healthy)| {
                    let condition = if *healthy { "service_healthy" } else { "service_started" };
                    format!("{name}:{condition}:false")
                })
                .collect(),
        };
        let labels = [
            ("config-hash", service.hash(self.no_deps)),
            ("container-number", "1".to_owned()),
            ("depends_on", depends_on.join(",")),
            ("image", image.id()),
            ("oneoff", "False".to_owned()),
            ("project", project.name.clone()),
            ("project.config_files", project.file.display().to_string()),
            ("project.working_dir", project.dir.display().to_string()),
            ("service", service.name.clone()),
            ("version", VERSION.to_owned()),
        ];
        Ok(Container {
            id: fresh_id()?,
            name: format!("{}-{}-1", project.name, service.name),
            project: project.name.clone(),
            service: service.name.clone(),
            image_name: service.image.clone(),
            image,
            command: service.command.clone().unwrap_or_else(|| image.command()),
            environment: environment.into_iter().collect(),
            labels: labels
                .into_iter()
                .map(|(key, value)| (format!("com.docker.compose.{key}"), value))
                .collect(),
            created: now(),
            address: own.context("a service has no address")?,
            hosts,
            resolve: resolve.join(","),
            ports: service.ports.clone(),
            volumes: service
                .volumes
                .iter()
                .map(|(name, target)| (format!("{}_{name}", project.name), target.clone()))
                .collect(),
            mounts: service.mounts.clone(),
            health: service.health.clone(),
            restart: service.restart.clone(),
            stop_grace: service.stop_grace,
            init: service.init,
        })
    }

    /// Starts what is pending, each when what it depends on is as it wants it.
    fn start(&self, levels: &[Vec<String>], pending: &[(String, bool)]) -> Result<()> {
        let compose = self.compose;
        for level in levels {
            let now: Vec<&String> =
                level.iter().filter(|name| pending.iter().any(|(other, _)| other == *name)).collect();
            if !self.no_deps {
                let mut awaited = Vec::new();
                for name in &now {
                    let depends_on = &self.project.service(name)?.depends_on;
                    awaited.extend(depends_on.iter().filter(|(_, healthy)| **healthy));
                }
                awaited.sort();
                awaited.dedup();
                for (name, _) in awaited {
                    self.await_dependency(name)?;
                }
            }
            let containers = compose.containers(self.project)?;
            let mut starting = Vec::new();
            for name in now {
                let known = containers.get(name);
                let shown = known.map_or_else(
                    || format!("{}-{name}-1", self.project.name),
                    |container| container.name.clone(),
                );
                compose.say(&shown, "Starting");
                match known.filter(|_| !compose.dry_run) {
                    Some(container) => {
                        starting.push((container, container.start(&compose.machine)?));
                    }
                    None => compose.say(&shown, "Started"),
                }
            }
            for (container, mut start) in starting {
                let ready = start.ready();
                ready.map_err(|error| {
                    anyhow::anyhow!("Error response from daemon: {}: {error:#}", container.name)
                })?;
                compose.say(&container.name, "Started");
            }
        }
        Ok(())
    }

    fn await_dependency(&self, name: &str) -> Result<()> {
        let compose = self.compose;
        let container = format!("{}-{name}-1", self.project.name);
        compose.say(&container, "Waiting");
        if !compose.dry_run {
            let Some(found) = compose.containers(self.project)?.remove(name) else {
                bail!("no container for {name}");
            };
            let mut outcome = Ok(false);
            process::wait_until(Duration::from_secs(3600), || {
                outcome = compose.is_healthy(&found);
                !matches!(outcome, Ok(false))
            });
            outcome.context("dependency failed to start")?;
        }
        compose.say(&container, "Healthy");
        Ok(())
    }
}

fn fresh_id() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(hex(&bytes))
}
