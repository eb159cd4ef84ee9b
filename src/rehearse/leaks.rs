//! Whether a secret is in anything that a rehearsal left: what was printed, and the files of its runs
//! on this machine and in the lock folders of its hosts.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::engine::log::kept_of;
use crate::remote::{Command, Connection, Connections, RemoteError, RemoteErrorKind};
use crate::run::history::History;
use crate::run::record::{Remembered, Status};
use crate::run::seal::Seal;
use crate::secret::Redactor;
use crate::source::Val;

use super::program::Place;

/// Of a file of a host; what is larger is no file of ours. Bytes.
const LARGEST: u64 = 64 << 20;

/// From now on the Redactor knows every secret that a run used, in every form: its arguments, its
/// results, and what its hosts were reached with. The result is those hosts.
///
/// # Errors
/// The journal can't be opened.
pub fn learn(
    history: &History,
    seal: &Seal,
    redactor: &Redactor,
) -> Result<Vec<(String, Connection)>, String> {
    let mut hosts = Vec::new();
    let mut all_remembered = Vec::new();
    for outcome in history.outcomes.values() {
        let Some(sealed) = outcome.kept.as_ref().filter(|_| outcome.status != Status::Failed) else {
            continue;
        };
        let remembered: Remembered = seal.unseal(sealed).map_err(|e| e.message)?;
        // Names of public keys stand among secret arguments.
        remembered.public.iter().for_each(|name| redactor.never_hide(name));
        all_remembered.push((outcome, remembered));
    }
    for step in &history.steps {
        let kept = kept_of(seal, step).map_err(|why| why.message)?;
        redactor.register_args(&kept.args);
        if let Some(password) = kept.connection.as_ref().and_then(|c| c.password.as_ref()) {
            redactor.register(password);
        }
        if let (Some(name), Some(connection)) = (&step.intent.target, kept.connection) {
            hosts.push((name.clone(), connection));
        }
    }
    for (outcome, remembered) in all_remembered {
        // Sentences made of secrets (`fail`, `debug`) are not secrets themselves: another run says
        // the same without any.
        if remembered.args.is_some() && !outcome.sets_secret {
            continue;
        }
        redactor.register_val(&Val::map(remembered.result));
        remembered.args.iter().for_each(|args| redactor.register_args(args));
    }
    Ok(hosts)
}

/// What every sealed text begins with: `age-encryption.org/v1` in base64, and in armor.
const SEALED: [&[u8]; 2] = [b"YWdlLWVuY3J5cHRpb24ub3JnL3Yx", b"-----BEGIN AGE ENCRYPTED FILE-----"];

const ARMOR_ENDS: &[u8] = b"-----END AGE ENCRYPTED FILE-----";

/// The same, with sealed texts blanked. There are so many of them in journals that a short form of a
/// secret stands in one by chance.
fn without_sealed(bytes: &[u8]) -> Cow<'_, [u8]> {
    let starts = |at: usize| SEALED.iter().any(|marker| bytes[at..].starts_with(marker));
    let first = |byte: u8| matches!(byte, b'Y' | b'-');
    let mut left = Cow::Borrowed(bytes);
    let mut at = 0;
    while at < bytes.len() {
        if !(first(bytes[at]) && starts(at)) {
            at += 1;
            continue;
        }
        let end = end_of_sealed(bytes, at);
        left.to_mut()[at..end].fill(b' ');
        at = end;
    }
    left
}

/// Where the sealed text that begins there is over: what comes behind it may be anything.
fn end_of_sealed(bytes: &[u8], at: usize) -> usize {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let while_it_is = |from: usize, is: &dyn Fn(u8) -> bool| {
        bytes[from..].iter().position(|byte| !is(*byte)).map_or(bytes.len(), |end| from + end)
    };
    let [_, armor] = SEALED;
    if !bytes[at..].starts_with(armor) {
        return while_it_is(at, &base64);
    }
    // Its lines, also as they are within JSON.
    let end = while_it_is(at + armor.len(), &|byte| base64(byte) || matches!(byte, b'\n' | b'\r' | b'\\'));
    if bytes[end..].starts_with(ARMOR_ENDS) { end + ARMOR_ENDS.len() } else { end }
}

/// A file or stream that was searched.
#[derive(Debug, Default)]
pub struct Searched {
    pub files: usize,
    pub bytes: u64,
    /// Where a secret stands; never the secret.
    pub found: Vec<String>,
}

impl Searched {
    pub fn look(&mut self, place: &str, bytes: &[u8], redactor: &Redactor) {
        self.files += 1;
        self.bytes += bytes.len() as u64;
        let bytes = &*without_sealed(bytes);
        let is_secret = |line: &[u8]| matches!(redactor.redact_bytes(line), Cow::Owned(_));
        if !is_secret(bytes) {
            return;
        }
        let line = bytes.split(|b| *b == b'\n').position(is_secret);
        let at = line.map(|line| format!(", line {}", line + 1)).unwrap_or_default();
        self.found.push(format!("a secret stands in {place}{at}"));
    }

    /// Everything at or below a folder of this machine.
    pub fn folder(&mut self, folder: &Path, redactor: &Redactor) {
        let mut left: Vec<PathBuf> = vec![folder.to_path_buf()];
        while let Some(path) = left.pop() {
            match std::fs::symlink_metadata(&path) {
                Ok(about) if about.is_dir() => {
                    let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                    let mut entries: Vec<PathBuf> = entries.map(|e| e.path()).collect();
                    entries.sort();
                    left.extend(entries.into_iter().rev());
                }
                Ok(about) if about.is_file() => match std::fs::read(&path) {
                    Ok(bytes) => self.look(&path.display().to_string(), &bytes, redactor),
                    Err(e) => self.found.push(format!("{} can't be searched: {e}", path.display())),
                },
                // A socket or link holds nothing; what is gone neither.
                _ => {}
            }
        }
    }

    /// What the commands of a place print that it has for this.
    pub async fn commands(&mut self, place: &Place, when: &str, redactor: &Redactor) {
        let connections = Connections::new();
        for (host, command) in &place.searched {
            let what = format!("the output of `{command}` on {host} {when}");
            let Some((_, reach)) = place.reach.iter().find(|(name, _)| name == host) else { continue };
            let said = async {
                let target = connections.target(host, reach).await.map_err(|why| why.message)?;
                let said = target.probe(Command::shell(command.as_str())).await.map_err(|why| why.message)?;
                let why = || format!("status {}: {}", said.status, said.stderr_text().trim());
                if said.success() { Ok(said.stdout.clone()) } else { Err(why()) }
            };
            match said.await {
                Ok(bytes) => self.look(&what, &bytes, redactor),
                Err(why) => self.found.push(format!("{what} can't be searched: {why}")),
            }
        }
        connections.close().await;
    }

    /// Everything that runs of a project left on a host.
    pub async fn host(&mut self, name: &str, connection: &Connection, project: &str, redactor: &Redactor) {
        let connections = Connections::new();
        // As who logs in, whose folders they are.
        let plain = Connection { become_: None, ..connection.clone() };
        let folder = crate::remote::lock::folder(project);
        let looked = async {
            let target = connections.target(name, &plain).await?;
            if target.stat(&folder).await?.is_none() {
                return Ok(Vec::new());
            }
            let find = Command::argv(["find", folder.as_str(), "-type", "f", "-print"]);
            let found = target.probe(find).await?;
            if !found.success() {
                let why = format!("find: status {}: {}", found.status, found.stderr_text().trim());
                return Err(RemoteError { kind: RemoteErrorKind::Refused, message: why, help: None });
            }
            let mut files = Vec::new();
            for path in found.stdout_text().lines() {
                files.push((path.to_string(), target.read(path, LARGEST).await?.content.clone()));
            }
            Ok::<_, RemoteError>(files)
        };
        match looked.await {
            Ok(files) => files
                .iter()
                .for_each(|(path, bytes)| self.look(&format!("{path} on {name}"), bytes, redactor)),
            Err(why) => self.found.push(format!("{folder} on {name} can't be searched: {}", why.message)),
        }
        connections.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        use base64::Engine;
        let redactor = Redactor::new();
        redactor.register("Pl4nted \"secret\" of a test");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode("x: Pl4nted \"secret\" of a test");
        let json = serde_json::json!({"a": "Pl4nted \"secret\" of a test"}).to_string();
        std::fs::write(dir.path().join("clean"), "nothing").unwrap();
        std::fs::write(dir.path().join("below/encoded"), format!("1\n2\n{encoded}")).unwrap();
        std::fs::write(dir.path().join("below/json"), json).unwrap();
        let mut searched = Searched::default();
        searched.folder(dir.path(), &redactor);
        assert_eq!((searched.files, searched.found.len()), (3, 2), "{:?}", searched.found);
        assert!(searched.found[0].contains("below/encoded, line 3"), "{:?}", searched.found);
        assert!(!searched.found.concat().contains("Pl4nted"), "{:?}", searched.found);
    }

    #[test]
    fn what_is_sealed_is_no_leak_and_what_is_beside_it_is() {
        let redactor = Redactor::new();
        redactor.register("k3Pt0u");
        let sealed = r#"{"key":"YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0k3Pt0uAAAA==","label":"LABEL"}"#;
        let armored = r#"{"key":"-----BEGIN AGE ENCRYPTED FILE-----\nYWdk3Pt0u\n-----END","label":"LABEL"}"#;
        let whole = armored.replace("-----END", "-----END AGE ENCRYPTED FILE-----");
        // On the same line, without quotes.
        let beside = "key YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0k3Pt0uAAAA== of LABEL";
        let lines = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdk3Pt0u\n-----END AGE ENCRYPTED FILE----- LABEL";
        for text in [sealed, armored, whole.as_str(), beside, lines] {
            for (label, found) in [("nothing", 0), ("k3Pt0u", 1)] {
                let mut searched = Searched::default();
                searched.look("a journal", text.replace("LABEL", label).as_bytes(), &redactor);
                assert_eq!(searched.found.len(), found, "{label} in {text}");
            }
        }
    }
}
