//! One process for each running container: it starts the service, keeps its output, asks after
//! its health, passes its published ports on, and starts it again where the policy says so.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::container::{CONTAINER_MARK, Container, HealthState, Image, Probe, State, Status, now, rfc3339};
use super::file::Health;
use crate::sandbox::machine::Machine;
use crate::sandbox::postgres::First;
use crate::sandbox::process::{MARK, Process, tell_starter};

/// Until it was healthy once, a service is asked after this time, and then after half as long again each
/// time, so that tests needn't wait for a whole interval. Failures count at the pace of the interval only.
const EAGER: Duration = Duration::from_millis(50);

/// While it is well, it is asked once in so many intervals: of what many sandboxes do on one machine, that was
/// a large part. What is not well is asked at the pace of the interval.
const CALM: u32 = 4;

/// Runs until the container has stopped.
pub fn run(machine: Machine, id: &str) -> Result<()> {
    let container = Container::load(&machine, id)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(Supervisor::new(machine, container)?.run());
    if let Err(error) = &result {
        // A starter that already heard `ok` is gone; then this goes nowhere.
        tell_starter(&format!("{error:#}"));
    }
    result
}

struct Supervisor {
    machine: Machine,
    container: Container,
    state: Mutex<State>,
    log: Mutex<File>,
}

enum Ended {
    Itself(ExitStatus),
    Stopped(ExitStatus),
}

impl Supervisor {
    fn new(machine: Machine, container: Container) -> Result<Arc<Supervisor>> {
        let log = File::options().create(true).append(true).open(container.log(&machine))?;
        let mut state = container.state(&machine);
        state.supervisor = Process::this();
        state.restarts = 0;
        state.error = String::new();
        Ok(Arc::new(Supervisor { machine, container, state: Mutex::new(state), log: Mutex::new(log) }))
    }

    async fn run(self: Arc<Supervisor>) -> Result<()> {
        // From here on a stop is heeded, also while the start still goes on.
        let mut stop = signal(SignalKind::terminate())?;
        if let Err(error) = self.begin().await {
            self.update(|state| {
                state.status = Status::Exited;
                state.exit_code = 128;
                state.error = format!("{error:#}");
                state.finished = Some(now());
                state.supervisor = None;
            })?;
            return Err(error);
        }
        let mut pause = Duration::from_millis(100);
        let mut told = false;
        loop {
            let began = Instant::now();
            let mut child = self.spawn()?;
            let pid = child.id().and_then(Process::of);
            self.update(|state| {
                state.status = Status::Running;
                state.child = pid;
                state.started = Some(now());
                state.exit_code = 0;
                state.health = self.container.health.as_ref().map(|_| HealthState {
                    status: "starting".to_owned(),
                    failing_streak: 0,
                    log: Vec::new(),
                });
            })?;
            if !told {
                tell_starter("ok");
                told = true;
            }
            let outputs = [
                child.stdout.take().map(|pipe| tokio::spawn(self.clone().keep("stdout", pipe))),
                child.stderr.take().map(|pipe| tokio::spawn(self.clone().keep("stderr", pipe))),
            ];
            let asking =
                self.container.health.clone().map(|health| tokio::spawn(self.clone().ask_after(health)));
            let ended = tokio::select! {
                status = child.wait() => Ended::Itself(status?),
                _ = stop.recv() => Ended::Stopped(self.stop(&mut child).await?),
            };
            if let Some(asking) = asking {
                asking.abort();
            }
            for output in outputs.into_iter().flatten() {
                // What a child of the service holds open is not waited for.
                let _ = timeout(Duration::from_millis(200), output).await;
            }
            let again = self.settle(&ended)?;
            if !again {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(10) {
                pause = Duration::from_millis(100);
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.recv() => {
                    self.update(|state| {
                        state.status = Status::Exited;
                        state.supervisor = None;
                    })?;
                    return Ok(());
                }
            }
            pause = (pause * 2).min(Duration::from_secs(60));
            self.mount()?;
        }
    }

    fn mount(&self) -> Result<()> {
        let root = self.container.root(&self.machine);
        self.container.mounts.iter().try_for_each(|mount| mount.start(&root))
    }

    /// What precedes the first process: mounts, ports, and the files of the server.
    async fn begin(self: &Arc<Supervisor>) -> Result<()> {
        self.mount()?;
        for port in &self.container.ports {
            let host: Ipv4Addr = port.host.parse()?;
            let listener = TcpListener::bind((host, port.published)).await.with_context(|| {
                format!(
                    "driver failed programming external connectivity on endpoint {}: Bind for \
                     {host}:{} failed: port is already allocated",
                    self.container.name, port.published
                )
            })?;
            let address: Ipv4Addr = self.container.address.parse()?;
            tokio::spawn(pass_on(listener, SocketAddrV4::new(address, port.target).into()));
        }
        if self.container.image == Image::Postgres {
            self.prepare_postgres()?;
        }
        Ok(())
    }

    fn prepare_postgres(&self) -> Result<()> {
        let (machine, container) = (&self.machine, &self.container);
        let volume = container.data_volume().context("a Postgres container needs a volume for its data")?;
        let volume = machine.volume(volume);
        machine.postgres.make_dir(&volume)?;
        machine.postgres.make_dir(&machine.socket_dir(&container.id))?;
        let required = |key: &str| {
            container
                .variable(key)
                .filter(|value| !value.is_empty())
                .with_context(|| format!("{key}: parameter not set"))
        };
        let first = First {
            user: required("POSTGRES_USER")?,
            database: required("POSTGRES_DB")?,
            password: required("POSTGRES_PASSWORD")?,
        };
        machine.postgres.prepare(&volume.join("data"), &volume, &first)
    }

    fn spawn(&self) -> Result<Child> {
        let (machine, container) = (&self.machine, &self.container);
        let mut command = match container.image {
            Image::Services => container.inside(machine, &container.command, &[])?,
            Image::Postgres => self.postgres_server()?,
        };
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let orphaned = match container.image {
            // An immediate shutdown, which leaves no shared memory behind.
            Image::Postgres => libc::SIGQUIT,
            Image::Services => libc::SIGKILL,
        };
        unsafe {
            // The service doesn't outlive its supervisor.
            command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, orphaned) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        Command::from(command).spawn().with_context(|| format!("cannot start {}", container.name))
    }

    fn postgres_server(&self) -> Result<std::process::Command> {
        let (machine, container) = (&self.machine, &self.container);
        let Some(volume) = container.data_volume() else {
            bail!("a Postgres container needs a volume for its data");
        };
        let Some(("postgres", args)) =
            container.command.split_first().map(|(program, args)| (program.as_str(), args))
        else {
            bail!("a Postgres container runs postgres, not {:?}", container.command);
        };
        let mut command = machine.postgres.command("postgres");
        command
            .arg("-D")
            .arg(machine.volume(volume).join("data"))
            .arg("-c")
            .arg(format!("listen_addresses={}", container.address))
            .arg("-c")
            .arg(format!("unix_socket_directories={}", machine.socket_dir(&container.id).display()))
            .args(["-c", "unix_socket_permissions=0777", "-c", "port=5432"])
            .args(args)
            .env(MARK, &machine.name)
            .env(CONTAINER_MARK, &container.id);
        Ok(command)
    }

    /// Asks it to end, and insists after the time it was given.
    async fn stop(&self, child: &mut Child) -> Result<ExitStatus> {
        let asked = self.container.grace_asked(&self.machine);
        let grace = asked.unwrap_or(self.container.stop_grace);
        let pid = child.id().and_then(Process::of);
        if let Some(pid) = pid {
            pid.signal(self.container.image.stop_signal());
        }
        if let Ok(status) = timeout(grace, child.wait()).await {
            return Ok(status?);
        }
        if let Some(pid) = pid {
            match self.container.image {
                Image::Postgres => pid.signal(libc::SIGQUIT),
                Image::Services => pid.signal(libc::SIGKILL),
            }
        }
        if let Ok(status) = timeout(Duration::from_secs(2), child.wait()).await {
            return Ok(status?);
        }
        child.start_kill()?;
        Ok(child.wait().await?)
    }

    /// Records how it ended; says whether it is to be started again.
    fn settle(&self, ended: &Ended) -> Result<bool> {
        let (status, stopped) = match ended {
            Ended::Itself(status) => (status, false),
            Ended::Stopped(status) => (status, true),
        };
        let code = match (status.code(), status.signal()) {
            (Some(code), _) => code,
            (None, signal) => 128 + signal.unwrap_or(0),
        };
        let again = !stopped
            && match self.container.restart.as_str() {
                "always" | "unless-stopped" => true,
                "on-failure" => code != 0,
                _ => false,
            };
        self.update(|state| {
            state.exit_code = code;
            state.finished = Some(now());
            state.child = None;
            if again {
                state.status = Status::Restarting;
                state.restarts += 1;
            } else {
                state.status = Status::Exited;
                state.supervisor = None;
            }
        })?;
        Ok(again)
    }

    fn update(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.container.save_state(&self.machine, &state)
    }

    /// Writes each line of output to the log, with its time.
    async fn keep(self: Arc<Supervisor>, stream: &'static str, mut pipe: impl AsyncRead + Unpin) {
        let mut line = Vec::new();
        let mut buffer = vec![0; 8192];
        loop {
            let count = pipe.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                break;
            }
            for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.ends_with(b"\n") {
                    self.write_log(stream, &line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.write_log(stream, &line);
        }
    }

    fn write_log(&self, stream: &str, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let entry = json!({"time": rfc3339(now()), "stream": stream, "log": text});
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk is not the service's fault.
        let _ = log.write_all(format!("{entry}\n").as_bytes());
    }

    async fn ask_after(self: Arc<Supervisor>, health: Health) {
        let began = Instant::now();
        let mut counted = began;
        let mut soon = EAGER;
        loop {
            let pause = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                match state.health.as_ref().map(|health| (health.status.as_str(), health.failing_streak)) {
                    Some(("starting", _)) => soon,
                    Some(("healthy", 0)) => health.interval * CALM,
                    _ => health.interval,
                }
            };
            sleep(pause).await;
            soon = (soon * 3 / 2).min(health.interval);
            let probe = self.probe(&health).await;
            let passed = probe.exit_code == 0;
            let counts = passed || counted.elapsed() >= health.interval;
            if !counts {
                continue;
            }
            counted = Instant::now();
            let in_grace = began.elapsed() < health.start_period;
            let recorded = self.update(|state| {
                let Some(found) = &mut state.health else {
                    return;
                };
                found.log.push(probe);
                if found.log.len() > 5 {
                    found.log.remove(0);
                }
                if passed {
                    found.failing_streak = 0;
                    found.status = "healthy".to_owned();
                } else if !(in_grace && found.status == "starting") {
                    found.failing_streak += 1;
                    if found.failing_streak >= health.retries {
                        found.status = "unhealthy".to_owned();
                    }
                }
            });
            if recorded.is_err() {
                // The container was removed.
                return;
            }
        }
    }

    async fn probe(&self, health: &Health) -> Probe {
        let start = now();
        let finished = |exit_code: i32, output: String| Probe { start, end: now(), exit_code, output };
        let test = match health.test.split_first() {
            Some((kind, line)) if kind == "CMD-SHELL" => {
                let mut shell = vec!["/bin/sh".to_owned(), "-c".to_owned()];
                shell.extend(line.iter().cloned());
                shell
            }
            Some((_, command)) => command.to_vec(),
            None => return finished(-1, "no test".to_owned()),
        };
        let mut command = match self.container.inside(&self.machine, &test, &[]) {
            Ok(command) => Command::from(command),
            Err(error) => return finished(-1, format!("{error:#}")),
        };
        command.stdin(Stdio::null()).kill_on_drop(true);
        match timeout(health.timeout, command.output()).await {
            Ok(Ok(out)) => {
                let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
                text.push_str(&String::from_utf8_lossy(&out.stderr));
                text.truncate(text.floor_char_boundary(4096));
                finished(out.status.code().unwrap_or(-1), text)
            }
            Ok(Err(error)) => finished(-1, error.to_string()),
            Err(_) => {
                let limit = health.timeout.as_secs_f64();
                finished(-1, format!("Health check exceeded timeout ({limit}s)"))
            }
        }
    }
}

/// A published port.
async fn pass_on(listener: TcpListener, target: SocketAddr) {
    loop {
        let Ok((mut outside, _)) = listener.accept().await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        tokio::spawn(async move {
            // Where nothing listens inside, the connection ends without a byte, as with Docker.
            if let Ok(mut inside) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}
