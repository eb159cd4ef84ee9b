//! One host as one user: the only thing through which a module looks at a host.

use std::fmt;
use std::sync::Arc;

use super::{Answer, Checksum, Command, Effect, EffectId, FileRead, Observation, Output, Stat};

/// Why a host could not answer or an effect not be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteError {
    pub kind: RemoteErrorKind,
    /// For people: what failed and what state the host is in.
    pub message: String,
    /// What to type or check next.
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// No connection, refused key, changed host key, connection lost: Ansible's `unreachable`.
    Unreachable,
    /// Became nobody: wrong password, not in sudoers, no tty.
    Become,
    /// The host said no: permission, full disk, missing path.
    Refused,
    /// Compare and set: what was expected isn't what is there. Nothing was changed.
    Conflict,
    /// A bound on time or size was reached.
    Limit,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for RemoteError {}

/// What can look at and change one host as one user. Implemented over the shell protocol, and by
/// the overlay of check mode.
#[async_trait::async_trait]
pub trait Host: Send + Sync {
    /// # Errors
    /// [`RemoteError`]; a missing file or a failing command is an answer, not an error.
    async fn observe(&self, question: Observation) -> Result<Answer, RemoteError>;

    /// What is known of a file without asking: nothing was done on the host since it was asked for.
    fn remembered_file(&self, _path: &str) -> Option<Arc<FileRead>> {
        None
    }

    /// Applies one effect of files or commands. Only [`Target::apply`] calls this: it does those
    /// that are the same for every transport by itself ([`Effect::Http`], [`Effect::Fetch`],
    /// [`Effect::Feed`]), and an implementation refuses them.
    async fn apply(&self, effect: &Effect) -> Result<Output, RemoteError>;

    /// As [`apply`](Host::apply), and under a lock the host notes what became of it.
    async fn apply_as(&self, effect: &Effect, _id: &EffectId) -> Result<Output, RemoteError> {
        self.apply(effect).await
    }

    /// Check mode: later observations answer as if `effect` had been applied. Only an overlay
    /// knows how; a real host isn't asked.
    fn assume(&self, _effect: &Effect) {}

    /// Streams the bytes of a file of the host, in constant memory.
    async fn download(&self, path: &str)
    -> Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>, RemoteError>;

    /// Gives `pieces` to a shell script of the host on its standard input.
    async fn feed(
        &self,
        script: &str,
        pieces: tokio::sync::mpsc::Receiver<Vec<u8>>,
    ) -> Result<Output, RemoteError>;

    /// A byte stream to a TCP address as the host sees it (`direct-tcpip`).
    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError>;

    /// The login name this target acts as (after become), for messages.
    fn user(&self) -> &str;

    /// Inventory name.
    fn name(&self) -> &str;
}

pub trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

/// One host as one user, cheap to clone.
#[derive(Clone)]
pub struct Target(pub Arc<dyn Host>);

impl std::ops::Deref for Target {
    type Target = dyn Host;
    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Target {
    /// Applies one effect. Only the engine calls this.
    ///
    /// # Errors
    /// [`RemoteError`]; a command that fails is an output.
    pub async fn apply(&self, effect: &Effect) -> Result<Output, RemoteError> {
        match effect {
            Effect::Http(request) => super::http::send(self, request).await.into_output(),
            Effect::Fetch { from, to } => super::fetch::to_operator(self, from, to).await,
            Effect::Feed { archive, key, script } => super::feed::decrypted(self, archive, key, script).await,
            other => self.0.apply(other).await,
        }
    }

    /// Applies one effect and, where this run has the host's lock, leaves there under `id` which
    /// processes do it and how it ended, in the same round trip. An effect that goes on after its
    /// connection was cut can so be found, waited for and ended
    /// ([`HostLock::effect`](super::HostLock::effect)); one that is late, after another run took
    /// the lock over, is refused by the host itself. Without a lock it is [`apply`](Target::apply).
    ///
    /// The same on every transport. A command runs in a session and process group of its own, if
    /// the host has `setsid`; effects on files are known by their process alone. Of an upload only
    /// its end is noted, which puts the file in place: what came before is a temporary file.
    /// Nothing is left of [`Effect::Http`], [`Effect::Fetch`] and [`Effect::Feed`], which this
    /// machine does and which end with it.
    ///
    /// # Errors
    /// [`RemoteError`]; the lock is lost, or an effect of this id was applied under it before
    /// (both: a conflict, and nothing was done).
    pub async fn apply_as(&self, effect: &Effect, id: &EffectId) -> Result<Output, RemoteError> {
        match effect.is_noted() {
            true => self.0.apply_as(effect, id).await,
            false => self.apply(effect).await,
        }
    }

    /// What is at `path`, through links.
    pub async fn stat(&self, path: &str) -> Result<Option<Arc<Stat>>, RemoteError> {
        self.stat_with(path, true, None).await
    }

    pub async fn stat_with(
        &self,
        path: &str,
        follow: bool,
        checksum: Option<Checksum>,
    ) -> Result<Option<Arc<Stat>>, RemoteError> {
        match self.observe(Observation::Stat { path: path.into(), follow, checksum }).await? {
            Answer::Stat(stat) => Ok(stat),
            other => Err(mismatch(&other)),
        }
    }

    /// A file with its content, one round trip; `max` bytes at most.
    pub async fn read(&self, path: &str, max: u64) -> Result<Arc<FileRead>, RemoteError> {
        match self.observe(Observation::Read { path: path.into(), max }).await? {
            Answer::Read(file) => Ok(file),
            other => Err(mismatch(&other)),
        }
    }

    pub async fn list(&self, path: &str, recurse: bool) -> Result<Arc<Vec<Stat>>, RemoteError> {
        match self.observe(Observation::List { path: path.into(), recurse }).await? {
            Answer::List(entries) => Ok(entries),
            other => Err(mismatch(&other)),
        }
    }

    /// A command that only looks and whose answer is stable.
    pub async fn query(&self, command: Command) -> Result<Arc<Output>, RemoteError> {
        match self.observe(Observation::Query(command)).await? {
            Answer::Output(output) => Ok(output),
            other => Err(mismatch(&other)),
        }
    }

    /// A command that only looks and whose answer changes by itself.
    pub async fn probe(&self, command: Command) -> Result<Arc<Output>, RemoteError> {
        match self.observe(Observation::Probe(command)).await? {
            Answer::Output(output) => Ok(output),
            other => Err(mismatch(&other)),
        }
    }
}

fn mismatch(answer: &Answer) -> RemoteError {
    RemoteError {
        kind: RemoteErrorKind::Refused,
        message: format!("the transport answered another question than was asked: {answer:?}"),
        help: None,
    }
}
