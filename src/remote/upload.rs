//! Bytes → a temporary file of a host, on a channel of their own, in constant memory.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::quote::quote;
use super::shell::{Channel, token};
use super::{Content, RemoteError, RemoteErrorKind};

/// What a host may say to an upload. Bytes.
const MAX_SAID: u64 = 64 << 10;

/// Fills `temp`, which is there, with `content` for `path`. A channel that is cut leaves no part
/// of it behind: the host counts the bytes itself.
///
/// # Errors
/// The connection was cut, the host can't write, or the content changed on its way.
pub async fn send(
    mut channel: Channel,
    path: &str,
    temp: &str,
    content: &Content,
) -> Result<(), RemoteError> {
    let error = |kind, why: String| RemoteError {
        kind,
        message: format!("{why}; {path} on the host is as it was"),
        help: None,
    };
    let lost =
        |why: String| error(RemoteErrorKind::Unreachable, format!("the upload of {path} was cut: {why}"));
    let local = |e: std::io::Error| error(RemoteErrorKind::Refused, format!("can't upload {path}: {e}"));
    let mut file = match content {
        Content::Operator { path, .. } => Some(tokio::fs::File::open(path).await.map_err(local)?),
        _ => None,
    };
    let size = match (content, &file) {
        (Content::Text(text), _) => text.len() as u64,
        (Content::Bytes(bytes), _) => bytes.len() as u64,
        (_, Some(file)) => file.metadata().await.map_err(local)?.len(),
        (_, None) => 0,
    };
    let done = token();
    let temp = quote(temp);
    let line = format!(
        "cat >{temp} && if [ \"$(wc -c <{temp})\" -eq {size} ]; then echo {done}; \
         else rm -f -- {temp}; echo \"it has another size than {size} bytes by now\" >&2; fi || rm -f -- {temp}"
    );
    let line = super::script::line(&line);
    let send = async {
        channel.stdin.write_all(line.as_bytes()).await?;
        match (content, &mut file) {
            (Content::Text(text), _) => channel.stdin.write_all(text.as_bytes()).await?,
            (Content::Bytes(bytes), _) => channel.stdin.write_all(bytes).await?,
            (_, Some(file)) => {
                let mut buffer = vec![0; 64 << 10];
                loop {
                    match file.read(&mut buffer).await? {
                        0 => break,
                        n => channel.stdin.write_all(&buffer[..n]).await?,
                    }
                }
            }
            (_, None) => {}
        }
        channel.stdin.shutdown().await?;
        drop(std::mem::replace(&mut channel.stdin, Box::new(tokio::io::sink())));
        Ok::<(), std::io::Error>(())
    };
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    let mut stdout = (&mut channel.stdout).take(MAX_SAID);
    let mut stderr = (&mut channel.stderr).take(MAX_SAID);
    let (sent, heard, _) =
        tokio::join!(send, stdout.read_to_end(&mut said), stderr.read_to_end(&mut complaint));
    if String::from_utf8_lossy(&said).trim_end().ends_with(&done) {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&complaint).trim().to_string();
    Err(match (heard, sent) {
        (Err(e), _) => lost(e.to_string()),
        _ if !why.is_empty() => error(RemoteErrorKind::Refused, format!("can't write {path}: {why}")),
        (_, Err(e)) => lost(e.to_string()),
        _ => lost("the host ended it".into()),
    })
}
