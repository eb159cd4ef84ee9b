//! The first state of the files that a run managed, as its journal knows it, and whether a host is
//! in it again.

use crate::engine::log::kept_of;
use crate::remote::{Attributes, Checksum, Connection, Connections, Content, Effect, Expect, Stat};
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

#[derive(Debug, Clone, PartialEq)]
enum Before {
    Absent,
    There {
        /// SHA-256, lower-case hex, of a file where it is known.
        content: Option<String>,
        /// Times don't count.
        attributes: Attributes,
    },
}

impl Before {
    fn file(content: String, attributes: Attributes) -> Before {
        Before::There { content: Some(content), attributes }
    }

    /// What a later Step found counts only for what this one didn't say: attributes change no content.
    fn learn(&mut self, later: Before) {
        if let (Before::There { content: content @ None, .. }, Before::There { content: later, .. }) =
            (self, later)
        {
            *content = later;
        }
    }
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
            match files.iter_mut().find(|f| f.host == host && f.path == path) {
                Some(known) => known.before.learn(before),
                None => {
                    files.push(Managed { host: host.clone(), connection: connection.clone(), path, before });
                }
            }
        }
    }
    Ok(files)
}

fn found(kept: &Kept) -> Vec<(String, Before)> {
    let Back::Effects(effects) = &kept.back else { return Vec::new() };
    let stated = |attributes: Attributes| match &kept.expects {
        Some(Expect::Sha256(hash)) => Some(Before::file(hash.clone(), attributes)),
        Some(Expect::Absent) => Some(Before::Absent),
        Some(Expect::Anything) | None => None,
    };
    let of = |effect: &Effect| match effect {
        Effect::Write { path, content, attributes, .. } => {
            let kept = match content {
                Content::Text(text) => Some(text.as_bytes()),
                Content::Bytes(bytes) => Some(&**bytes),
                Content::Operator { .. } | Content::Host { .. } => None,
            };
            let kept = || Some(Before::file(sha256(kept?), attributes.clone()));
            Some((path.clone(), stated(attributes.clone()).or_else(kept)?))
        }
        // Larger than what a journal keeps.
        Effect::Restore { path, mode, .. } => {
            let attributes = Attributes { mode: Some(mode.clone()), ..Attributes::default() };
            let content = match stated(attributes.clone()) {
                Some(Before::There { content, .. }) => content,
                Some(Before::Absent) | None => None,
            };
            Some((path.clone(), Before::There { content, attributes }))
        }
        Effect::Attributes { path, attributes, follow: true, .. } => {
            Some((path.clone(), Before::There { content: None, attributes: attributes.clone() }))
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
        let differences = file.before.differences(stat.as_deref());
        found.extend(differences.into_iter().map(|what| format!("[{}] {}: {what}", file.host, file.path)));
    }
    connections.close().await;
    Ok(found)
}

impl Before {
    /// What is otherwise now.
    fn differences(&self, now: Option<&Stat>) -> Vec<String> {
        let (content, attributes, now) = match (self, now) {
            (Before::Absent, None) => return Vec::new(),
            (Before::Absent, Some(_)) => return vec!["it was not there, and is there now".into()],
            (Before::There { .. }, None) => return vec!["it is gone".into()],
            (Before::There { content, attributes }, Some(now)) => (content, attributes, now),
        };
        let mut found = Vec::new();
        match (content, &now.checksum) {
            (Some(before), Some(now)) if before != now => found.push("its content is not what it was".into()),
            (Some(_), None) => found.push("its content can't be read".into()),
            _ => {}
        }
        let octal = |text: &String| u32::from_str_radix(text, 8).ok();
        if let Some(mode) = attributes.mode.as_ref().and_then(octal).filter(|mode| *mode != now.mode) {
            found.push(format!("its mode was {mode:04o}, and is {:04o} now", now.mode));
        }
        let ids = [("owner", &attributes.owner, now.uid), ("group", &attributes.group, now.gid)];
        for (what, before, now) in ids {
            if let Some(before) = before.as_ref().filter(|before| **before != now.to_string()) {
                found.push(format!("its {what} was {before}, and is {now} now"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_too_large_for_a_journal_is_compared_and_so_are_mode_and_owner() {
        let hash = "a".repeat(64);
        let effect = Effect::Restore {
            kept: "/d/.f.kept".into(),
            path: "/d/f".into(),
            inode: 1,
            mtime: 1,
            mode: "640".into(),
            expect: Expect::Anything,
        };
        let kept = |expects, effect| Kept {
            args: crate::source::Val::Null,
            expects,
            back: Back::Effects(vec![effect]),
            connection: None,
        };
        let of = |kept: &Kept| found(kept).pop().expect("a file").1;
        let before = of(&kept(Some(Expect::Sha256(hash.clone())), effect.clone()));
        let now = |mode, content: &str| Stat { mode, checksum: Some(content.into()), ..Stat::default() };
        assert_eq!(before.differences(Some(&now(0o640, &hash))), Vec::<String>::new());
        let differences = before.differences(Some(&now(0o644, "b")));
        assert_eq!(differences, ["its content is not what it was", "its mode was 0640, and is 0644 now"]);
        assert_eq!(before.differences(None), ["it is gone"]);

        let attributes = Attributes { owner: Some("7".into()), ..Attributes::default() };
        let effect = Effect::Attributes { path: "/d/f".into(), attributes, recurse: false, follow: true };
        let mut first = of(&kept(None, effect));
        assert_eq!(first.differences(Some(&now(0, "b"))), ["its owner was 7, and is 0 now"]);
        // Its content is known only from a later Step.
        first.learn(before);
        assert_eq!(first.differences(Some(&now(0, "b"))).len(), 2);
    }
}
