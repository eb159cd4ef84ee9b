//! A password for the user's own `ssh`, without an argument list or an environment that shows it:
//! ssh runs us as its askpass program, and we ask the run itself over a socket in a private folder.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::{RemoteError, RemoteErrorKind};
use crate::source::Text;

/// Names the socket in the environment of ssh.
pub const SOCKET: &str = "SEQN_ASKPASS_SOCKET";

/// Answers until it is dropped.
pub struct Askpass {
    socket: PathBuf,
    /// The one `ssh` that may ask. Others inherit its environment: the one that a ProxyJump starts
    /// would hand the password to the host on the way.
    client: Arc<AtomicU32>,
    answering: JoinHandle<()>,
}

impl Askpass {
    /// Waits in the background for questions.
    ///
    /// # Errors
    /// The socket can't be made.
    pub fn start(dir: &Path, password: Text) -> Result<Askpass, RemoteError> {
        let socket = dir.join("p");
        let listener = UnixListener::bind(&socket).map_err(|e| RemoteError {
            kind: RemoteErrorKind::Unreachable,
            message: format!("can't prepare to give ssh the password: {e}"),
            help: None,
        })?;
        let client = Arc::new(AtomicU32::new(0));
        let allowed = client.clone();
        let answering = tokio::spawn(async move {
            while let Ok((mut asked, _)) = listener.accept().await {
                let may = asked.read_u32().await.is_ok_and(|pid| pid == allowed.load(Ordering::SeqCst));
                if may {
                    // ssh went away: nothing to tell anyone.
                    asked.write_all(password.as_bytes()).await.ok();
                }
            }
        });
        Ok(Askpass { socket, client, answering })
    }

    pub fn prepare(&self, ssh: &mut Command) {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("seqn-play"));
        ssh.env("SSH_ASKPASS", program)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", std::env::var_os("DISPLAY").unwrap_or(":".into()))
            .env(SOCKET, &self.socket);
    }

    /// Only the process `pid` is answered.
    pub fn answer_only(&self, pid: u32) {
        self.client.store(pid, Ordering::SeqCst);
    }
}

impl Drop for Askpass {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// Where this process was called by ssh: gives it the password and says how to exit.
pub fn answer() -> Option<ExitCode> {
    let socket = std::env::var_os(SOCKET)?;
    let ask = || {
        let mut run = Blocking::connect(socket)?;
        run.write_all(&std::os::unix::process::parent_id().to_be_bytes())?;
        let mut password = zeroize::Zeroizing::new(Vec::new());
        run.read_to_end(&mut password)?;
        password.push(b'\n');
        std::io::stdout().write_all(&password)?;
        Ok::<_, std::io::Error>(password.len() > 1)
    };
    Some(if ask().unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
