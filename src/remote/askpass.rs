//! A password for the user's own `ssh`, without an argument list or an environment that shows it:
//! ssh runs us as its askpass program, and we ask the run itself over a socket in a private folder.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{RemoteError, RemoteErrorKind};
use crate::source::Text;

/// Names the socket in the environment of ssh.
pub const SOCKET: &str = "SEQN_ASKPASS_SOCKET";

/// Answers one question.
pub struct Askpass {
    socket: PathBuf,
}

impl Askpass {
    /// Waits in the background for one question.
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
        std::thread::spawn(move || {
            if let Ok((mut asked, _)) = listener.accept() {
                // ssh went away: nothing to tell anyone.
                asked.write_all(password.as_bytes()).ok();
            }
        });
        Ok(Askpass { socket })
    }

    pub fn prepare(&self, ssh: &mut Command) {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("seqn-play"));
        ssh.env("SSH_ASKPASS", program)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", std::env::var_os("DISPLAY").unwrap_or(":".into()))
            .env(SOCKET, &self.socket);
    }
}

/// Called by ssh: the password for it, if this process is such a call.
pub fn answer() -> Option<String> {
    let socket = std::env::var_os(SOCKET)?;
    let mut password = String::new();
    UnixStream::connect(socket).ok()?.read_to_string(&mut password).ok()?;
    Some(password)
}
