//! An SSH server that runs real shells: the sandbox's sshd, and one that tests can start and harm.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use anyhow::{Context as _, Result};
use russh::keys::{Algorithm, PrivateKey, PublicKey, PublicKeyBase64};
use russh::server::{Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer};
use russh::server::{Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, MethodKind, MethodSet, Pty, Sig, SshId};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Sleep;

/// What the server serves. `SshConfig::new` fills in what a test seldom cares about.
#[derive(Clone)]
pub struct SshConfig {
    /// On 127.0.0.1; 0 takes any free one.
    pub port: u16,
    pub user: String,
    /// None offers no login by password.
    pub password: Option<String>,
    /// Asks for the password by questions (keyboard-interactive), as PAM does, and for nothing
    /// else.
    pub asks_questions: bool,
    /// A login needs a key and the password.
    pub needs_both: bool,
    pub authorized_keys: Vec<PublicKey>,
    /// None makes a fresh one.
    pub host_key: Option<PrivateKey>,
    /// Where sessions begin.
    pub home: PathBuf,
    /// The whole environment of a session, besides what sshd itself sets.
    pub environment: Vec<(String, String)>,
    /// Runs `-c COMMAND` of an exec channel, and a shell channel without arguments.
    pub login_shell: PathBuf,
    /// Per connection, as sshd's MaxSessions.
    pub max_sessions: usize,
}

impl SshConfig {
    pub fn new(user: &str, home: impl Into<PathBuf>) -> SshConfig {
        SshConfig {
            port: 0,
            user: user.to_owned(),
            password: None,
            asks_questions: false,
            needs_both: false,
            authorized_keys: Vec::new(),
            host_key: None,
            home: home.into(),
            environment: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned())],
            login_shell: PathBuf::from("/bin/sh"),
            max_sessions: 10,
        }
    }
}

/// A running server, with a runtime of its own. Dropping it cuts every connection and ends the
/// process groups of the sessions that still run.
pub struct SshServer {
    port: u16,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    config: SshConfig,
    host_key: Mutex<PrivateKey>,
    faults: Faults,
    /// Process groups of running sessions.
    groups: Mutex<Vec<i32>>,
    sessions_opened: AtomicU64,
}

impl SshServer {
    pub fn start(config: SshConfig) -> Result<SshServer> {
        let host_key = match &config.host_key {
            Some(key) => key.clone(),
            None => generate_key()?,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("sshd")
            .enable_all()
            .build()
            .context("cannot start the SSH server's threads")?;
        // Not by the runtime, since a test that has one already can't wait for another.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
            .with_context(|| format!("cannot listen on 127.0.0.1:{}", config.port))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            faults: Faults::new(config.max_sessions),
            config,
            host_key: Mutex::new(host_key),
            groups: Mutex::default(),
            sessions_opened: AtomicU64::new(0),
        });
        runtime.spawn(accept(listener, shared.clone()));
        Ok(SshServer { port, shared, runtime: Some(runtime) })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The line that a known_hosts file needs to trust this server.
    pub fn known_hosts_line(&self) -> String {
        known_hosts_line(self.port, locked(&self.shared.host_key).public_key())
    }

    /// Ways to harm connections; they act on this server only.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// New connections meet this host key, as after a reinstallation or an interception.
    pub fn change_host_key(&self, key: PrivateKey) {
        *locked(&self.shared.host_key) = key;
    }

    /// How many session channels were opened since the start.
    pub fn sessions_opened(&self) -> u64 {
        self.shared.sessions_opened.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        locked(&self.shared.faults.connections).len()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.shared.faults.cut_now();
        for group in locked(&self.shared.groups).drain(..) {
            kill_group(group, libc::SIGKILL);
        }
    }
}

/// A fresh ed25519 key.
pub fn generate_key() -> Result<PrivateKey> {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).context("cannot make an SSH key")
}

pub fn known_hosts_line(port: u16, key: &PublicKey) -> String {
    format!("[127.0.0.1]:{port} {} {}\n", key.algorithm(), key.public_key_base64())
}

/// Ways to harm connections. Each acts at once, on open connections too.
pub struct Faults {
    /// Bytes that may still pass before the cut; negative is no limit.
    sent_left: AtomicI64,
    received_left: AtomicI64,
    max_sessions: AtomicUsize,
    noise: Mutex<Vec<u8>>,
    connections: Mutex<HashMap<u64, std::net::TcpStream>>,
    next_connection: AtomicU64,
    frozen: Mutex<Frozen>,
    /// Milliseconds by which every exchange is longer.
    delay: AtomicU64,
}

#[derive(Default)]
struct Frozen {
    now: bool,
    waiting: Vec<Waker>,
}

impl Faults {
    fn new(max_sessions: usize) -> Faults {
        Faults {
            sent_left: AtomicI64::new(-1),
            received_left: AtomicI64::new(-1),
            max_sessions: AtomicUsize::new(max_sessions),
            noise: Mutex::default(),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            frozen: Mutex::default(),
            delay: AtomicU64::new(0),
        }
    }

    /// After this many more bytes to the client, on all connections together, every connection
    /// is cut. Later connections are whole again.
    pub fn cut_after_sent(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.sent_left.store(bytes, Ordering::SeqCst);
    }

    /// The same for bytes from the client.
    pub fn cut_after_received(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.received_left.store(bytes, Ordering::SeqCst);
    }

    /// Cuts every open connection.
    pub fn cut_now(&self) {
        for connection in locked(&self.connections).values() {
            // It may be closed by the other side already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Refuses session channels over this number, per connection.
    pub fn refuse_sessions_over(&self, sessions: usize) {
        self.max_sessions.store(sessions, Ordering::SeqCst);
    }

    /// What a session prints on stdout before its shell says anything, as a chatty profile does.
    pub fn noise_before_shell(&self, noise: impl Into<Vec<u8>>) {
        *locked(&self.noise) = noise.into();
    }

    /// Nothing passes in either direction until `thaw`, and no connection is closed.
    pub fn freeze(&self) {
        locked(&self.frozen).now = true;
    }

    pub fn thaw(&self) {
        let mut frozen = locked(&self.frozen);
        frozen.now = false;
        for waker in frozen.waiting.drain(..) {
            waker.wake();
        }
    }

    /// What comes after a silence is heard so much later.
    pub fn slow_down(&self, by: Duration) {
        self.delay.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn is_frozen(&self, context: &Context<'_>) -> bool {
        let mut frozen = locked(&self.frozen);
        if frozen.now {
            frozen.waiting.push(context.waker().clone());
        }
        frozen.now
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        // What fails here is the one connection, or file descriptors that are short for a while.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        tokio::spawn(serve(stream, shared.clone()));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok((metered, id)) = Metered::new(stream, shared.clone()) else {
        return;
    };
    let mut methods = vec![MethodKind::PublicKey];
    if shared.config.password.is_some() && !shared.config.needs_both {
        methods.push(match shared.config.asks_questions {
            true => MethodKind::KeyboardInteractive,
            false => MethodKind::Password,
        });
    }
    let config = Config {
        server_id: SshId::Standard("SSH-2.0-seqn_staging".into()),
        methods: MethodSet::from(methods.as_slice()),
        keys: vec![locked(&shared.host_key).clone()],
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 6,
        inactivity_timeout: None,
        nodelay: true,
        // Input waits here for its process; when it is full all channels of the connection wait.
        channel_buffer_size: 4096,
        ..Config::default()
    };
    let connection = Connection {
        shared: shared.clone(),
        slots: HashMap::new(),
        open_sessions: Arc::new(AtomicUsize::new(0)),
        key_shown: false,
    };
    // How a connection ended is the client's to report.
    if let Ok(session) = russh::server::run_stream(Arc::new(config), metered, connection).await {
        let _ = session.await;
    }
    locked(&shared.faults.connections).remove(&id);
}

/// A connection's stream, on which the faults act.
struct Metered {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Nothing was there to be read.
    silent: bool,
    /// Until what came after a silence is heard.
    late: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> io::Result<(Metered, u64)> {
        stream.set_nodelay(true)?;
        // A second handle on the same socket, because only a shutdown wakes whoever waits on it.
        let stream = stream.into_std()?;
        let handle = stream.try_clone()?;
        let stream = TcpStream::from_std(stream)?;
        let id = shared.faults.next_connection.fetch_add(1, Ordering::Relaxed);
        locked(&shared.faults.connections).insert(id, handle);
        Ok((Metered { stream, shared, silent: true, late: None }, id))
    }

    /// Ready once what is there may be heard.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let delay = Duration::from_millis(self.shared.faults.delay.load(Ordering::SeqCst));
        if self.silent && !delay.is_zero() {
            ready!(self.stream.poll_read_ready(context))?;
            self.late = Some(Box::pin(tokio::time::sleep(delay)));
            self.silent = false;
        }
        if let Some(late) = &mut self.late {
            ready!(late.as_mut().poll(context));
            self.late = None;
        }
        Poll::Ready(Ok(()))
    }

    /// How many of `wanted` bytes may pass; 0 when the connection was cut by it.
    fn allowance(&self, left: &AtomicI64, wanted: usize) -> usize {
        let now = left.load(Ordering::SeqCst);
        if now < 0 {
            return wanted;
        }
        if now == 0 {
            left.store(-1, Ordering::SeqCst);
            self.shared.faults.cut_now();
        }
        wanted.min(usize::try_from(now).unwrap_or(usize::MAX))
    }

    fn spend(left: &AtomicI64, bytes: usize) {
        let _ = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            (now >= 0).then(|| (now - bytes).max(0))
        });
    }
}

fn cut() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.shared.faults.is_frozen(context) {
            return Poll::Pending;
        }
        ready!(self.poll_late(context))?;
        let left = &self.shared.faults.received_left;
        let allowed = self.allowance(left, buffer.remaining());
        if allowed == 0 && buffer.remaining() > 0 {
            return Poll::Ready(Err(cut()));
        }
        let mut part = buffer.take(allowed);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
        let (filled, initialized) = (part.filled().len(), part.initialized().len());
        if let Poll::Ready(Ok(())) = polled {
            // `part` shares the memory of `buffer`, so these bytes are initialised there too.
            unsafe { buffer.assume_init(initialized) };
            buffer.advance(filled);
            Metered::spend(&self.shared.faults.received_left, filled);
        }
        self.silent = polled.is_pending();
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shared.faults.is_frozen(context) {
            return Poll::Pending;
        }
        let allowed = self.allowance(&self.shared.faults.sent_left, bytes.len());
        if allowed == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(cut()));
        }
        let part = bytes.get(..allowed).unwrap_or(bytes);
        let polled = Pin::new(&mut self.stream).poll_write(context, part);
        if let Poll::Ready(Ok(written)) = polled {
            Metered::spend(&self.shared.faults.sent_left, written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// One client's connection.
struct Connection {
    shared: Arc<Shared>,
    slots: HashMap<ChannelId, Slot>,
    open_sessions: Arc<AtomicUsize>,
    /// The first half of a login that needs both.
    key_shown: bool,
}

/// A session channel, before and after its command runs.
struct Slot {
    channel: Option<Channel<Msg>>,
    environment: Vec<(String, String)>,
    terminal: Option<Terminal>,
    group: Option<i32>,
    /// Dropped with the slot, which tells the session that its channel is gone.
    gone: watch::Sender<()>,
    /// Counts this session as open; its process takes it over, and with that its end.
    open: Option<OpenSession>,
}

struct OpenSession(Arc<AtomicUsize>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Terminal {
    name: String,
    size: libc::winsize,
    /// The server's end, once the command runs.
    master: Option<OwnedFd>,
}

impl Connection {
    fn verdict(accepted: bool) -> Auth {
        if accepted { Auth::Accept } else { Auth::reject() }
    }

    fn knows(&self, user: &str, key: &PublicKey) -> bool {
        let config = &self.shared.config;
        let known = |known: &PublicKey| known.key_data() == key.key_data();
        user == config.user && config.authorized_keys.iter().any(known)
    }

    fn run(&mut self, id: ChannelId, command: Option<&[u8]>, session: &mut Session) {
        match self.start(id, command, session.handle()) {
            Some(()) => {
                let _ = session.channel_success(id);
            }
            None => {
                let _ = session.channel_failure(id);
            }
        }
    }

    /// Starts the channel's process. A channel runs one command only.
    fn start(&mut self, id: ChannelId, command: Option<&[u8]>, handle: Handle) -> Option<()> {
        let slot = self.slots.get_mut(&id)?;
        let channel = slot.channel.take()?;
        let config = &self.shared.config;
        let mut shell = Command::new(&config.login_shell);
        if let Some(command) = command {
            use std::os::unix::ffi::OsStrExt;
            shell.arg("-c").arg(std::ffi::OsStr::from_bytes(command));
        }
        shell
            .current_dir(&config.home)
            .env_clear()
            .envs(config.environment.iter().map(|(key, value)| (key, value)))
            .envs(slot.environment.iter().map(|(key, value)| (key, value)))
            .env("USER", &config.user)
            .env("LOGNAME", &config.user)
            .env("HOME", &config.home)
            .env("SHELL", &config.login_shell)
            .env("SSH_CLIENT", "127.0.0.1 0 22")
            .env("SSH_CONNECTION", "127.0.0.1 0 127.0.0.1 22");
        let (gone, open) = (slot.gone.subscribe(), slot.open.take());
        let session = Running { shared: self.shared.clone(), handle, id, gone, _open: open };
        let noise = locked(&self.shared.faults.noise).clone();
        let pid = match &mut slot.terminal {
            Some(terminal) => {
                let (master, slave) = open_terminal(&terminal.size).ok()?;
                let child = spawn_on_terminal(&mut shell, &terminal.name, slave).ok()?;
                terminal.master = master.try_clone().ok();
                let pid = self.shared.remember(&child);
                tokio::spawn(session.pump_terminal(channel, child, master, noise));
                pid
            }
            None => {
                let child = spawn_on_pipes(&mut shell).ok()?;
                let pid = self.shared.remember(&child);
                tokio::spawn(session.pump_pipes(channel, child, noise));
                pid
            }
        };
        slot.group = pid;
        Some(())
    }
}

impl Shared {
    fn remember(&self, child: &Child) -> Option<i32> {
        let pid = i32::try_from(child.id()?).ok()?;
        locked(&self.groups).push(pid);
        Some(pid)
    }

    fn forget(&self, group: Option<i32>) {
        locked(&self.groups).retain(|known| Some(*known) != group);
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let config = &self.shared.config;
        let right = user == config.user && config.password.as_deref() == Some(password);
        let allowed = !config.asks_questions && (!config.needs_both || self.key_shown);
        Ok(Connection::verdict(right && allowed))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<russh::server::Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let config = &self.shared.config;
        if !config.asks_questions {
            return Ok(Auth::reject());
        }
        let Some(mut answers) = response else {
            let prompts = vec![("Password: ".into(), false)].into();
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts });
        };
        let answer = answers.next();
        let right = answer.as_deref() == config.password.as_deref().map(str::as_bytes);
        Ok(Connection::verdict(user == config.user && right))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(Connection::verdict(self.knows(user, offer.public_key)))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let known = self.knows(user, key.public_key);
        if known && self.shared.config.needs_both {
            self.key_shown = true;
            let left = MethodSet::from([MethodKind::Password].as_slice());
            return Ok(Auth::Reject { proceed_with_methods: Some(left), partial_success: true });
        }
        Ok(Connection::verdict(known))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let limit = self.shared.faults.max_sessions.load(Ordering::SeqCst);
        if self.open_sessions.load(Ordering::SeqCst) >= limit {
            // The answer of OpenSSH over MaxSessions.
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        self.open_sessions.fetch_add(1, Ordering::SeqCst);
        self.shared.sessions_opened.fetch_add(1, Ordering::Relaxed);
        let slot = Slot {
            environment: Vec::new(),
            terminal: None,
            group: None,
            gone: watch::Sender::new(()),
            open: Some(OpenSession(self.open_sessions.clone())),
            channel: None,
        };
        let id = channel.id();
        let slot = self.slots.entry(id).insert_entry(slot).into_mut();
        slot.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let address = match host {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            other => other.parse().ok().filter(IpAddr::is_loopback),
        };
        let (Some(address), Ok(port)) = (address, u16::try_from(port)) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        match TcpStream::connect((address, port)).await {
            Ok(mut target) => {
                reply.accept().await;
                tokio::spawn(async move {
                    let mut stream = channel.into_stream();
                    // Either end may break off; both then see it.
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
                    let _ = stream.shutdown().await;
                });
            }
            Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        name: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.slots.get_mut(&id) {
            Some(slot) if slot.channel.is_some() => {
                slot.terminal =
                    Some(Terminal { name: name.to_owned(), size: window_size(columns, rows), master: None });
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let terminal = self.slots.get(&id).and_then(|slot| slot.terminal.as_ref());
        if let Some(master) = terminal.and_then(|terminal| terminal.master.as_ref()) {
            let size = window_size(columns, rows);
            unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // Debian's AcceptEnv.
        let accepted = name == "LANG" || name.starts_with("LC_");
        match self.slots.get_mut(&id).filter(|_| accepted) {
            Some(slot) => {
                slot.environment.push((name.to_owned(), value.to_owned()));
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.run(id, None, session);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.run(id, Some(command), session);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let group = self.slots.get(&id).and_then(|slot| slot.group);
        if let (Some(group), Some(number)) = (group, signal_number(&signal)) {
            kill_group(group, number);
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.slots.remove(&id);
        Ok(())
    }
}

/// A session whose process runs.
struct Running {
    shared: Arc<Shared>,
    handle: Handle,
    id: ChannelId,
    gone: watch::Receiver<()>,
    _open: Option<OpenSession>,
}

impl Running {
    async fn pump_pipes(mut self, channel: Channel<Msg>, mut child: Child, noise: Vec<u8>) {
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        let (Some(stdin), Some(mut stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return;
        };
        let (input, output) = channel.split();
        let mut out = output.make_writer();
        let mut err = output.make_writer_ext(Some(1));
        let feeding = tokio::spawn(feed(input, stdin));
        let transfer = async {
            // A write fails when the client is gone, which `gone` tells as well.
            let _ = out.write_all(&noise).await;
            let to_out = tokio::io::copy(&mut stdout, &mut out);
            let to_err = tokio::io::copy(&mut stderr, &mut err);
            let _ = tokio::join!(to_out, to_err);
            child.wait().await
        };
        let ended = tokio::select! {
            status = transfer => Some(status),
            _ = self.gone.changed() => None,
        };
        // From here its pipes are closed, and a process whose client left notices it by that.
        feeding.abort();
        drop((stdout, stderr));
        self.finish(ended, child, group).await;
    }

    async fn pump_terminal(
        mut self,
        channel: Channel<Msg>,
        mut child: Child,
        master: OwnedFd,
        noise: Vec<u8>,
    ) {
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        let Ok(reading) = master.try_clone() else {
            return;
        };
        let mut reading = tokio::fs::File::from_std(std::fs::File::from(reading));
        let writing = tokio::fs::File::from_std(std::fs::File::from(master));
        let (input, output) = channel.split();
        let mut out = output.make_writer();
        let feeding = tokio::spawn(feed(input, writing));
        let transfer = async {
            let _ = out.write_all(&noise).await;
            // Ends with an error when the last process has closed the terminal.
            let _ = tokio::io::copy(&mut reading, &mut out).await;
            child.wait().await
        };
        let ended = tokio::select! {
            status = transfer => Some(status),
            _ = self.gone.changed() => None,
        };
        feeding.abort();
        if let (None, Some(group)) = (&ended, group) {
            kill_group(group, libc::SIGHUP);
        }
        self.finish(ended, child, group).await;
    }

    async fn finish(self, ended: Option<io::Result<ExitStatus>>, mut child: Child, group: Option<i32>) {
        if let Some(status) = ended {
            let _ = self.handle.eof(self.id).await;
            match status {
                Ok(status) => self.report(status).await,
                Err(_) => {
                    let _ = self.handle.exit_status_request(self.id, 255).await;
                }
            }
            let _ = self.handle.close(self.id).await;
        } else {
            // Nobody asks for its status any more, but it must be reaped.
            let _ = child.wait().await;
        }
        self.shared.forget(group);
    }

    async fn report(&self, status: ExitStatus) {
        let (handle, id) = (&self.handle, self.id);
        // A send fails only when the connection is gone.
        let _ = match (status.code(), status.signal()) {
            (Some(code), _) => {
                let code = u32::try_from(code).unwrap_or(255);
                handle.exit_status_request(id, code).await
            }
            (None, signal) => {
                let name = signal_name(signal.unwrap_or(libc::SIGKILL));
                let dumped = status.core_dumped();
                let (message, language) = (String::new(), String::new());
                handle.exit_signal_request(id, name, dumped, message, language).await
            }
        };
    }
}

/// Hands the channel's input to the process; its end is the process's end of file.
async fn feed(mut input: russh::ChannelReadHalf, mut sink: impl AsyncWrite + Unpin) {
    while let Some(message) = input.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                // The process may have closed its input: what is left for it is thrown away.
                let _ = sink.write_all(&data).await;
                let _ = sink.flush().await;
            }
            ChannelMsg::Eof | ChannelMsg::Close => break,
            _ => {}
        }
    }
}

fn spawn_on_pipes(shell: &mut Command) -> io::Result<Child> {
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    unsafe {
        shell.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    shell.spawn()
}

fn spawn_on_terminal(shell: &mut Command, name: &str, slave: OwnedFd) -> io::Result<Child> {
    shell
        .env("TERM", name)
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave));
    unsafe {
        shell.pre_exec(|| {
            if libc::setsid() == -1 || libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = shell.spawn();
    // The command keeps the slave's descriptors, which would hold the terminal open.
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child
}

fn open_terminal(size: &libc::winsize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let opened =
        unsafe { libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null(), size) };
    if opened == -1 {
        return Err(io::Error::last_os_error());
    }
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    // openpty can't be asked for this, and the shell must not inherit the server's end.
    for end in [&master, &slave] {
        if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((master, slave))
}

fn window_size(columns: u32, rows: u32) -> libc::winsize {
    libc::winsize {
        ws_row: u16::try_from(rows).unwrap_or(u16::MAX),
        ws_col: u16::try_from(columns).unwrap_or(u16::MAX),
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

const SIGNALS: [(Sig, i32); 12] = [
    (Sig::ABRT, libc::SIGABRT),
    (Sig::ALRM, libc::SIGALRM),
    (Sig::FPE, libc::SIGFPE),
    (Sig::HUP, libc::SIGHUP),
    (Sig::ILL, libc::SIGILL),
    (Sig::INT, libc::SIGINT),
    (Sig::KILL, libc::SIGKILL),
    (Sig::PIPE, libc::SIGPIPE),
    (Sig::QUIT, libc::SIGQUIT),
    (Sig::SEGV, libc::SIGSEGV),
    (Sig::TERM, libc::SIGTERM),
    (Sig::USR1, libc::SIGUSR1),
];

fn signal_number(signal: &Sig) -> Option<i32> {
    // `Sig` can't be compared, only matched.
    let same = |known: &Sig| std::mem::discriminant(known) == std::mem::discriminant(signal);
    let known = SIGNALS.iter().find(|(known, _)| same(known));
    known.map(|(_, number)| *number)
}

fn signal_name(number: i32) -> Sig {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((signal, _)) => signal.clone(),
        None => Sig::Custom(format!("SIG{number}@seqn-staging")),
    }
}

fn kill_group(group: i32, signal: i32) {
    if group > 1 {
        unsafe { libc::kill(-group, signal) };
    }
}

/// A thread that panicked leaves these values whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
