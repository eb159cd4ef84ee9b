//! A link that connects again. What a lost connection carried is lost; who comes after it gets a
//! new one, so that a cut can be looked into, a transaction taken back and a lock renewed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;

use super::connections::{Connection, Link, Observer, TransportKind};
use super::shell::Channel;
use super::transports::{local, native, openssh};
use super::{RemoteError, Stream, trouble};

pub struct Lasting {
    name: String,
    connection: Connection,
    observer: Observer,
    link: Mutex<Arc<dyn Link>>,
    /// Held by who connects; the others wait.
    connecting: AsyncMutex<()>,
    closed: AtomicBool,
}

impl Lasting {
    /// # Errors
    /// Unreachable, or refused.
    pub async fn start(
        name: &str,
        connection: &Connection,
        observer: Observer,
    ) -> Result<Lasting, RemoteError> {
        let link = connect(name, connection, &observer).await?;
        Ok(Lasting {
            name: name.to_string(),
            connection: connection.clone(),
            observer,
            link: Mutex::new(link),
            connecting: AsyncMutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    fn link(&self) -> Arc<dyn Link> {
        self.link.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Another one instead of `lost`, unless somebody made that already.
    async fn instead_of(&self, lost: &Arc<dyn Link>) -> Result<Arc<dyn Link>, RemoteError> {
        let _connecting = self.connecting.lock().await;
        let now = self.link();
        if !Arc::ptr_eq(&now, lost) {
            return Ok(now);
        }
        let link = connect(&self.name, &self.connection, &self.observer).await?;
        *self.link.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = link.clone();
        Ok(link)
    }

    /// A channel as a rehearsal may want it; nothing where connections are refused.
    fn troubled<T>(&self, opened: T, cuttable: impl FnOnce(T) -> T) -> T {
        if trouble::meets(&self.connection) { cuttable(opened) } else { opened }
    }

    fn let_in(&self) -> Result<(), RemoteError> {
        if trouble::meets(&self.connection) { trouble::let_in() } else { Ok(()) }
    }

    async fn can_be_replaced(&self, link: &Arc<dyn Link>) -> bool {
        !self.closed.load(Ordering::Relaxed) && link.is_lost().await
    }
}

async fn connect(
    name: &str,
    connection: &Connection,
    observer: &Observer,
) -> Result<Arc<dyn Link>, RemoteError> {
    observer.tell(name, || format!("CONNECT {}", connection.place()));
    Ok(match connection.transport {
        TransportKind::Ssh => Arc::new(openssh::Master::start(connection).await?),
        TransportKind::Native => Arc::new(native::Client::connect(connection).await?),
        TransportKind::Local => Arc::new(local::Local),
    })
}

#[async_trait]
impl Link for Lasting {
    fn free(&self) -> usize {
        self.link().free()
    }

    async fn open(&self, command: &str) -> Result<Channel, RemoteError> {
        self.let_in()?;
        let link = self.link();
        let opened = match link.open(command).await {
            Err(_) if self.can_be_replaced(&link).await => self.instead_of(&link).await?.open(command).await,
            opened => opened,
        };
        Ok(self.troubled(opened?, trouble::channel))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        self.let_in()?;
        let link = self.link();
        let connected = match link.connect(host, port).await {
            Err(_) if self.can_be_replaced(&link).await => {
                self.instead_of(&link).await?.connect(host, port).await
            }
            connected => connected,
        };
        Ok(self.troubled(connected?, trouble::stream))
    }

    async fn is_lost(&self) -> bool {
        self.link().is_lost().await
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.link().close().await;
    }
}
