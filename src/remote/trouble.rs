//! Troubles of the way to hosts, for rehearsals: connections that are cut, refused or slow. Nothing of
//! it happens unless a fault is armed (`engine/fault.rs`); the way to the operator's own machine has
//! none.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shell::Channel;
use super::{Connection, RemoteError, RemoteErrorKind, Stream, TransportKind};

/// What one exchange takes longer with a slow host.
const SLOW: Duration = Duration::from_millis(200);

static EXPECTED: AtomicBool = AtomicBool::new(false);
static REFUSED: AtomicBool = AtomicBool::new(false);
static IS_SLOW: AtomicBool = AtomicBool::new(false);
/// How often everything was cut.
static CUTS: AtomicU64 = AtomicU64::new(0);
static WAITING: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// From now on there may be trouble: what is opened can be cut.
pub fn expect() {
    EXPECTED.store(true, Ordering::SeqCst);
}

/// Everything that is open is lost; what is opened later works.
pub fn cut() {
    CUTS.fetch_add(1, Ordering::SeqCst);
    let waiting = std::mem::take(&mut *WAITING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    waiting.into_iter().for_each(Waker::wake);
}

/// Everything that is open is lost, and nothing is opened any more.
pub fn refuse() {
    REFUSED.store(true, Ordering::SeqCst);
    cut();
}

/// Every exchange takes longer from now on.
pub fn slow() {
    IS_SLOW.store(true, Ordering::SeqCst);
}

/// What an exchange waits for.
pub async fn delay() {
    if IS_SLOW.load(Ordering::SeqCst) {
        tokio::time::sleep(SLOW).await;
    }
}

/// Whether a connection may have troubles.
pub fn meets(connection: &Connection) -> bool {
    let operator = Connection::operator();
    let is_operator = connection.transport == TransportKind::Local
        && connection.address == operator.address
        && connection.user.is_none();
    !is_operator
}

/// # Errors
/// Connections are refused now.
pub fn let_in() -> Result<(), RemoteError> {
    match REFUSED.load(Ordering::SeqCst) {
        false => Ok(()),
        true => Err(RemoteError {
            kind: RemoteErrorKind::Unreachable,
            message: "Connection refused (this is rehearsed)".into(),
            help: None,
        }),
    }
}

/// The channel, so that it can be cut.
pub fn channel(channel: Channel) -> Channel {
    if !EXPECTED.load(Ordering::SeqCst) {
        return channel;
    }
    Channel {
        stdin: Box::new(Cuttable::new(channel.stdin)),
        stdout: Box::new(Cuttable::new(channel.stdout)),
        stderr: Box::new(Cuttable::new(channel.stderr)),
        keep: channel.keep,
    }
}

/// The stream, so that it can be cut.
pub fn stream(stream: Box<dyn Stream>) -> Box<dyn Stream> {
    if EXPECTED.load(Ordering::SeqCst) { Box::new(Cuttable::new(stream)) } else { stream }
}

struct Cuttable<T> {
    inner: T,
    /// Cuts before it was opened.
    before: u64,
}

impl<T> Cuttable<T> {
    fn new(inner: T) -> Cuttable<T> {
        Cuttable { inner, before: CUTS.load(Ordering::SeqCst) }
    }

    /// Whether it is cut; else whoever asks is woken when it is.
    fn is_cut(&self, cx: &Context<'_>) -> bool {
        let mut waiting = WAITING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_cut = CUTS.load(Ordering::SeqCst) != self.before;
        if !is_cut && !waiting.iter().any(|known| known.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        is_cut
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Cuttable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Cuttable<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
