//! One host as one user over a [`Shell`]: observations remembered, effects applied.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::AsyncRead;
use tokio::sync::OnceCell;

use super::connections::{Observer, Route};
use super::lock::lease::Held;
use super::lock::mark::{EffectId, Mark};
use super::script::{self, INLINE};
use super::shell::Shell;
use super::{
    Answer, CONFLICT, Content, Effect, FileKind, FileRead, Host, Observation, Output, RemoteError,
    RemoteErrorKind, Stat, Stream,
};
use super::{download, feed, upload};

/// What was said to a host. Bytes without the transport's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    pub round_trips: u64,
    pub sent: u64,
    pub received: u64,
}

/// Counters of one host, all its users together.
#[derive(Debug, Default)]
pub struct Counter {
    round_trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counter {
    fn add(&self, sent: usize, received: usize) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.received.fetch_add(received as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> Traffic {
        Traffic {
            round_trips: self.round_trips.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

type Remembered = Arc<OnceCell<Answer>>;

/// What a host answered, for all its users: an effect of one is seen by all.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<(String, Observation), Remembered>>);

impl Memory {
    fn cell(&self, user: &str, question: &Observation) -> Remembered {
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.entry((user.to_string(), question.clone())).or_default().clone()
    }

    /// What is known of a file that this user asked for, however it was asked: its content, or that
    /// nothing is there.
    fn file(&self, user: &str, path: &str) -> Option<Arc<FileRead>> {
        let known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.iter().filter(|((by, _), _)| by == user).find_map(|((_, asked), cell)| {
            match (asked, cell.get()?) {
                (Observation::Read { path: p, .. }, Answer::Read(file)) if p == path => Some(file.clone()),
                (Observation::Stat { path: p, .. }, Answer::Stat(None)) if p == path => {
                    Some(Arc::new(FileRead { stat: None, content: Vec::new() }))
                }
                _ => None,
            }
        })
    }

    fn forget_question(&self, user: &str, question: &Observation) {
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.remove(&(user.to_string(), question.clone()));
    }

    /// Forgets what an effect could have changed: everything, since a file may have other names
    /// (symbolic links, hard links, mounts) that a path doesn't tell.
    pub fn forget(&self, effect: &Effect) {
        if !matches!(effect, Effect::Fetch { .. } | Effect::Http(_) | Effect::Feed { .. }) {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
        }
    }
}

/// A shell between two scripts; `None` before the first and after a lost one.
pub type WorkShell = Arc<tokio::sync::Mutex<Option<Shell>>>;

/// One host as one user.
pub struct ShellHost {
    pub name: String,
    pub user: String,
    pub route: Arc<dyn Route>,
    pub shell: WorkShell,
    pub memory: Arc<Memory>,
    pub counter: Arc<Counter>,
    pub observer: Observer,
    pub held: Arc<Held>,
}

impl ShellHost {
    /// Runs a script in the work shell; a lost shell is thrown away and the next call opens
    /// another.
    async fn run(&self, text: &str, what: &str) -> Result<Output, RemoteError> {
        super::trouble::delay().await;
        let mut slot = self.shell.lock().await;
        let mut shell = match slot.take() {
            Some(shell) => shell,
            None => self.route.shell().await?,
        };
        let output = shell.run(text).await?;
        *slot = Some(shell);
        self.counter.add(text.len(), output.stdout.len() + output.stderr.len());
        self.observer.tell(&self.name, || {
            format!(
                "{what}: status {}, {} bytes in {:.0?}",
                output.status,
                output.stdout.len(),
                output.duration
            )
        });
        Ok(output)
    }

    async fn ask(&self, question: &Observation) -> Result<Answer, RemoteError> {
        let what = match question {
            Observation::Stat { path, .. } => format!("STAT {path}"),
            Observation::Read { path, .. } => format!("READ {path}"),
            Observation::List { path, .. } => format!("LIST {path}"),
            Observation::Query(_) => "QUERY".into(),
            Observation::Probe(_) => "PROBE".into(),
        };
        let entry = super::shell::token();
        let output = self.run(&script::observation(question, &entry), &what).await?;
        match question {
            Observation::Query(_) | Observation::Probe(_) => Ok(Answer::Output(Arc::new(output))),
            _ if output.status == 3 => Err(self.error(RemoteErrorKind::Limit, &what, &output)),
            _ if !output.success() => Err(self.error(RemoteErrorKind::Refused, &what, &output)),
            Observation::Stat { path, .. } => {
                Ok(Answer::Stat(parse_stat(path, &output.stdout)?.map(Arc::new)))
            }
            Observation::Read { path, .. } => Ok(Answer::Read(Arc::new(parse_read(path, output.stdout)?))),
            Observation::List { .. } => Ok(Answer::List(Arc::new(parse_list(&output.stdout, &entry)?))),
        }
    }

    fn error(&self, kind: RemoteErrorKind, what: &str, output: &Output) -> RemoteError {
        let said = output.stderr_text();
        let said = said.trim();
        RemoteError {
            kind,
            message: if said.is_empty() {
                format!("{what} ended with status {}", output.status)
            } else {
                said.to_string()
            },
            help: None,
        }
    }

    async fn write(&self, effect: &Effect, mark: Option<&Mark>) -> Result<Output, RemoteError> {
        let Effect::Write { path, content, .. } = effect else {
            return Err(local_error(format!("{effect:?} is not a write")));
        };
        let what = format!("WRITE {path}");
        let bytes: Option<Vec<u8>> = match content {
            Content::Text(text) if text.len() <= INLINE => Some(text.as_bytes().to_vec()),
            Content::Bytes(bytes) if bytes.len() <= INLINE => Some(bytes.to_vec()),
            Content::Operator { path, size } if *size <= INLINE as u64 => Some(
                tokio::fs::read(path)
                    .await
                    .map_err(|e| local_error(format!("can't read {}: {e}", path.display())))?,
            ),
            _ => None,
        };
        let fill = match (&bytes, content) {
            (Some(bytes), _) => format!("{} >\"$s_tmp\"", script::decoded(bytes)),
            (None, Content::Host { path }) => format!("cat <{} >\"$s_tmp\"", super::quote::quote(path)),
            (None, _) => {
                let uploaded = self.upload(path, content).await?;
                let from = super::quote::quote(&uploaded);
                format!("mv -f -- {from} \"$s_tmp\" || {{ rm -f -- {from}; false; }}")
            }
        };
        self.run(&script::whole(effect, script::write(effect, &fill), mark), &what).await
    }

    async fn do_it(&self, effect: &Effect, mark: Option<&Mark>) -> Result<Output, RemoteError> {
        let applied = match effect {
            Effect::Write { .. } => self.write(effect, mark).await,
            _ => self.run(&script::whole(effect, script::effect(effect, mark), mark), label(effect)).await,
        };
        // Also when it failed: part of it may have happened.
        self.memory.forget(effect);
        let mut output = applied?;
        if let Some(why) = mark.and_then(|mark| mark.refusal(&output.stderr_text())) {
            return Err(RemoteError {
                kind: RemoteErrorKind::Conflict,
                message: format!("{} was not done: {why}", label(effect)),
                help: None,
            });
        }
        if output.success() {
            take_stat(effect, &mut output)?;
        }
        let (kind, ok) = match (effect, output.status) {
            (Effect::Run(_), _) | (_, 0) => (RemoteErrorKind::Refused, true),
            (_, CONFLICT) => (RemoteErrorKind::Conflict, false),
            _ => (RemoteErrorKind::Refused, false),
        };
        if ok { Ok(output) } else { Err(self.error(kind, label(effect), &output)) }
    }

    /// Streams large content into a temporary file beside `path`; its name on the host.
    async fn upload(&self, path: &str, content: &Content) -> Result<String, RemoteError> {
        let made = format!("s_real {} && s_temp \"$s_to\"", super::quote::quote(path));
        let made = self.run(&made, "TEMP").await?;
        if !made.success() {
            return Err(self.error(RemoteErrorKind::Refused, "the upload", &made));
        }
        let temp = made.stdout_text().trim_end_matches('\n').to_string();
        let sent = upload::send(self.route.channel().await?, path, &temp, content).await;
        if let Err(e) = &sent
            && e.kind != RemoteErrorKind::Unreachable
        {
            self.run(&format!("rm -f -- {}", super::quote::quote(&temp)), "CLEAN").await.ok();
        }
        sent.map(|()| temp)
    }
}

#[async_trait]
impl Host for ShellHost {
    async fn observe(&self, question: Observation) -> Result<Answer, RemoteError> {
        if matches!(question, Observation::Probe(_)) {
            return self.ask(&question).await;
        }
        let cell = self.memory.cell(&self.user, &question);
        // An equal question in flight is asked once; a failed one isn't remembered.
        let answer = cell.get_or_try_init(|| self.ask(&question)).await.cloned();
        if answer.is_err() {
            self.memory.forget_question(&self.user, &question);
        }
        answer
    }

    fn remembered_file(&self, path: &str) -> Option<Arc<FileRead>> {
        self.memory.file(&self.user, path)
    }

    async fn apply(&self, effect: &Effect) -> Result<Output, RemoteError> {
        self.do_it(effect, None).await
    }

    async fn apply_as(&self, effect: &Effect, id: &EffectId) -> Result<Output, RemoteError> {
        let mark = self.held.mark(&self.name, id)?;
        self.do_it(effect, mark.as_ref()).await
    }

    async fn download(&self, path: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, RemoteError> {
        download::open(self.route.channel().await?, path, &self.user).await
    }

    async fn feed(
        &self,
        script: &str,
        pieces: tokio::sync::mpsc::Receiver<Vec<u8>>,
    ) -> Result<Output, RemoteError> {
        feed::send(self.route.channel().await?, script, pieces).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        self.route.connect(host, port).await
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Moves the last line of a file effect's output into `stat`.
fn take_stat(effect: &Effect, output: &mut Output) -> Result<(), RemoteError> {
    let path = match effect {
        Effect::Write { path, .. }
        | Effect::Directory { path, .. }
        | Effect::Touch { path, .. }
        | Effect::Attributes { path, .. }
        | Effect::Link { path, .. } => path,
        _ => return Ok(()),
    };
    let text = output.stdout.trim_ascii_end();
    let at = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    output.stat = parse_stat(path, &text[at..])?.map(Arc::new);
    output.stdout.truncate(at);
    Ok(())
}

fn label(effect: &Effect) -> &'static str {
    match effect {
        Effect::Write { .. } => "WRITE",
        Effect::Attributes { .. } => "ATTRIBUTES",
        Effect::Directory { .. } => "MKDIR",
        Effect::Link { .. } => "LINK",
        Effect::Touch { .. } => "TOUCH",
        Effect::Remove { .. } | Effect::Unmake { .. } => "REMOVE",
        Effect::Keep { .. } | Effect::Close { .. } => "KEEP",
        Effect::Restore { .. } => "RESTORE",
        Effect::Rename { .. } => "RENAME",
        Effect::Run(_) => "RUN",
        Effect::Http(_) => "HTTP",
        Effect::Fetch { .. } => "FETCH",
        Effect::Feed { .. } => "FEED",
    }
}

fn local_error(message: String) -> RemoteError {
    RemoteError { kind: RemoteErrorKind::Refused, message, help: None }
}

fn unreadable(line: &str) -> RemoteError {
    local_error(format!("the host's answer could not be read: {line:?}"))
}

fn parse_stat(path: &str, answer: &[u8]) -> Result<Option<Stat>, RemoteError> {
    let text = String::from_utf8_lossy(answer);
    let line = text.trim_end_matches('\n');
    if line == "none" {
        return Ok(None);
    }
    let mut stat = stat_line(line).ok_or_else(|| unreadable(line))?;
    stat.path = path.to_string();
    Ok(Some(stat))
}

/// `mode(hex) uid gid size atime mtime ctime inode device links owner group ,access text target
/// checksum [path]`
fn stat_line(line: &str) -> Option<Stat> {
    use base64::Engine;
    let mut words = line.splitn(17, ' ');
    let mut next = || words.next();
    let raw = u32::from_str_radix(next()?, 16).ok()?;
    let kind = match raw & 0o170000 {
        0o040000 => FileKind::Directory,
        0o120000 => FileKind::Link,
        0o010000 => FileKind::Fifo,
        0o140000 => FileKind::Socket,
        0o060000 => FileKind::Block,
        0o020000 => FileKind::Char,
        _ => FileKind::File,
    };
    let decoded = |word: &str| -> Option<String> {
        if word == "-" {
            return Some(String::new());
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(word).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let name = |word: &str| if word == "UNKNOWN" { String::new() } else { word.to_string() };
    let mut stat = Stat { kind, mode: raw & 0o7777, ..Stat::default() };
    stat.uid = next()?.parse().ok()?;
    stat.gid = next()?.parse().ok()?;
    stat.size = next()?.parse().ok()?;
    stat.atime = next()?.parse().ok()?;
    stat.mtime = next()?.parse().ok()?;
    stat.ctime = next()?.parse().ok()?;
    stat.inode = next()?.parse().ok()?;
    stat.device = next()?.parse().ok()?;
    stat.links = next()?.parse().ok()?;
    stat.owner = name(next()?);
    stat.group = name(next()?);
    let access = next()?;
    stat.readable = access.contains('r');
    stat.writable = access.contains('w');
    stat.executable = access.contains('x');
    stat.link_text = decoded(next()?)?;
    stat.link_target = decoded(next()?)?;
    stat.checksum = Some(next()?.to_string()).filter(|c| c != "-");
    if let Some(path) = next() {
        stat.path = path.to_string();
    }
    Some(stat)
}

fn parse_read(path: &str, mut answer: Vec<u8>) -> Result<FileRead, RemoteError> {
    let end = answer.iter().position(|b| *b == b'\n').unwrap_or(answer.len());
    let stat = parse_stat(path, &answer[..end])?;
    answer.drain(..(end + 1).min(answer.len()));
    Ok(FileRead { stat, content: answer })
}

/// Entries that each begin a line with `entry`; a name may hold newlines.
fn parse_list(answer: &[u8], entry: &str) -> Result<Vec<Stat>, RemoteError> {
    let text = format!("\n{}", String::from_utf8_lossy(answer));
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let begin = format!("\n{entry} ");
    let mut entries = text.split(begin.as_str());
    match entries.next() {
        None | Some("") => entries.map(|line| stat_line(line).ok_or_else(|| unreadable(line))).collect(),
        Some(other) => Err(unreadable(other)),
    }
}
