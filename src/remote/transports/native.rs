//! A built-in SSH client (russh): no `ssh` binary, no process for each host.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use russh::client::{Config, DisconnectReason, Handle, Handler};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use russh::{ChannelOpenFailure, Disconnect, MethodSet, Preferred, SshId};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce};

use self::channel::Joined;
use self::known_hosts::{Known, Verdict};
use self::login::Login;
use self::options::{Options, Strict, Surroundings};
use super::explain;
use crate::remote::connections::{Connection, FREE, Link, MOST_CHANNELS, OPEN};
use crate::remote::shell::Channel;
use crate::remote::{RemoteError, RemoteErrorKind, Stream};

mod channel;
mod known_hosts;
mod login;
mod options;
mod pattern;
mod settings;

/// For key exchange and login, after the host answered. A human may have to confirm the use of a
/// key in the agent.
const LOGIN: Duration = Duration::from_secs(60);

/// What OpenSSH says to a login that it refuses.
const REFUSED: &str = "Permission denied";

/// One connection, logged in.
pub struct Client {
    handle: Handle<Watcher>,
    told: Arc<Told>,
    channels: Arc<Semaphore>,
    place: String,
}

impl Client {
    /// Connects, checks the host's key, logs in.
    ///
    /// # Errors
    /// Unreachable, an unknown or changed host key, a refused login, options that can't be
    /// followed.
    pub async fn connect(connection: &Connection) -> Result<Client, RemoteError> {
        let options = Options::resolve(connection, &Surroundings::here())?;
        let stream = reach(connection, &options).await?;
        let told = Arc::new(Told::default());
        let known = HostKeys::load(&options).map_err(explain::unreachable)?;
        let config = config(&options, &known);
        let watcher = Watcher {
            known,
            strict: options.strict,
            hash: options.hash_known_hosts,
            learn_in: options.user_known_hosts.first().cloned(),
            connection: connection.clone(),
            told: told.clone(),
        };
        let limit = options.timeout.max(Duration::from_secs(5));
        let shaken =
            tokio::time::timeout(limit, russh::client::connect_stream(config, stream, watcher)).await;
        let mut handle = match shaken {
            Err(_) => return Err(explain::no_answer(connection, limit.as_secs())),
            Ok(Err(e)) => {
                return Err(told.refusal().unwrap_or_else(|| explain::no_connection(connection, &said(&e))));
            }
            Ok(Ok(handle)) => handle,
        };
        let login = Login::new(&mut handle, &options, connection, told.clone()).run();
        match tokio::time::timeout(LOGIN, login).await {
            Err(_) => {
                let what = format!("the login did not end within {} s", LOGIN.as_secs());
                return Err(explain::no_connection(connection, &what));
            }
            Ok(result) => result?,
        }
        Ok(Client {
            handle,
            told,
            channels: Arc::new(Semaphore::new(MOST_CHANNELS)),
            place: connection.place(),
        })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, RemoteError> {
        match tokio::time::timeout(FREE, self.channels.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.lost(&format!("all {MOST_CHANNELS} are in use"))),
        }
    }

    fn lost(&self, why: &str) -> RemoteError {
        explain::unreachable(format!("no channel to {} could be opened: {why}", self.place))
    }

    fn why(&self, error: &russh::Error) -> String {
        self.told.why_gone().unwrap_or_else(|| said(error))
    }
}

/// A TCP connection to the first address that answers.
async fn reach(connection: &Connection, options: &Options) -> Result<TcpStream, RemoteError> {
    let limit = options.timeout;
    let mut refusal = explain::no_connection(connection, "the name can't be resolved");
    for _ in 0..options.attempts {
        let looked_up = tokio::net::lookup_host((options.host.as_str(), options.port));
        let addresses: Vec<SocketAddr> = match tokio::time::timeout(limit, looked_up).await {
            Ok(Ok(found)) => {
                found.filter(|a| options.only_ipv6.is_none_or(|only| a.is_ipv6() == only)).collect()
            }
            Ok(Err(_)) | Err(_) => continue,
        };
        for address in addresses {
            match tokio::time::timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).ok();
                    return Ok(stream);
                }
                Ok(Err(e)) => refusal = explain::no_connection(connection, &said(&russh::Error::IO(e))),
                Err(_) => refusal = explain::no_answer(connection, limit.as_secs()),
            }
        }
    }
    Err(refusal)
}

fn config(options: &Options, known: &HostKeys) -> Arc<Config> {
    let mut keys: Vec<Algorithm> = Preferred::DEFAULT.key.to_vec();
    // SHA-1 signatures prove nothing any more.
    keys.retain(|algorithm| *algorithm != Algorithm::Rsa { hash: None });
    // The kinds of key that we know of this host first, so that it shows one of them.
    keys.sort_by_key(|algorithm| !known.has(kind_of(algorithm)));
    Arc::new(Config {
        client_id: SshId::Standard(concat!("SSH-2.0-seqn_play_", env!("CARGO_PKG_VERSION")).into()),
        preferred: Preferred { key: keys.into(), ..Preferred::DEFAULT },
        keepalive_interval: Some(options.alive_interval),
        keepalive_max: options.alive_count as usize,
        // Also bounds a write to a host that takes nothing, where no keepalive is sent.
        inactivity_timeout: Some(options.alive_interval * (options.alive_count + 1)),
        channel_buffer_size: 32,
        nodelay: true,
        ..Config::default()
    })
}

fn kind_of(algorithm: &Algorithm) -> &str {
    // One key, whatever hash signs with it.
    if matches!(algorithm, Algorithm::Rsa { .. }) { "ssh-rsa" } else { algorithm.as_str() }
}

/// A library error in words.
fn said(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(e) => match e.kind() {
            std::io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".into(),
            std::io::ErrorKind::ConnectionReset => "the connection was cut (reset)".into(),
            std::io::ErrorKind::UnexpectedEof => "the host closed the connection".into(),
            _ => e.to_string(),
        },
        russh::Error::HUP | russh::Error::Disconnect => "the host closed the connection".into(),
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => "the host went silent".into(),
        russh::Error::NoAuthMethod => REFUSED.into(),
        russh::Error::Version => "what answers there is not an SSH server".into(),
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!("it has no {kind:?} algorithm in common with the built-in client; it offers {theirs:?}")
        }
        other => other.to_string(),
    }
}

/// What is known of the host.
struct HostKeys {
    name: String,
    known: Vec<Known>,
    /// Lines for the host on port 22; they can only confirm a key.
    elsewhere: Vec<Known>,
}

impl HostKeys {
    fn load(options: &Options) -> Result<HostKeys, String> {
        let files: Vec<_> =
            options.user_known_hosts.iter().chain(&options.global_known_hosts).cloned().collect();
        Ok(HostKeys {
            known: known_hosts::lookup(&files, &options.known_as)?,
            elsewhere: match &options.known_without_port {
                Some(name) => known_hosts::lookup(&files, name)?,
                None => Vec::new(),
            },
            name: options.known_as.clone(),
        })
    }

    fn has(&self, kind: &str) -> bool {
        let known = if self.known.is_empty() { &self.elsewhere } else { &self.known };
        known.iter().any(|k| !k.revoked && k.kind == kind)
    }

    fn judge(&self, kind: &str, key: &[u8]) -> Verdict {
        match known_hosts::judge(&self.known, kind, key) {
            Verdict::Unknown(other) => match known_hosts::judge(&self.elsewhere, kind, key) {
                found @ (Verdict::Known | Verdict::Revoked(_)) => found,
                _ => Verdict::Unknown(other),
            },
            verdict => verdict,
        }
    }
}

/// What the connection said of itself, for whoever uses it.
#[derive(Default)]
pub struct Told {
    refusal: Mutex<Option<RemoteError>>,
    gone: SetOnce<String>,
    offered: Mutex<Option<MethodSet>>,
    key_changed: AtomicBool,
}

impl Told {
    fn refusal(&self) -> Option<RemoteError> {
        locked(&self.refusal).clone()
    }

    /// Why the connection ended, once it did.
    pub fn why_gone(&self) -> Option<String> {
        self.gone.get().cloned()
    }

    /// The same for a connection that is closed: the library closes it a moment before it says why.
    async fn why_closed(&self) -> String {
        match tokio::time::timeout(Duration::from_secs(1), self.gone.wait()).await {
            Ok(why) => why.clone(),
            Err(_) => "the connection was closed".into(),
        }
    }

    /// Ways to log in that the host named last.
    fn offered(&self) -> MethodSet {
        locked(&self.offered).clone().unwrap_or_else(MethodSet::empty)
    }

    fn offers(&self, methods: &MethodSet) {
        *locked(&self.offered) = Some(methods.clone());
    }

    fn key_changed(&self) -> bool {
        self.key_changed.load(Ordering::Relaxed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Hears what the library has to ask and to tell.
pub struct Watcher {
    known: HostKeys,
    strict: Strict,
    hash: bool,
    learn_in: Option<std::path::PathBuf>,
    connection: Connection,
    told: Arc<Told>,
}

impl Watcher {
    /// # Errors
    /// Why the key is refused.
    fn check(&self, key: &PublicKey) -> Result<(), RemoteError> {
        let connection = &self.connection;
        let bytes = key.to_bytes().map_err(|e| explain::no_connection(connection, &e.to_string()))?;
        let algorithm = key.algorithm();
        let kind = kind_of(&algorithm);
        match (self.known.judge(kind, &bytes), self.strict) {
            (Verdict::Known, _) => Ok(()),
            (Verdict::Revoked(line), _) => Err(explain::unreachable(format!(
                "the host key of {} is REVOKED at {}: somebody else may have it",
                connection.address,
                line.place()
            ))),
            (Verdict::Changed(_), Strict::No) => {
                self.told.key_changed.store(true, Ordering::Relaxed);
                Ok(())
            }
            (Verdict::Changed(line), _) => Err(explain::changed_host_key(connection, Some(&line.place()))),
            (Verdict::Unknown(_), Strict::No) => Ok(()),
            (Verdict::Unknown(_), Strict::AcceptNew) => {
                let Some(file) = &self.learn_in else { return Ok(()) };
                let line = known_hosts::line(&self.known.name, kind, &bytes, self.hash);
                known_hosts::learn(file, &line).map_err(|e| {
                    explain::unreachable(format!("can't add the host's key to {}: {e}", file.display()))
                })
            }
            (Verdict::Unknown(other), Strict::Yes) => {
                let other = other
                    .map(|k| format!("; one of the kind {} is at {}", k.kind, k.place()))
                    .unwrap_or_default();
                let found = format!(" ({kind} {}{other})", key.fingerprint(HashAlg::Sha256));
                Err(explain::unknown_host_key(connection, &found))
            }
        }
    }
}

impl Handler for Watcher {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let checked = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check(key),
            // Never asked for.
            PublicKeyOrCertificate::Certificate(_) => {
                Err(explain::no_connection(&self.connection, "it shows a certificate instead of its key"))
            }
        };
        match checked {
            Ok(()) => Ok(true),
            Err(refusal) => {
                *locked(&self.told.refusal) = Some(refusal);
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let why = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let message: String = info.message.chars().filter(|c| !c.is_control()).take(200).collect();
                format!("the host ended the connection: {message}")
            }
            DisconnectReason::Error(e) => said(e),
        };
        // The first reason is the one that counts.
        self.told.gone.set(why).ok();
        Ok(())
    }
}

#[async_trait]
impl Link for Client {
    fn free(&self) -> usize {
        self.channels.available_permits()
    }

    async fn open(&self, command: &str) -> Result<Channel, RemoteError> {
        let permit = self.permit().await?;
        let opened = async {
            let channel = self.handle.channel_open_session().await?;
            // Whether the host runs it shows on the channel: no round trip for that.
            channel.exec(true, command).await?;
            Ok::<_, russh::Error>(channel)
        };
        match tokio::time::timeout(OPEN, opened).await {
            Ok(Ok(channel)) => Ok(channel::streams(channel, self.told.clone(), permit)),
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => {
                Err(self.lost("the host refuses more sessions (MaxSessions of its sshd)"))
            }
            Ok(Err(e)) => Err(self.lost(&self.why(&e))),
            Err(_) => Err(self.lost(&format!("no answer within {} s", OPEN.as_secs()))),
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        let permit = self.permit().await?;
        let refused = |why: &str| RemoteError {
            kind: RemoteErrorKind::Refused,
            message: format!("can't connect to {host} port {port}: {why}"),
            help: None,
        };
        let opened = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match tokio::time::timeout(OPEN, opened).await {
            Ok(Ok(channel)) => {
                let channel = channel::streams(channel, self.told.clone(), permit);
                Ok(Box::new(Joined { channel }))
            }
            Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
                Err(refused("the host's sshd forbids it").with_help("set AllowTcpForwarding yes there"))
            }
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => Err(refused("Connection refused")),
            Ok(Err(e)) => Err(self.lost(&self.why(&e))),
            Err(_) => Err(refused(&format!("no answer within {} s", OPEN.as_secs()))),
        }
    }

    async fn is_lost(&self) -> bool {
        self.handle.is_closed()
    }

    async fn close(&self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        // A connection that is gone needs no goodbye.
        tokio::time::timeout(Duration::from_secs(2), goodbye).await.ok();
    }
}
