//! Connections of a run: one per host, shared by all its users.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::become_user::Become;
use super::host::{Counter, Memory, ShellHost, Traffic, WorkShell};
use super::lasting::Lasting;
use super::lock::control::Control;
use super::lock::files::HostFiles;
use super::lock::lease::Held;
use super::lock::{self, HostLock, LockRefused, LockRequest};
use super::shell::{Channel, Shell};
use super::shells::{Shells, UserRoute};
use super::{RemoteError, Stream, Target};
use crate::source::Text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TransportKind {
    /// The user's own `ssh`, with all that is configured for it.
    Ssh,
    /// A built-in SSH client.
    Native,
    /// The operator's machine.
    Local,
}

/// How to reach a host as a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    pub transport: TransportKind,
    pub address: String,
    pub port: Option<u16>,
    /// Login name; the transport's own choice when not given.
    pub user: Option<String>,
    #[serde(with = "crate::source::stored")]
    pub password: Option<Text>,
    pub private_key: Option<PathBuf>,
    /// More arguments for `ssh`; the native client understands the few that matter.
    pub ssh_args: Vec<String>,
    /// Unknown and changed host keys are refused.
    pub host_key_checking: bool,
    pub timeout: Duration,
    pub become_: Option<Become>,
}

/// What must be equal for two connections to be one.
type Key = (
    TransportKind,
    String,
    Option<u16>,
    Option<String>,
    Option<Text>,
    Option<PathBuf>,
    Vec<String>,
    // A connection to nobody knows whom isn't good enough for who asks to know.
    bool,
);

impl Connection {
    fn key(&self) -> Key {
        (
            self.transport,
            self.address.clone(),
            self.port,
            self.user.clone(),
            self.password.clone(),
            self.private_key.clone(),
            self.ssh_args.clone(),
            self.host_key_checking,
        )
    }

    /// The operator's machine as the operator.
    pub fn operator() -> Connection {
        Connection {
            transport: TransportKind::Local,
            address: "localhost".into(),
            port: None,
            user: None,
            password: None,
            private_key: None,
            ssh_args: Vec::new(),
            host_key_checking: true,
            timeout: Duration::from_secs(10),
            become_: None,
        }
    }

    /// `user@address:port`, for messages.
    pub fn place(&self) -> String {
        let user = self.user.as_ref().map(|u| format!("{u}@")).unwrap_or_default();
        let port = self.port.map(|p| format!(" port {p}")).unwrap_or_default();
        format!("{user}{}{port}", self.address)
    }
}

/// Channels to a host at the same time. sshd refuses more than 10 by default (MaxSessions).
pub const MOST_CHANNELS: usize = 8;

/// How long a host may take to open a channel or a stream.
pub const OPEN: Duration = Duration::from_secs(20);

/// How long to wait until one of [`MOST_CHANNELS`] is free.
pub const FREE: Duration = Duration::from_secs(60);

/// Opens channels to one host: what a transport is.
#[async_trait]
pub trait Link: Send + Sync {
    /// How many more channels can be opened now.
    fn free(&self) -> usize;

    /// Runs `command` by the login shell of the host.
    async fn open(&self, command: &str) -> Result<Channel, RemoteError>;

    /// A TCP stream from the host's side.
    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError>;

    /// Whether nothing can come through any more.
    async fn is_lost(&self) -> bool;

    async fn close(&self);
}

/// Channels to one host as one user.
#[async_trait]
pub trait Route: Send + Sync {
    /// A shell that is ready for scripts.
    async fn shell(&self) -> Result<Shell, RemoteError>;
    /// A channel that evaluates the first line it gets, with the rest as its standard input.
    async fn channel(&self) -> Result<Channel, RemoteError>;
    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError>;
}

type Told = Box<dyn Fn(&str, &str) + Send + Sync>;

/// Who is told of each exchange with a host, at -vvv.
#[derive(Clone, Default)]
pub struct Observer(Arc<Mutex<Option<Told>>>);

impl Observer {
    pub fn tell(&self, host: &str, text: impl FnOnce() -> String) {
        if let Some(told) = &*self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            told(host, &text());
        }
    }
}

struct Connected {
    link: Arc<dyn Link>,
    memory: Arc<Memory>,
    counter: Arc<Counter>,
    /// By whom to become, since another password or program may lead elsewhere.
    users: Mutex<HashMap<Option<Become>, Target>>,
    shells: Arc<Shells>,
    control: Control,
    held: Arc<Held>,
    connection: Connection,
}

/// Filled by whoever asks first; the others wait.
type Slot = Arc<OnceCell<Arc<Connected>>>;

/// Name, address and port of a host.
type Place = (String, String, Option<u16>);

/// Every connection of a run.
#[derive(Default)]
pub struct Connections {
    hosts: AsyncMutex<HashMap<(String, Key), Slot>>,
    /// By name and place, since who logs in there under another name is under the same lock.
    held: Mutex<HashMap<Place, Arc<Held>>>,
    /// What a lock is held by outlives a connection that is made anew.
    controls: Mutex<HashMap<(String, Key), Control>>,
    observer: Observer,
}

impl Connections {
    pub fn new() -> Connections {
        Connections::default()
    }

    /// From now on `told` hears of every exchange: host, and what it was. Never content.
    pub fn observe(&self, told: Told) {
        *self.observer.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(told);
    }

    /// The host `name` (of the inventory) as a user; connects if nobody did before.
    ///
    /// # Errors
    /// Unreachable, refused, or nobody could be become.
    pub async fn target(&self, name: &str, connection: &Connection) -> Result<Target, RemoteError> {
        let connected = self.connected(name, connection).await?;
        let user = match &connection.become_ {
            Some(wanted) => format!("{}:{}", wanted.method.name(), wanted.user),
            None => connection.user.clone().unwrap_or_default(),
        };
        let mut users = connected.users.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let target = users.entry(connection.become_.clone()).or_insert_with(|| {
            let route = UserRoute {
                link: connected.link.clone(),
                become_: connection.become_.clone(),
                shells: connected.shells.clone(),
            };
            let shell = WorkShell::default();
            connected.shells.add(shell.clone());
            Target(Arc::new(ShellHost {
                name: name.to_string(),
                user,
                route: Arc::new(route),
                shell,
                memory: connected.memory.clone(),
                counter: connected.counter.clone(),
                observer: self.observer.clone(),
                held: connected.held.clone(),
            }))
        });
        Ok(target.clone())
    }

    /// Takes the lock of a project on a host, as the login user: from then on
    /// [`Target::apply_as`] notes there what it does. `waiting` hears once of what is waited for.
    /// Closing the connections gives no lock back.
    ///
    /// # Errors
    /// Somebody has it, something of another run still runs, or the host couldn't be asked.
    pub async fn lock(
        &self,
        name: &str,
        connection: &Connection,
        request: &LockRequest,
        mut waiting: impl FnMut(&LockRefused) + Send,
    ) -> Result<HostLock, LockRefused> {
        let connected = self.connected(name, connection).await?;
        lock::take(connected.control.clone(), connected.held.clone(), request, &mut waiting).await
    }

    /// The files of a project's runs on a host, to be looked at without a lock.
    ///
    /// # Errors
    /// Unreachable.
    pub async fn files(
        &self,
        name: &str,
        connection: &Connection,
        project: &str,
    ) -> Result<HostFiles, RemoteError> {
        let connected = self.connected(name, connection).await?;
        Ok(HostFiles::new(connected.control.clone(), project))
    }

    async fn connected(&self, name: &str, connection: &Connection) -> Result<Arc<Connected>, RemoteError> {
        let cell = self.hosts.lock().await.entry((name.to_string(), connection.key())).or_default().clone();
        cell.get_or_try_init(|| self.connect(name, connection)).await.cloned()
    }

    async fn connect(&self, name: &str, connection: &Connection) -> Result<Arc<Connected>, RemoteError> {
        let link: Arc<dyn Link> = Arc::new(Lasting::start(name, connection, self.observer.clone()).await?);
        let shells: Arc<Shells> = Arc::default();
        let route: Arc<dyn Route> =
            Arc::new(UserRoute { link: link.clone(), become_: None, shells: shells.clone() });
        let mut controls = self.controls.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let control = controls
            .entry((name.to_string(), connection.key()))
            .or_insert_with(|| Control::new(name, route.clone(), self.observer.clone()));
        control.reach_by(route);
        let place = (name.to_string(), connection.address.clone(), connection.port);
        let mut held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(Arc::new(Connected {
            link,
            memory: Arc::default(),
            counter: Arc::default(),
            users: Mutex::default(),
            shells,
            control: control.clone(),
            held: held.entry(place).or_default().clone(),
            connection: connection.clone(),
        }))
    }

    /// The operator's machine as the operator.
    ///
    /// # Errors
    /// There is no `sh` here.
    pub async fn operator(&self) -> Result<Target, RemoteError> {
        self.target("localhost", &Connection::operator()).await
    }

    /// Bytes and round trips so far, by host.
    pub async fn traffic(&self) -> HashMap<String, Traffic> {
        let mut all: HashMap<String, Traffic> = HashMap::new();
        for ((name, _), cell) in self.hosts.lock().await.iter() {
            if let Some(connected) = cell.get() {
                // A host can be reached in more than one way.
                let (sum, more) = (all.entry(name.clone()).or_default(), connected.counter.read());
                sum.round_trips += more.round_trips;
                sum.sent += more.sent;
                sum.received += more.received;
            }
        }
        all
    }

    /// Ends the connections of one host; the next task connects again, and where a lock is held
    /// that is done now, so that it can be renewed.
    pub async fn reset(&self, name: &str) {
        let mut hosts = self.hosts.lock().await;
        let mut gone = Vec::new();
        hosts.retain(|(host, _), cell| {
            let keep = host != name;
            if !keep {
                gone.extend(cell.get().cloned());
            }
            keep
        });
        drop(hosts);
        for connected in gone {
            connected.link.close().await;
            if connected.held.is_ours() {
                // Who can't be reached any more loses it, and says so.
                self.connected(name, &connected.connection).await.ok();
            }
        }
    }

    /// Ends everything that was opened.
    pub async fn close(&self) {
        let hosts: Vec<_> = self.hosts.lock().await.drain().collect();
        for (_, cell) in hosts {
            if let Some(connected) = cell.get() {
                connected.users.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
                connected.link.close().await;
            }
        }
    }
}
