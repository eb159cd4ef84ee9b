//! A decrypted archive → the standard input of a command on the host, in constant memory. The
//! plaintext passes through this machine and is kept nowhere.

use std::io::Read;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::shell::{Channel, token};
use super::{Output, RemoteError, RemoteErrorKind, Target};
use crate::secret::archive::{Key, KeyAt, read_error};
use crate::secret::pieces::{Pieces, pieces};

/// What a fed command may say on each stream; the rest isn't heard. Bytes.
const MAX_SAID: u64 = 1 << 20;
const PIECE: usize = 64 * 1024;
const PIECES: usize = 8;

/// Decrypts `archive` of `host` with a key of this machine and gives the plaintext to `script`, a
/// shell script of the host. The output is the script's.
///
/// # Errors
/// The archive can't be read or decrypted to its end, or the connection was cut. What the script
/// made of a part of it is then its own affair.
pub async fn decrypted(
    host: &Target,
    archive: &str,
    key: &KeyAt,
    script: &str,
) -> Result<Output, RemoteError> {
    let begun = Instant::now();
    let refused = |message: String| RemoteError { kind: RemoteErrorKind::Refused, message, help: None };
    let key = Key::load(key).map_err(|e| refused(e.message))?;
    let source = host.download(archive).await?;
    let (pump, encrypted) = pieces();
    let (give, plain) = mpsc::channel(PIECES);
    let work = tokio::task::spawn_blocking(move || open(encrypted, &key, &give));
    let (fed, ()) = tokio::join!(host.feed(script, plain), pump.run(source));
    let opened = work.await.map_err(|e| refused(format!("decrypting was cut short: {e}")))?;
    // What the script says of half an archive is beside the point.
    opened.map_err(|why| refused(format!("{archive} could not be decrypted: {why}")))?;
    Ok(Output { duration: begun.elapsed(), ..fed? })
}

fn open(encrypted: Pieces, key: &Key, give: &mpsc::Sender<Vec<u8>>) -> Result<(), String> {
    let mut plain = key.decrypt_stream(encrypted).map_err(|e| e.message)?;
    loop {
        let mut piece = vec![0; PIECE];
        let n = plain.read(&mut piece).map_err(|e| read_error(e).message)?;
        piece.truncate(n);
        // A script that reads no more ends the channel; its status says whether that was right.
        if n == 0 || give.blocking_send(piece).is_err() {
            return Ok(());
        }
    }
}

/// Gives `pieces` to a script on a channel of its own.
///
/// # Errors
/// The connection was cut before the script's status came.
pub async fn send(
    mut channel: Channel,
    script: &str,
    mut pieces: mpsc::Receiver<Vec<u8>>,
) -> Result<Output, RemoteError> {
    let done = token();
    let line = super::script::line(&format!("(\n{script}\n)\necho \"{done} $?\""));
    let send = async {
        channel.stdin.write_all(line.as_bytes()).await?;
        while let Some(piece) = pieces.recv().await {
            channel.stdin.write_all(&piece).await?;
        }
        channel.stdin.shutdown().await?;
        drop(std::mem::replace(&mut channel.stdin, Box::new(tokio::io::sink())));
        Ok::<(), std::io::Error>(())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut said = (&mut channel.stdout).take(MAX_SAID);
    let mut complaint = (&mut channel.stderr).take(MAX_SAID);
    let (_, heard, _) = tokio::join!(send, said.read_to_end(&mut stdout), complaint.read_to_end(&mut stderr));
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let ended = text.rsplit_once(&done).and_then(|(said, status)| Some((said, status.trim().parse().ok()?)));
    match ended {
        Some((said, status)) => {
            Ok(Output { status, stdout: said.as_bytes().to_vec(), stderr, ..Output::default() })
        }
        None => Err(RemoteError {
            kind: RemoteErrorKind::Unreachable,
            message: format!(
                "the command that was fed was cut{}",
                heard.err().map(|e| format!(": {e}")).unwrap_or_default()
            ),
            help: None,
        }),
    }
}
