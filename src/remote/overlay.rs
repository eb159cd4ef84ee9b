//! Check mode: planned file effects answer later observations of their paths.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{
    Answer, Attributes, Content, Effect, FileKind, FileRead, Host, Observation, Output, RemoteError,
    RemoteErrorKind, Stat, Stream, Target,
};

/// A host as it would be if what was planned had been applied.
pub fn overlay(target: Target) -> Target {
    Target(Arc::new(Overlay { target, planned: Mutex::default() }))
}

struct Overlay {
    target: Target,
    planned: Mutex<HashMap<String, Planned>>,
}

#[derive(Clone)]
enum Planned {
    Gone,
    Present {
        kind: FileKind,
        content: Option<Vec<u8>>,
        attributes: Attributes,
        link: String,
    },
    /// Something is different there; what, nobody knows before it is applied.
    Attributes(Attributes),
}

impl Overlay {
    fn plan(&self, path: &str, planned: Planned) {
        self.planned.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(tidy(path), planned);
    }

    fn planned(&self, path: &str) -> Option<Planned> {
        let planned = self.planned.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let path = tidy(path);
        if let Some(known) = planned.get(&path) {
            return Some(known.clone());
        }
        // Below a folder that would be gone there is nothing.
        let mut parent = path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            if matches!(planned.get(above), Some(Planned::Gone)) {
                return Some(Planned::Gone);
            }
            parent = above;
        }
        None
    }
}

fn tidy(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".into(),
        path => path.to_string(),
    }
}

/// What a stat would say; ids of names are not known before the host is asked.
fn stat_of(path: &str, real: Option<&Stat>, planned: &Planned) -> Option<Stat> {
    match planned {
        Planned::Gone => None,
        Planned::Attributes(attributes) => {
            let mut stat = real?.clone();
            adopt(&mut stat, attributes);
            Some(stat)
        }
        Planned::Present { kind, content, attributes, link } => {
            let mut stat = real.cloned().unwrap_or_else(|| Stat {
                mode: if *kind == FileKind::Directory { 0o755 } else { 0o644 },
                links: 1,
                readable: true,
                writable: true,
                ..Stat::default()
            });
            stat.path = path.to_string();
            stat.kind = *kind;
            stat.link_text = link.clone();
            if let Some(content) = content {
                stat.size = content.len() as u64;
                stat.checksum = None;
            }
            adopt(&mut stat, attributes);
            Some(stat)
        }
    }
}

fn adopt(stat: &mut Stat, attributes: &Attributes) {
    if let Some(mode) = attributes.mode.as_ref().and_then(|m| u32::from_str_radix(m, 8).ok()) {
        stat.mode = mode & 0o7777;
    }
    let take = |given: &Option<String>, id: &mut u32, name: &mut String| {
        if let Some(given) = given {
            match given.parse() {
                Ok(number) => *id = number,
                Err(_) => *name = given.clone(),
            }
        }
    };
    take(&attributes.owner, &mut stat.uid, &mut stat.owner);
    take(&attributes.group, &mut stat.gid, &mut stat.group);
}

fn checksum(content: &[u8], wanted: super::Checksum) -> String {
    use crate::source::hex::hex;
    use sha2::Digest;
    match wanted {
        super::Checksum::Md5 => hex(md5::Md5::digest(content)),
        super::Checksum::Sha1 => hex(sha1::Sha1::digest(content)),
        super::Checksum::Sha224 => hex(sha2::Sha224::digest(content)),
        super::Checksum::Sha256 => hex(sha2::Sha256::digest(content)),
        super::Checksum::Sha384 => hex(sha2::Sha384::digest(content)),
        super::Checksum::Sha512 => hex(sha2::Sha512::digest(content)),
    }
}

#[async_trait]
impl Host for Overlay {
    async fn observe(&self, question: Observation) -> Result<Answer, RemoteError> {
        let path = match &question {
            Observation::Stat { path, .. } | Observation::Read { path, .. } => path.clone(),
            _ => return self.target.observe(question).await,
        };
        let Some(planned) = self.planned(&path) else { return self.target.observe(question).await };
        // What is there now says what the plan doesn't.
        let real = self.target.stat(&path).await.ok().flatten();
        let mut stat = stat_of(&path, real.as_deref(), &planned);
        match question {
            Observation::Stat { checksum: wanted, .. } => {
                if let (Some(stat), Planned::Present { content: Some(content), .. }, Some(wanted)) =
                    (&mut stat, &planned, wanted)
                {
                    stat.checksum = Some(checksum(content, wanted));
                } else if let (Planned::Attributes(_), Some(_)) = (&planned, wanted) {
                    return match self.target.observe(question).await? {
                        Answer::Stat(Some(now)) => {
                            let mut stat = (*now).clone();
                            if let Planned::Attributes(attributes) = &planned {
                                adopt(&mut stat, attributes);
                            }
                            Ok(Answer::Stat(Some(Arc::new(stat))))
                        }
                        other => Ok(other),
                    };
                }
                Ok(Answer::Stat(stat.map(Arc::new)))
            }
            Observation::Read { path, max } => match planned {
                Planned::Present { content: Some(content), .. } => {
                    Ok(Answer::Read(Arc::new(FileRead { stat, content })))
                }
                Planned::Gone => Ok(Answer::Read(Arc::new(FileRead::default()))),
                _ => {
                    let file = self.target.read(&path, max).await?;
                    Ok(Answer::Read(Arc::new(FileRead { stat, content: file.content.clone() })))
                }
            },
            other => self.target.observe(other).await,
        }
    }

    fn assume(&self, effect: &Effect) {
        match effect {
            Effect::Write { path, content, attributes, .. } => {
                let content = match content {
                    Content::Text(text) => Some(text.as_bytes().to_vec()),
                    Content::Bytes(bytes) => Some(bytes.to_vec()),
                    Content::Operator { path, .. } => std::fs::read(path).ok(),
                    Content::Host { .. } => None,
                };
                let attributes = attributes.clone();
                self.plan(
                    path,
                    Planned::Present { kind: FileKind::File, content, attributes, link: String::new() },
                );
            }
            Effect::Directory { path, attributes } => self.plan(
                path,
                Planned::Present {
                    kind: FileKind::Directory,
                    content: None,
                    attributes: attributes.clone(),
                    link: String::new(),
                },
            ),
            Effect::Link { path, target, hard, .. } => self.plan(
                path,
                Planned::Present {
                    kind: if *hard { FileKind::File } else { FileKind::Link },
                    content: None,
                    attributes: Attributes::default(),
                    link: target.clone(),
                },
            ),
            Effect::Touch { path, attributes } => self.plan(
                path,
                Planned::Present {
                    kind: FileKind::File,
                    content: None,
                    attributes: attributes.clone(),
                    link: String::new(),
                },
            ),
            Effect::Attributes { path, attributes, .. } => {
                let merged = match self.planned(path) {
                    Some(Planned::Present { kind, content, attributes: mut before, link }) => {
                        before.mode = attributes.mode.clone().or(before.mode);
                        before.owner = attributes.owner.clone().or(before.owner);
                        before.group = attributes.group.clone().or(before.group);
                        Planned::Present { kind, content, attributes: before, link }
                    }
                    _ => Planned::Attributes(attributes.clone()),
                };
                self.plan(path, merged);
            }
            Effect::Remove { path, .. } | Effect::Unmake { path, .. } => self.plan(path, Planned::Gone),
            Effect::Rename { from, path } => {
                let moved = self.planned(from).unwrap_or(Planned::Present {
                    kind: FileKind::File,
                    content: None,
                    attributes: Attributes::default(),
                    link: String::new(),
                });
                self.plan(path, moved);
                self.plan(from, Planned::Gone);
            }
            Effect::Restore { kept, path, .. } => {
                self.plan(
                    path,
                    Planned::Present {
                        kind: FileKind::File,
                        content: None,
                        attributes: Attributes::default(),
                        link: String::new(),
                    },
                );
                self.plan(kept, Planned::Gone);
            }
            Effect::Keep { .. }
            | Effect::Close { .. }
            | Effect::Run(_)
            | Effect::Http(_)
            | Effect::Fetch { .. }
            | Effect::Feed { .. } => {}
        }
    }

    async fn apply(&self, _: &Effect) -> Result<Output, RemoteError> {
        Err(RemoteError {
            kind: RemoteErrorKind::Refused,
            message: "check mode applies nothing".into(),
            help: None,
        })
    }

    async fn download(
        &self,
        path: &str,
    ) -> Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>, RemoteError> {
        match self.planned(path) {
            Some(Planned::Present { content: Some(content), .. }) => {
                Ok(Box::new(std::io::Cursor::new(content)))
            }
            _ => self.target.download(path).await,
        }
    }

    async fn feed(
        &self,
        script: &str,
        _: tokio::sync::mpsc::Receiver<Vec<u8>>,
    ) -> Result<Output, RemoteError> {
        Err(RemoteError {
            kind: RemoteErrorKind::Refused,
            message: format!("check mode feeds nothing to `{script}`"),
            help: None,
        })
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        self.target.connect(host, port).await
    }

    fn user(&self) -> &str {
        self.target.user()
    }

    fn name(&self) -> &str {
        self.target.name()
    }
}
