//! A built-in SSH client (russh): no `ssh` binary, no process for each host.

use async_trait::async_trait;

use crate::remote::connections::{Connection, Link};
use crate::remote::shell::Channel;
use crate::remote::{RemoteError, RemoteErrorKind, Stream};

pub struct Client {}

impl Client {
    pub async fn connect(_: &Connection) -> Result<Client, RemoteError> {
        Err(RemoteError { kind: RemoteErrorKind::Unreachable, message: "soon".into(), help: None })
    }
}

#[async_trait]
impl Link for Client {
    async fn open(&self, _: &str) -> Result<Channel, RemoteError> {
        Err(RemoteError { kind: RemoteErrorKind::Unreachable, message: "soon".into(), help: None })
    }
    async fn connect(&self, _: &str, _: u16) -> Result<Box<dyn Stream>, RemoteError> {
        Err(RemoteError { kind: RemoteErrorKind::Unreachable, message: "soon".into(), help: None })
    }
    async fn close(&self) {}
}
