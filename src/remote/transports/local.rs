//! The operator's machine: `sh` as a child.

use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::Command;

use crate::remote::connections::{Link, OPEN};
use crate::remote::shell::Channel;
use crate::remote::{RemoteError, RemoteErrorKind, Stream};

pub struct Local;

#[async_trait]
impl Link for Local {
    fn free(&self) -> usize {
        usize::MAX
    }

    async fn open(&self, command: &str) -> Result<Channel, RemoteError> {
        let error = |message: String| RemoteError { kind: RemoteErrorKind::Unreachable, message, help: None };
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: Ctrl-C at the terminal is ours to answer.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| error(format!("can't start sh on this machine: {e}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(error("sh was started without pipes".into()));
        };
        Ok(Channel {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            keep: Box::new(child),
        })
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        let refused = |why: String| RemoteError {
            kind: RemoteErrorKind::Refused,
            message: format!("can't connect to {host} port {port}: {why}"),
            help: None,
        };
        match tokio::time::timeout(OPEN, tokio::net::TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(e)) => Err(refused(e.to_string())),
            Err(_) => Err(refused(format!("no answer within {} s", OPEN.as_secs()))),
        }
    }

    async fn is_lost(&self) -> bool {
        false
    }

    async fn close(&self) {}
}
