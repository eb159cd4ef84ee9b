//! A file of a host as a stream of bytes, on a channel of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::quote::quote;
use super::shell::{Channel, MAX_BANNER, token};
use super::{RemoteError, RemoteErrorKind};

/// How long the first byte may take.
const BEGIN: Duration = Duration::from_secs(20);

/// Begins to read `path`.
///
/// # Errors
/// It can't be read, or the host went away.
pub async fn open(
    mut channel: Channel,
    path: &str,
    user: &str,
) -> Result<Box<dyn AsyncRead + Send + Unpin>, RemoteError> {
    let cut = |why: String| RemoteError {
        kind: RemoteErrorKind::Unreachable,
        message: format!("the download of {path} was cut: {why}"),
        help: None,
    };
    let (go, no, end) = (token(), token(), token());
    let quoted = quote(path);
    let line = format!(
        "if [ -r {quoted} ] && [ -f {quoted} ]; then echo {go}; cat <{quoted} && echo {end}; else echo {no}; fi"
    );
    let line = super::script::line(&line);
    let begin = async {
        channel.stdin.write_all(line.as_bytes()).await?;
        channel.stdin.flush().await?;
        let mut head = Vec::new();
        // What a login script printed may come first.
        while head.len() < MAX_BANNER {
            head.push(channel.stdout.read_u8().await?);
            if head.ends_with(format!("{no}\n").as_bytes()) {
                return Ok(false);
            }
            if head.ends_with(format!("{go}\n").as_bytes()) {
                return Ok(true);
            }
        }
        Err(io::Error::other("the host says something else"))
    };
    match tokio::time::timeout(BEGIN, begin).await {
        Err(_) => Err(cut(format!("it did not begin within {} s", BEGIN.as_secs()))),
        Ok(Err(e)) => Err(cut(e.to_string())),
        Ok(Ok(false)) => Err(RemoteError {
            kind: RemoteErrorKind::Refused,
            message: format!("{path} is not a file that {user} may read"),
            help: None,
        }),
        Ok(Ok(true)) => Ok(Box::new(Download { channel, end: format!("{end}\n").into(), held: Vec::new() })),
    }
}

/// The bytes of the file. Its end counts only with the token after it: a connection that was cut
/// must not look like a shorter file.
struct Download {
    channel: Channel,
    end: Vec<u8>,
    /// What may be the beginning of the token.
    held: Vec<u8>,
}

impl AsyncRead for Download {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Download { channel, end, held } = &mut *self;
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while held.len() <= end.len() {
            let mut chunk = [0; 32 << 10];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut channel.stdout).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(match held == end {
                    true => Ok(()),
                    false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file did not come whole")),
                });
            }
            held.extend_from_slice(read.filled());
        }
        let length = (held.len() - end.len()).min(buffer.remaining());
        buffer.put_slice(&held[..length]);
        held.drain(..length);
        Poll::Ready(Ok(()))
    }
}
