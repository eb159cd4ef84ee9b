//! The first state of the files that a run managed, as its journal knows it, and whether a host is
//! in it again.

use crate::engine::log::kept_of;
use crate::remote::{Checksum, Connection, Connections, Content, Effect, Expect};
use crate::run::history::History;
use crate::run::record::{Back, Kept};
use crate::run::seal::Seal;
use crate::source::hex::sha256;

/// A file before the first Step that touched it.
#[derive(Debug, Clone)]
pub struct Managed {
    /// The operator's machine, or a host of the inventory.
    host: String,
    connection: Connection,
    path: String,
    before: Before,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Before {
    Absent,
    /// SHA-256, lower-case hex.
    File(String),
}

/// What the Steps of a run found, file by file. A Step that its task accepts as one way
/// (`one_way: ok`) says by that that nobody wants its file back.
///
/// # Errors
/// The journal can't be opened.
pub fn first_state(history: &History, seal: &Seal) -> Result<Vec<Managed>, String> {
    let mut files: Vec<Managed> = Vec::new();
    for step in &history.steps {
        let kept = kept_of(seal, step).map_err(|why| why.message)?;
        let host = step.intent.target.clone().unwrap_or_else(|| "localhost".into());
        let connection = kept.connection.clone().unwrap_or_else(Connection::operator);
        for (path, before) in found(&kept) {
            if !files.iter().any(|f| f.host == host && f.path == path) {
                files.push(Managed { host: host.clone(), connection: connection.clone(), path, before });
            }
        }
    }
    Ok(files)
}

fn found(kept: &Kept) -> Vec<(String, Before)> {
    let Back::Effects(effects) = &kept.back else { return Vec::new() };
    let stated = match &kept.expects {
        Some(Expect::Sha256(hash)) => Some(Before::File(hash.clone())),
        Some(Expect::Absent) => Some(Before::Absent),
        Some(Expect::Anything) | None => None,
    };
    let of = |effect: &Effect| match effect {
        Effect::Write { path, content, .. } => {
            let bytes: &[u8] = match content {
                Content::Text(text) => text.as_bytes(),
                Content::Bytes(bytes) => bytes,
                // Larger than what a journal keeps.
                Content::Operator { .. } | Content::Host { .. } => {
                    return stated.clone().map(|s| (path.clone(), s));
                }
            };
            let before = stated.clone().unwrap_or_else(|| Before::File(sha256(bytes)));
            Some((path.clone(), before))
        }
        Effect::Unmake { path, .. } | Effect::Remove { path, .. } => Some((path.clone(), Before::Absent)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// Which of them are otherwise now, each as a sentence.
///
/// # Errors
/// A host can't be asked.
pub async fn otherwise(files: &[Managed]) -> Result<Vec<String>, String> {
    let connections = Connections::new();
    let mut found = Vec::new();
    for file in files {
        let wrong = |e: crate::remote::RemoteError| format!("[{}] {}: {}", file.host, file.path, e.message);
        let target = connections.target(&file.host, &file.connection).await.map_err(wrong)?;
        let stat = target.stat_with(&file.path, true, Some(Checksum::Sha256)).await.map_err(wrong)?;
        let (before, now) = (&file.before, stat.as_ref().map(|stat| stat.checksum.clone()));
        let what = match (before, now) {
            (Before::Absent, None) => continue,
            (Before::File(hash), Some(Some(now))) if *hash == now => continue,
            (Before::Absent, Some(_)) => "it was not there, and is there now",
            (Before::File(_), None) => "it is gone",
            (Before::File(_), Some(Some(_))) => "its content is not what it was",
            (Before::File(_), Some(None)) => "its content can't be read",
        };
        found.push(format!("[{}] {}: {what}", file.host, file.path));
    }
    connections.close().await;
    Ok(found)
}
