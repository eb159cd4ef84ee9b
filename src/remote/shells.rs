//! Channels of a host's users: work shells that can give way, and what is opened for a while.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::become_user::{self, Become};
use super::connections::{Link, Route};
use super::host::WorkShell;
use super::shell::{BOOTSTRAP, Channel, Shell};
use super::{RemoteError, Stream};

/// A host as one user.
pub struct UserRoute {
    pub link: Arc<dyn Link>,
    pub become_: Option<Become>,
    pub shells: Arc<Shells>,
}

/// The work shells of a host's users.
#[derive(Default)]
pub struct Shells(Mutex<Vec<WorkShell>>);

impl Shells {
    pub fn add(&self, shell: WorkShell) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(shell);
    }

    /// Ends one that nobody uses now; its user gets another when there is a need.
    fn end_one(&self) {
        let shells = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for shell in shells.iter() {
            if shell.try_lock().is_ok_and(|mut shell| shell.take().is_some()) {
                return;
            }
        }
    }
}

#[async_trait]
impl Route for UserRoute {
    async fn shell(&self) -> Result<Shell, RemoteError> {
        Shell::start(self.channel().await?).await
    }

    async fn channel(&self) -> Result<Channel, RemoteError> {
        // The shells of a host's other users may fill it.
        if self.link.free() == 0 {
            self.shells.end_one();
        }
        match &self.become_ {
            None => self.link.open(BOOTSTRAP).await,
            Some(wanted) => become_user::open(&*self.link, wanted).await,
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        self.link.connect(host, port).await
    }
}
