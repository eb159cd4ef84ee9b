//! Containers of the sandbox: what each was made from, and what its supervisor last said of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::file::{Health, Port};
use super::mounts::Mount;
use crate::place::{make_dir, write_private};
use crate::sandbox::machine::{Machine, POSTGRES_IMAGE, SERVICES_IMAGE};
use crate::sandbox::process::{self, Process};

/// In the environment of every process of a container, with the container's id.
pub const CONTAINER_MARK: &str = "SEQN_STAGING_CONTAINER";

/// Where the image's Postgres has its socket.
pub const SOCKET_DIR: &str = "/var/run/postgresql";

/// The time until `docker stop` turns to SIGKILL is in this file while it waits.
const GRACE_FILE: &str = "grace";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Image {
    Postgres,
    Services,
}

impl Image {
    pub fn of(name: &str) -> Result<Image> {
        match name {
            POSTGRES_IMAGE => Ok(Image::Postgres),
            SERVICES_IMAGE => Ok(Image::Services),
            _ => bail!("Error response from daemon: No such image: {name}"),
        }
    }

    pub fn id(self) -> String {
        let name = match self {
            Image::Postgres => POSTGRES_IMAGE,
            Image::Services => SERVICES_IMAGE,
        };
        use sha2::{Digest, Sha256};
        format!("sha256:{}", crate::place::hex(&Sha256::digest(name)))
    }

    pub fn environment(self) -> Vec<(String, String)> {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let pairs: &[(&str, &str)] = match self {
            Image::Postgres => &[("PATH", path), ("PGDATA", "/var/lib/postgresql/data"), ("LANG", "C.UTF-8")],
            Image::Services => &[("PATH", path)],
        };
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    pub fn command(self) -> Vec<String> {
        match self {
            Image::Postgres => vec!["postgres".to_owned()],
            Image::Services => Vec::new(),
        }
    }

    pub fn stop_signal(self) -> i32 {
        match self {
            // Closes sessions instead of waiting for them.
            Image::Postgres => libc::SIGINT,
            Image::Services => libc::SIGTERM,
        }
    }
}

/// Fixed when the container is made: `restart` runs it again with exactly this.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub project: String,
    pub service: String,
    pub image_name: String,
    pub image: Image,
    pub command: Vec<String>,
    /// That of the image, overridden by the service's.
    pub environment: Vec<(String, String)>,
    pub labels: BTreeMap<String, String>,
    pub created: Duration,
    /// Its own on the sandbox's loopback network.
    pub address: String,
    /// All services' names and addresses.
    pub hosts: Vec<(String, String)>,
    /// What the stand-in services are told of their peers.
    pub resolve: String,
    pub ports: Vec<Port>,
    /// Named volume, as Docker names it, and where it is mounted.
    pub volumes: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub health: Option<Health>,
    pub restart: String,
    pub stop_grace: Duration,
    pub init: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Restarting,
    Exited,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    pub supervisor: Option<Process>,
    pub child: Option<Process>,
    pub started: Option<Duration>,
    pub finished: Option<Duration>,
    pub exit_code: i32,
    pub restarts: u32,
    pub error: String,
    pub health: Option<HealthState>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthState {
    /// starting, healthy or unhealthy.
    pub status: String,
    pub failing_streak: u32,
    pub log: Vec<Probe>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    pub start: Duration,
    pub end: Duration,
    pub exit_code: i32,
    pub output: String,
}

impl State {
    pub fn created() -> State {
        State {
            status: Status::Created,
            supervisor: None,
            child: None,
            started: None,
            finished: None,
            exit_code: 0,
            restarts: 0,
            error: String::new(),
            health: None,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.status, Status::Running | Status::Restarting)
    }

    pub fn health_word(&self) -> &str {
        match &self.health {
            Some(health) if self.status == Status::Running => &health.status,
            _ => "",
        }
    }
}

impl Container {
    pub fn dir(&self, machine: &Machine) -> PathBuf {
        container_dir(machine, &self.id)
    }

    /// What stands for its file system.
    pub fn root(&self, machine: &Machine) -> PathBuf {
        self.dir(machine).join("root")
    }

    pub fn log(&self, machine: &Machine) -> PathBuf {
        self.dir(machine).join("log")
    }

    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    pub fn load(machine: &Machine, id: &str) -> Result<Container> {
        let path = container_dir(machine, id).join("container.json");
        let text = fs::read_to_string(&path).with_context(|| format!("no container {id}"))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn create(&self, machine: &Machine) -> Result<()> {
        let dir = self.dir(machine);
        make_dir(&self.root(machine), 0o755)?;
        self.save_state(machine, &State::created())?;
        // Last, because its presence makes it a container.
        write_private(&dir.join("container.json"), &serde_json::to_string(self)?)
    }

    /// All containers, in the order they were made in.
    pub fn all(machine: &Machine) -> Result<Vec<Container>> {
        let listing = match fs::read_dir(machine.docker.join("containers")) {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("cannot list the containers"),
        };
        let mut all: Vec<Container> = listing
            .flatten()
            // One that is just being made or removed is not there.
            .filter_map(|entry| Container::load(machine, entry.file_name().to_str()?).ok())
            .collect();
        all.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(all)
    }

    /// By name, id or the beginning of an id.
    pub fn find(machine: &Machine, wanted: &str) -> Result<Container> {
        let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
        let all = Container::all(machine)?;
        let by_name = all.iter().find(|found| found.name == wanted);
        let by_id = || {
            let mut found = all.iter().filter(|found| found.id.starts_with(wanted));
            found.next().filter(|_| !wanted.is_empty() && found.next().is_none())
        };
        match by_name.or_else(by_id) {
            Some(found) => Ok(found.clone()),
            None => bail!("Error response from daemon: No such container: {wanted}"),
        }
    }

    /// What the supervisor last said, corrected where it was killed.
    pub fn state(&self, machine: &Machine) -> State {
        let path = self.dir(machine).join("state.json");
        let read = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
        let mut state: State = read.unwrap_or_else(State::created);
        if state.is_up() && !state.supervisor.is_some_and(|found| found.is_alive()) {
            state.status = Status::Exited;
            state.exit_code = 137;
        }
        state
    }

    pub fn save_state(&self, machine: &Machine, state: &State) -> Result<()> {
        let path = self.dir(machine).join("state.json");
        write_private(&path, &serde_json::to_string(state)?)
    }

    /// Begins to start it; `ready` of the answer waits until its process runs.
    pub fn start(&self, machine: &Machine) -> Result<process::Starting> {
        // The output of earlier starts stays, and so does what the supervisor had to complain of.
        let log = self.dir(machine).join("supervisor.log");
        let mut command = std::process::Command::new(machine.program());
        command
            .env_clear()
            .env(process::MARK, &machine.name)
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
            .arg("supervise")
            .arg(&machine.dir)
            .arg(&self.id);
        if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
            command.env("XDG_CACHE_HOME", cache);
        }
        process::start_daemon(command, &log)
    }

    /// Stops it; after this time with SIGKILL.
    pub fn stop(&self, machine: &Machine, grace: Option<Duration>) -> Result<()> {
        let grace = grace.unwrap_or(self.stop_grace);
        let state = self.state(machine);
        if let Some(supervisor) = state.supervisor.filter(Process::is_alive) {
            let file = self.dir(machine).join(GRACE_FILE);
            fs::write(&file, grace.as_millis().to_string())?;
            supervisor.signal(libc::SIGTERM);
            let patience = grace + Duration::from_secs(10);
            if !supervisor.wait(patience) {
                supervisor.signal(libc::SIGKILL);
                supervisor.wait(Duration::from_secs(5));
            }
            let _ = fs::remove_file(&file);
        }
        self.end_rest(state.child);
        let mut state = self.state(machine);
        if state.is_up() || state.status == Status::Exited && state.supervisor.is_some() {
            state.status = Status::Exited;
            state.supervisor = None;
            state.child = None;
            self.save_state(machine, &state)?;
        }
        Ok(())
    }

    /// Ends what a supervisor that was killed left, and what `exec` still runs.
    fn end_rest(&self, child: Option<Process>) {
        let mut rest = process::marked(CONTAINER_MARK, &self.id);
        rest.extend(child.filter(Process::is_alive));
        process::end(&rest);
    }

    pub fn kill(&self, machine: &Machine, signal: i32) -> Result<()> {
        let state = self.state(machine);
        match state.child.filter(Process::is_alive) {
            Some(child) if state.status == Status::Running => {
                if signal == libc::SIGKILL {
                    // Nothing may start it again.
                    return self.stop(machine, Some(Duration::ZERO));
                }
                child.signal(signal);
                Ok(())
            }
            _ => bail!("Error response from daemon: Cannot kill container: {}: is not running", self.name),
        }
    }

    pub fn remove(&self, machine: &Machine) -> Result<()> {
        let sockets = machine.socket_dir(&self.id);
        for dir in [sockets, self.dir(machine)] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn grace_asked(&self, machine: &Machine) -> Option<Duration> {
        let text = fs::read_to_string(self.dir(machine).join(GRACE_FILE)).ok()?;
        Some(Duration::from_millis(text.parse().ok()?))
    }

    pub fn data_volume(&self) -> Option<&str> {
        let mut volumes = self.volumes.iter();
        let found = volumes.find(|(_, target)| target == "/var/lib/postgresql/data");
        found.map(|(name, _)| name.as_str())
    }

    pub fn variable(&self, key: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// How a process of this container is run here: a command that looks like one inside to
    /// whoever runs it. An error is what the engine would say.
    pub fn inside(
        &self,
        machine: &Machine,
        command: &[String],
        more: &[(String, String)],
    ) -> Result<std::process::Command> {
        let Some((program, args)) = command.split_first() else {
            bail!("no command");
        };
        let mut environment: BTreeMap<String, String> = self.environment.iter().cloned().collect();
        environment.extend(more.iter().cloned());
        environment.insert("HOSTNAME".to_owned(), self.short_id().to_owned());
        environment.entry("HOME".to_owned()).or_insert_with(|| "/".to_owned());
        let (file, args) = match self.image {
            Image::Postgres => {
                let path = format!("{}:{}", machine.postgres_bin().display(), "/usr/bin:/bin");
                let file = look_up(program, &path)?;
                environment.insert("PATH".to_owned(), path);
                (file, args.to_vec())
            }
            Image::Services => {
                // All that the image has.
                if program != "/seqn-standin" {
                    return Err(not_found(program));
                }
                if let Some(listen) = environment.get_mut("LISTEN") {
                    *listen = listen.replacen("0.0.0.0:", &format!("{}:", self.address), 1);
                }
                environment.insert("SEQN_STANDIN_RESOLVE".to_owned(), self.resolve.clone());
                let root = self.root(machine);
                let real = |mount: &Mount| format!("{}={}", mount.target, mount.real(&root).display());
                let mounts: Vec<String> = self.mounts.iter().map(real).collect();
                environment.insert("SEQN_STANDIN_MOUNTS".to_owned(), mounts.join(","));
                let own = format!("://{}", self.address);
                let args =
                    args.iter().map(|arg| arg.replace("://127.0.0.1", &own).replace("://localhost", &own));
                (machine.standin.clone(), args.collect())
            }
        };
        let mut inside = std::process::Command::new(file);
        inside
            .args(args)
            .env_clear()
            .envs(environment)
            .env(process::MARK, &machine.name)
            .env(CONTAINER_MARK, &self.id)
            .current_dir(self.root(machine));
        Ok(inside)
    }
}

fn look_up(program: &str, path: &str) -> Result<PathBuf> {
    if program.contains('/') {
        let file = PathBuf::from(program);
        return file.is_file().then_some(file).ok_or_else(|| not_found(program));
    }
    let mut dirs = path.split(':').map(|dir| Path::new(dir).join(program));
    dirs.find(|file| file.is_file()).ok_or_else(|| not_found(program))
}

fn not_found(program: &str) -> anyhow::Error {
    let problem = match program.contains('/') {
        true => format!("stat {program}: no such file or directory"),
        false => format!("exec: {program:?}: executable file not found in $PATH"),
    };
    anyhow::anyhow!(
        "OCI runtime exec failed: exec failed: unable to start container process: {problem}: unknown"
    )
}

fn container_dir(machine: &Machine, id: &str) -> PathBuf {
    machine.docker.join("containers").join(id)
}

/// Since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `2026-11-24T04:03:01.773676714Z`
pub fn rfc3339(time: Duration) -> String {
    let (date, seconds) = date(time);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{date}T{h:02}:{m:02}:{s:02}.{:09}Z", time.subsec_nanos())
}

/// `2026-11-24 04:03:01 +0000 UTC`
pub fn in_words(time: Duration) -> String {
    let (date, seconds) = date(time);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{date} {h:02}:{m:02}:{s:02} +0000 UTC")
}

/// The date, and the seconds of that day.
fn date(time: Duration) -> (String, u64) {
    let days = time.as_secs() / 86_400;
    // Counted in eras of 400 years from 1 March of the year 0.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let date = format!("{:04}-{month:02}-{day:02}", year + era * 400 + next);
    (date, time.as_secs() % 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_docker_writes_them() {
        let at = |seconds| Duration::new(seconds, 5);
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(in_words(at(1_795_492_981)), "2026-11-24 04:03:01 +0000 UTC");
        assert_eq!(in_words(at(1_704_067_199)), "2023-12-31 23:59:59 +0000 UTC");
    }
}
