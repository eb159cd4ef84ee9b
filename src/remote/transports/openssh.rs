//! The user's own `ssh`: a master that we start with their options, keys, agent and known_hosts,
//! whose socket the openssh crate then uses. It lives no longer than we do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::explain;
use crate::remote::askpass::Askpass;
use crate::remote::connections::{Connection, FREE, Link, MOST_CHANNELS, OPEN};
use crate::remote::shell::Channel;
use crate::remote::{RemoteError, RemoteErrorKind, Stream};

/// How long to wait for what an ssh that ended still has to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long an ssh that answers no more may take to end.
const ENDS: Duration = Duration::from_millis(200);

/// A running master connection.
pub struct Master {
    session: Arc<openssh::Session>,
    child: Mutex<Option<Child>>,
    socket: PathBuf,
    /// Holds the socket; removed with us.
    _dir: tempfile::TempDir,
    channels: Arc<Semaphore>,
    place: String,
}

impl Master {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// With what `ssh` said, put into words: unreachable, unknown or changed host key, refused.
    pub async fn start(connection: &Connection) -> Result<Master, RemoteError> {
        let unreachable =
            |message: String| RemoteError { kind: RemoteErrorKind::Unreachable, message, help: None };
        // Short: a socket's path has about 100 bytes.
        let dir = tempfile::Builder::new()
            .prefix("seqn-")
            .tempdir()
            .map_err(|e| unreachable(format!("can't make a temporary folder: {e}")))?;
        let socket = dir.path().join("s");
        let askpass = match &connection.password {
            Some(password) => Some(Askpass::start(dir.path(), password.clone())?),
            None => None,
        };
        let mut command = master_command(connection, &socket);
        if let Some(askpass) = &askpass {
            askpass.prepare(&mut command);
        }
        let mut child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => unreachable("there is no ssh on this machine".into())
                .with_help("install the OpenSSH client, or use the built-in one: -c native"),
            _ => unreachable(format!("can't start ssh: {e}")),
        })?;
        if let (Some(askpass), Some(pid)) = (&askpass, child.id()) {
            askpass.answer_only(pid);
        }
        let Some(mut stderr) = child.stderr.take() else {
            return Err(unreachable("ssh was started without pipes".into()));
        };
        let limit =
            connection.timeout + Duration::from_secs(if connection.password.is_some() { 30 } else { 20 });
        let mut said = Vec::new();
        let ready = async {
            loop {
                if socket.exists() {
                    return Ok(());
                }
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(Some(status));
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(limit, ready) => outcome.unwrap_or(Err(None)),
            // Reads along, so that a talkative ssh is never blocked; ends when ssh does.
            _ = async { stderr.read_to_end(&mut said).await.ok(); std::future::pending::<()>().await } => Err(None),
        };
        match outcome {
            Ok(()) => {
                // Whatever else ssh says must not block it.
                tokio::spawn(async move {
                    let mut rest = [0u8; 1024];
                    while matches!(stderr.read(&mut rest).await, Ok(n) if n > 0) {}
                });
                Ok(Master {
                    session: Arc::new(openssh::Session::resume_mux(socket.clone().into_boxed_path(), None)),
                    child: Mutex::new(Some(child)),
                    socket,
                    _dir: dir,
                    channels: Arc::new(Semaphore::new(MOST_CHANNELS)),
                    place: connection.place(),
                })
            }
            Err(status) => {
                child.start_kill().ok();
                // A ProxyCommand may hold the pipe for longer than ssh lives.
                tokio::time::timeout(LAST_WORDS, stderr.read_to_end(&mut said)).await.ok();
                let said = String::from_utf8_lossy(&said).trim().to_string();
                Err(explain(connection, &said, status.is_none().then_some(limit)))
            }
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, RemoteError> {
        match tokio::time::timeout(FREE, self.channels.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.lost(format!("all {MOST_CHANNELS} are in use"))),
        }
    }

    fn lost(&self, why: impl std::fmt::Display) -> RemoteError {
        RemoteError {
            kind: RemoteErrorKind::Unreachable,
            message: format!("no channel to {} could be opened: {why}", self.place),
            help: None,
        }
    }
}

fn master_command(connection: &Connection, socket: &Path) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-M").arg("-N").arg("-T").arg("-S").arg(socket);
    let mut option = |text: String| {
        command.arg("-o").arg(text);
    };
    // Of an option given twice ssh takes the first. What the master is comes first, then the
    // user's own arguments, then our defaults.
    option("ControlPersist=no".into());
    match connection.password {
        Some(_) => {
            option("NumberOfPasswordPrompts=1".into());
            option("PreferredAuthentications=password,keyboard-interactive".into());
        }
        // Nobody can answer a question in the middle of a run.
        None => option("BatchMode=yes".into()),
    }
    if let Some(key) = &connection.private_key {
        option(format!("IdentityFile=\"{}\"", key.display()));
        option("IdentitiesOnly=yes".into());
    }
    if let Some(port) = connection.port {
        option(format!("Port={port}"));
    }
    if let Some(user) = &connection.user {
        command.arg("-l").arg(user);
    }
    command.args(&connection.ssh_args);
    let mut option = |text: String| {
        command.arg("-o").arg(text);
    };
    option("LogLevel=ERROR".into());
    option(format!("ConnectTimeout={}", connection.timeout.as_secs().max(1)));
    option("ServerAliveInterval=15".into());
    option("ServerAliveCountMax=4".into());
    option(format!("StrictHostKeyChecking={}", if connection.host_key_checking { "yes" } else { "no" }));
    command.arg("--").arg(&connection.address);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: prctl is async-signal-safe; the master ends when we do, however we end.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    command
}

/// What ssh said, in words that tell what to do. With `gave_up`: it did not end within that time.
fn explain(connection: &Connection, said: &str, gave_up: Option<Duration>) -> RemoteError {
    if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        // `Offending ED25519 key in FILE:LINE`
        let offending = said.lines().find_map(|l| l.strip_prefix("Offending ")?.split_once(" in "));
        return explain::changed_host_key(connection, offending.map(|(_, place)| place.trim()));
    }
    if said.contains("is revoked") || said.contains("REVOKED HOST KEY") {
        return explain::unreachable(format!(
            "the host key of {} is REVOKED: somebody else may have it",
            connection.address
        ));
    }
    if said.contains("Host key verification failed") {
        return explain::unknown_host_key(connection, "");
    }
    if said.contains("bad permissions") || said.contains("UNPROTECTED PRIVATE KEY") {
        return explain::unreachable("the private key can be read by others, so ssh ignores it".into())
            .with_help("chmod 600 the key file");
    }
    if said.contains("Permission denied") {
        return explain::refused_login(connection, last_line(said));
    }
    let what = match said {
        s if s.contains("Connection refused") => "nothing listens there (connection refused)",
        s if s.contains("Could not resolve") => "the name can't be resolved",
        s if s.contains("timed out") => {
            return explain::no_answer(connection, connection.timeout.as_secs());
        }
        _ if gave_up.is_some() => {
            return explain::no_answer(connection, gave_up.unwrap_or_default().as_secs());
        }
        "" => "ssh ended without a word",
        other => other,
    };
    explain::no_connection(connection, what)
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim()
}

#[async_trait]
impl Link for Master {
    fn free(&self) -> usize {
        self.channels.available_permits()
    }

    async fn open(&self, command: &str) -> Result<Channel, RemoteError> {
        let permit = self.permit().await?;
        let mut remote = self.session.clone().arc_raw_command(command);
        remote.stdin(openssh::Stdio::piped()).stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
        let mut child = match tokio::time::timeout(OPEN, remote.spawn()).await {
            Ok(child) => child.map_err(|e| self.lost(e))?,
            Err(_) => return Err(self.lost(format!("no answer within {} s", OPEN.as_secs()))),
        };
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take())
        else {
            return Err(self.lost("it has no streams"));
        };
        Ok(Channel {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            keep: Box::new((child, permit)),
        })
    }

    /// `ssh -W` through the master: sshd connects.
    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        let permit = self.permit().await?;
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut child = Command::new("ssh")
            .args(["-F", "none", "-S"])
            .arg(&self.socket)
            // Only at this level it says that the other side is connected.
            .args(["-o", "BatchMode=yes", "-o", "LogLevel=DEBUG1", "-W", &address, "--", "seqn-play"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| self.lost(e))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(self.lost("it has no streams"));
        };
        let mut said = tokio::io::BufReader::new(stderr).lines();
        let mut last = String::new();
        let connected = async {
            while let Ok(Some(line)) = said.next_line().await {
                if line.contains("master session id") {
                    return true;
                }
                last = line;
            }
            false
        };
        let refused = |why: String| RemoteError {
            kind: RemoteErrorKind::Refused,
            message: format!("can't connect to {host} port {port}: {why}"),
            help: None,
        };
        match tokio::time::timeout(OPEN, connected).await {
            Err(_) => Err(refused(format!("no answer within {} s", OPEN.as_secs()))),
            Ok(false) if last.contains("refused by peer") => Err(refused("Connection refused".into())),
            Ok(false) => Err(self.lost(last)),
            Ok(true) => {
                // Whatever else it says must not block it.
                tokio::spawn(async move { while matches!(said.next_line().await, Ok(Some(_))) {} });
                let joined = tokio::io::join(stdout, stdin);
                Ok(Box::new(Forwarded { joined, _child: child, _permit: permit }))
            }
        }
    }

    async fn is_lost(&self) -> bool {
        // Its socket is closed a moment before it is known to have ended.
        let ended = async {
            while self.child.lock().await.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        };
        tokio::time::timeout(ENDS, ended).await.is_ok()
    }

    async fn close(&self) {
        if let Some(mut child) = self.child.lock().await.take() {
            // SIGTERM lets ssh close the connection in order; it is killed if it doesn't.
            if let Some(pid) = child.id() {
                // SAFETY: our own child, not yet waited for.
                unsafe { libc::kill(pid as i32, libc::SIGTERM) };
            }
            if tokio::time::timeout(Duration::from_secs(2), child.wait()).await.is_err() {
                child.kill().await.ok();
            }
        }
    }
}

/// The two pipes of a forwarding `ssh`, as one stream.
struct Forwarded {
    joined: tokio::io::Join<tokio::process::ChildStdout, tokio::process::ChildStdin>,
    _child: Child,
    _permit: OwnedSemaphorePermit,
}

impl tokio::io::AsyncRead for Forwarded {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.joined).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Forwarded {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.joined).poll_write(cx, bytes)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.joined).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.joined).poll_shutdown(cx)
    }
}
