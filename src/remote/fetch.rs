//! A file of a host → a file of the operator's machine, in constant memory.

use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Output, RemoteError, RemoteErrorKind, Target};

/// Streams `from` of `host` to `to`, atomically: beside it, synced, renamed. The output's `stdout`
/// is the SHA-256 of what was written, lower-case hex.
///
/// # Errors
/// The host can't read it, or this machine can't write it; then `to` is as it was.
pub async fn to_operator(host: &Target, from: &str, to: &Path) -> Result<Output, RemoteError> {
    let begun = Instant::now();
    let refused = |what: &str, e: std::io::Error| RemoteError {
        kind: RemoteErrorKind::Refused,
        message: format!("{what} {} on this machine: {e}", to.display()),
        help: None,
    };
    let folder = match to.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    tokio::fs::create_dir_all(folder).await.map_err(|e| refused("cannot make the folder of", e))?;
    let mut source = host.download(from).await?;
    let (file, temporary) = tempfile::Builder::new()
        .prefix(".seqn-fetch-")
        .tempfile_in(folder)
        .map_err(|e| refused("cannot write", e))?
        .into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let n = source.read(&mut buffer).await.map_err(|e| RemoteError {
            kind: RemoteErrorKind::Unreachable,
            message: format!("reading {from} was cut off: {e}"),
            help: None,
        })?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n]).await.map_err(|e| refused("cannot write", e))?;
    }
    file.sync_all().await.map_err(|e| refused("cannot write", e))?;
    temporary.persist(to).map_err(|e| refused("cannot replace", e.error))?;
    let digest = crate::source::hex::hex(hash.finalize());
    Ok(Output { stdout: digest.into_bytes(), duration: begun.elapsed(), ..Output::default() })
}
