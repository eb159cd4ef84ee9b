//! A channel of an SSH connection as three streams.
//!
//! What comes in is taken off the connection in the order in which it came. A stream whose reader
//! went away is thrown away; one that isn't read holds up the connection once its buffer is full,
//! so memory stays bounded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Told;
use crate::remote::shell::Channel;

/// Packets (of 32 KiB at most) that wait for their reader.
const WAITING: usize = 16;

/// The code of stderr in the protocol.
const STDERR: u32 = 1;

/// The three streams of an open channel.
pub fn streams(channel: russh::Channel<Msg>, told: Arc<Told>, permit: OwnedSemaphorePermit) -> Channel {
    let (input, output) = channel.split();
    let (to_out, stdout) = mpsc::channel(WAITING);
    let (to_err, stderr) = mpsc::channel(WAITING);
    let (over, is_over) = oneshot::channel();
    tokio::spawn(sort(input, to_out, to_err, told, over));
    let writer = Box::pin(output.make_writer());
    Channel {
        stdin: Box::new(Input { writer: Some(writer), over: Some(is_over), ended: false }),
        stdout: Box::new(Reader { packets: stdout, current: Bytes::new() }),
        stderr: Box::new(Reader { packets: stderr, current: Bytes::new() }),
        keep: Box::new(Keep { output: Some(output), _permit: permit }),
    }
}

type Packet = io::Result<Bytes>;

/// Hands each packet to its stream until the channel is over.
async fn sort(
    mut input: ChannelReadHalf,
    stdout: mpsc::Sender<Packet>,
    stderr: mpsc::Sender<Packet>,
    told: Arc<Told>,
    over: oneshot::Sender<()>,
) {
    let mut streams = Some((stdout, stderr));
    let mut refused = None;
    while let Some(message) = input.wait().await {
        match (message, &streams) {
            // A reader that went away is no error of ours.
            (ChannelMsg::Data { data }, Some((stdout, _))) => drop(stdout.send(Ok(data)).await),
            (ChannelMsg::ExtendedData { data, ext: STDERR }, Some((_, stderr))) => {
                drop(stderr.send(Ok(data)).await);
            }
            (ChannelMsg::Eof, _) => streams = None,
            (ChannelMsg::Close, _) => {
                streams = None;
                break;
            }
            (ChannelMsg::Failure, _) => {
                refused = Some("the host refuses to run a command".to_string());
                break;
            }
            _ => {}
        }
    }
    // Without an end from the other side what came may be half of it: never an end of file.
    if let Some((stdout, stderr)) = streams {
        let why = refused.or_else(|| told.why_gone()).unwrap_or_else(|| "the connection was cut".into());
        for stream in [stdout, stderr] {
            let gone = io::Error::new(io::ErrorKind::ConnectionAborted, why.clone());
            stream.send(Err(gone)).await.ok();
        }
    }
    over.send(()).ok();
}

struct Reader {
    packets: mpsc::Receiver<Packet>,
    current: Bytes,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.packets.poll_recv(cx)) {
                Some(packet) => self.current = packet?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current[..length]);
        self.current.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// The other side's standard input. Ends there when dropped.
struct Input {
    writer: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    over: Option<oneshot::Receiver<()>>,
    ended: bool,
}

impl Input {
    /// A writer that waits for the other side's window is woken by nothing else when that side
    /// goes away.
    fn writer(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut (dyn AsyncWrite + Send)>> {
        if let Some(over) = &mut self.over
            && Pin::new(over).poll(cx).is_ready()
        {
            self.over = None;
        }
        match (&self.over, &mut self.writer) {
            (Some(_), Some(writer)) => Ok(writer.as_mut()),
            _ => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the other side closed it")),
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match self.writer(cx) {
            Ok(writer) => writer.poll_write(cx, bytes),
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.writer(cx) {
            Ok(writer) => writer.poll_flush(cx),
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let done = match self.writer(cx) {
            Ok(writer) => ready!(writer.poll_shutdown(cx)),
            // What is over needs no end.
            Err(_) => Ok(()),
        };
        self.ended = true;
        Poll::Ready(done)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let (Some(mut writer), Ok(runtime)) = (self.writer.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { writer.shutdown().await });
        }
    }
}

/// Closes the channel when dropped.
struct Keep {
    output: Option<ChannelWriteHalf<Msg>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Keep {
    fn drop(&mut self) {
        if let (Some(output), Ok(runtime)) = (self.output.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { output.close().await });
        }
    }
}

/// Two directions as one stream.
pub struct Joined {
    pub channel: Channel,
}

impl AsyncRead for Joined {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Joined {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.channel.stdin).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel.stdin).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel.stdin).poll_shutdown(cx)
    }
}
