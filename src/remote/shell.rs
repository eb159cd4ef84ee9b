//! One `sh` on a host that runs script after script.
//!
//! The host runs [`BOOTSTRAP`]: it reads one line and evaluates it; that line is [`LOOP`], which
//! reads a script up to a line that nobody can guess, runs it in a subshell with stdin from
//! /dev/null, and marks its end on stdout and stderr. `read -r` takes exactly its lines from a
//! pipe in every sh, so nothing is read ahead and nothing of a payload is ever executed.

use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Output, RemoteError, RemoteErrorKind};

/// What the host is asked to run. No quote, backslash, `!` or newline inside the quotes, so that
/// csh and fish as login shells pass it on as it is.
pub const BOOTSTRAP: &str = "exec sh -c 'IFS= read -r l; eval \"$l\"'";

const PRELUDE: &str = include_str!("prelude.sh");

/// Output of one script that is kept in memory, each of stdout and stderr. Bytes.
pub const MAX_OUTPUT: usize = 64 << 20;

/// What comes before the shell is ready (a banner of a login script) may be this long.
pub const MAX_BANNER: usize = 64 << 10;

/// How long a shell may take to answer its first line.
const READY: Duration = Duration::from_secs(20);

/// How long to wait for what a shell that ended still has to say.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running process on the other side, by its three streams. Dropping it ends our side.
pub struct Channel {
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Kept for as long as the channel is: the child process or session.
    pub keep: Box<dyn std::any::Any + Send>,
}

/// A shell that is ready for scripts.
pub struct Shell {
    channel: Channel,
    out: Vec<u8>,
    err: Vec<u8>,
}

pub fn token() -> String {
    let mut bytes = [0u8; 16];
    rand::rng().fill(&mut bytes);
    crate::source::hex::hex(bytes)
}

fn lost(why: impl std::fmt::Display) -> RemoteError {
    RemoteError {
        kind: RemoteErrorKind::Unreachable,
        message: format!("the connection was lost: {why}"),
        help: Some("what the last task did on the host is not known; look there before running again".into()),
    }
}

impl Shell {
    /// Starts the loop on a channel on which [`BOOTSTRAP`] runs.
    ///
    /// # Errors
    /// The host closed the channel, or said nothing that could be understood in time.
    pub async fn start(mut channel: Channel) -> Result<Shell, RemoteError> {
        let ready = token();
        let line = format!(
            "n=\"$(echo; echo .)\"; n=${{n%.}}; echo {ready}; echo {ready} >&2; \
             while IFS= read -r t; do p=; \
             while IFS= read -r l && [ \"$l\" != \"$t\" ]; do p=$p$l$n; done; \
             if [ \"$t\" = prelude ]; then eval \"$p\"; else \
             (eval \"$p\") </dev/null; s=$?; echo; echo \"$t $s\"; echo >&2; echo \"$t\" >&2; fi; done\nprelude\n{PRELUDE}prelude\n"
        );
        let sent = async {
            channel.stdin.write_all(line.as_bytes()).await?;
            channel.stdin.flush().await
        };
        tokio::time::timeout(READY, sent).await.map_err(lost)?.map_err(lost)?;
        let mut shell = Shell { channel, out: Vec::new(), err: Vec::new() };
        let marker = format!("{ready}\n");
        let answered = tokio::time::timeout(READY, async {
            let Shell { channel, out, err } = &mut shell;
            tokio::try_join!(
                until(&mut channel.stdout, out, marker.as_bytes(), MAX_BANNER),
                until(&mut channel.stderr, err, marker.as_bytes(), MAX_BANNER),
            )
        })
        .await;
        let said = |shell: &Shell| {
            let text =
                format!("{}\n{}", String::from_utf8_lossy(&shell.err), String::from_utf8_lossy(&shell.out));
            let text: String = text.replace(&marker, "").trim().chars().take(400).collect();
            if text.is_empty() { "it said nothing".to_string() } else { format!("it said: {text}") }
        };
        match answered {
            Ok(Ok(_)) => {
                shell.out.clear();
                shell.err.clear();
                Ok(shell)
            }
            Ok(Err(why)) => {
                // The reason may stand on the stream that is still open.
                let Shell { channel, out, err } = &mut shell;
                let rest = async {
                    tokio::join!(
                        until(&mut channel.stdout, out, marker.as_bytes(), MAX_BANNER),
                        until(&mut channel.stderr, err, marker.as_bytes(), MAX_BANNER),
                    )
                };
                tokio::time::timeout(LAST_WORDS, rest).await.ok();
                Err(RemoteError {
                    kind: RemoteErrorKind::Unreachable,
                    message: format!("no shell could be started on the host ({why}); {}", said(&shell)),
                    help: None,
                })
            }
            Err(_) => Err(RemoteError {
                kind: RemoteErrorKind::Unreachable,
                message: format!(
                    "the host's shell did not answer within {} s; {}",
                    READY.as_secs(),
                    said(&shell)
                ),
                help: None,
            }),
        }
    }

    /// Makes more functions known to every later script. Nothing answers to it.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn define(&mut self, functions: &str) -> Result<(), RemoteError> {
        let text = format!("prelude\n{}\nprelude\n", functions.trim_end_matches('\n'));
        let sent = async {
            self.channel.stdin.write_all(text.as_bytes()).await?;
            self.channel.stdin.flush().await
        };
        tokio::time::timeout(READY, sent).await.map_err(lost)?.map_err(lost)
    }

    /// Runs one script. After an error the shell must be thrown away.
    ///
    /// # Errors
    /// The connection was lost, or more than [`MAX_OUTPUT`] came.
    pub async fn run(&mut self, script: &str) -> Result<Output, RemoteError> {
        let token = token();
        let began = std::time::Instant::now();
        let input = format!("{token}\n{}\n{token}\n", script.trim_end_matches('\n'));
        let Shell { channel, out, err } = self;
        let marker_out = format!("\n{token} ");
        let marker_err = format!("\n{token}\n");
        let write = async {
            channel.stdin.write_all(input.as_bytes()).await?;
            channel.stdin.flush().await
        };
        let (_, out_end, err_end) = tokio::try_join!(
            write,
            until(&mut channel.stdout, out, marker_out.as_bytes(), MAX_OUTPUT),
            until(&mut channel.stderr, err, marker_err.as_bytes(), MAX_OUTPUT),
        )
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::FileTooLarge => RemoteError {
                kind: RemoteErrorKind::Limit,
                message: format!(
                    "more than {} MiB of output came; send it to a file instead",
                    MAX_OUTPUT >> 20
                ),
                help: None,
            },
            _ => lost(e),
        })?;
        let rest_at = out_end + marker_out.len();
        let line_end =
            until_from(&mut channel.stdout, out, rest_at, b"\n", MAX_OUTPUT + 32).await.map_err(lost)?;
        let status = std::str::from_utf8(&out[rest_at..line_end])
            .ok()
            .and_then(|s| s.trim().parse().ok())
            .ok_or_else(|| lost("the end of a command could not be read"))?;
        let stdout = out[..out_end].to_vec();
        let stderr = err[..err_end].to_vec();
        out.drain(..line_end + 1);
        err.drain(..err_end + marker_err.len());
        Ok(Output { status, stdout, stderr, duration: began.elapsed(), started: None, stat: None })
    }
}

/// Reads into `buffer` until it holds `marker`; its offset.
async fn until(
    from: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut Vec<u8>,
    marker: &[u8],
    limit: usize,
) -> std::io::Result<usize> {
    until_from(from, buffer, 0, marker, limit).await
}

async fn until_from(
    from: &mut (dyn AsyncRead + Send + Unpin),
    buffer: &mut Vec<u8>,
    start: usize,
    marker: &[u8],
    limit: usize,
) -> std::io::Result<usize> {
    let mut searched = start;
    loop {
        if let Some(at) = find(&buffer[searched..], marker) {
            return Ok(searched + at);
        }
        // A marker may be cut by the chunk's end.
        searched = buffer.len().saturating_sub(marker.len() - 1).max(start);
        if buffer.len() > limit {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "too much output"));
        }
        buffer.reserve(32 << 10);
        if from.read_buf(buffer).await? == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the other side closed it"));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // The first byte is rare (a newline before a token): skip to it quickly.
    let mut at = 0;
    while let Some(next) = haystack[at..].iter().position(|b| *b == needle[0]) {
        at += next;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}
