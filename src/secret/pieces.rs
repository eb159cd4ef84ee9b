//! Between what comes asynchronously and decrypting, which blocks: pieces over a bounded channel.

use std::io::{self, Read};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Bytes in one.
pub const PIECE: usize = 64 * 1024;
/// Pieces in flight.
const PIECES: usize = 8;

/// The receiving end as a blocking reader. A channel that closes early looks like a cut archive,
/// which age itself refuses.
pub struct Pieces {
    received: mpsc::Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
}

/// The other end.
pub struct Pump(mpsc::Sender<io::Result<Vec<u8>>>);

/// Two ends of one stream; memory stays bounded by [`PIECES`].
pub fn pieces() -> (Pump, Pieces) {
    let (send, received) = mpsc::channel(PIECES);
    (Pump(send), Pieces { received, current: Vec::new(), at: 0 })
}

impl Pump {
    /// Until `source` ends, fails, or nobody reads any more: decrypting that ended early says why.
    pub async fn run(self, mut source: impl AsyncRead + Unpin) {
        loop {
            let mut piece = vec![0; PIECE];
            let read = source.read(&mut piece).await;
            let ended = matches!(read, Ok(0) | Err(_));
            let message = read.map(|n| {
                piece.truncate(n);
                piece
            });
            if self.0.send(message).await.is_err() || ended {
                return;
            }
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            self.at = 0;
            self.current = match self.received.blocking_recv() {
                Some(piece) => piece?,
                None => Vec::new(),
            };
        }
        let n = into.len().min(self.current.len() - self.at);
        into[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
