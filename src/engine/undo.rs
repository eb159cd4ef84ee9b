//! Taking applied Steps back: stateful inverses newest first, then each derived Step once, in its
//! original order. Undoing `ALTER ROLE → .env → recreate` in plain reverse order would leave the
//! container with the new password.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::module::plan::Undo;
use crate::module::{Failure, Step, StepKind};
use crate::playbook::Item;
use crate::remote::{
    Attributes, Checksum, Command, Content, Effect, Expect, FileKind, RemoteError, RemoteErrorKind, Stat,
    Target,
};
use crate::run::record::StepId;
use crate::source::hex::{hex, sha256};

use super::apply::KEPT_CONTENT;
use super::fault::{self, MOMENT, Point};

/// How long a host that is lost is waited for, since half of a transaction must not stay.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// Of a file, in bytes, on the file systems of hosts.
const LONGEST_NAME: usize = 255;

/// Why content is not left beside its file.
pub const MAYBE_SECRET: &str = "may be secret, so it was not kept beside it";

/// A Step that was applied, with what takes it back.
pub struct Applied {
    pub label: String,
    pub target: Target,
    pub back: Back,
    /// As the journal knows it; several where a task's own `undo:` answers for them.
    pub steps: Vec<StepId>,
    /// Why nobody knows whether it still goes on: then it would come after what takes it back.
    pub unsettled: Option<String>,
}

pub use crate::run::record::Back;

/// Runs the tasks of an `undo:`.
#[async_trait]
pub trait RunTasks: Sync {
    /// `tasks`: none where only their playbook knows them; then `steps` tell whose they are.
    ///
    /// # Errors
    /// What the first of them that failed said.
    async fn run_tasks(&self, tasks: &[Item], steps: &[StepId]) -> Result<(), String>;
}

/// One line of what an undo did.
pub struct Undone {
    pub label: String,
    pub error: Option<String>,
    pub steps: Vec<StepId>,
}

/// Takes `applied` back and tells how each went, as soon as it is known. Goes on after a failure:
/// what can be restored is restored. A derived Step that didn't read all of it restored isn't taken
/// back by that: it is told for people alone, and runs once more when the rest is taken back.
pub async fn undo(applied: Vec<Applied>, runner: &dyn RunTasks, told: &mut (dyn FnMut(Undone) + Send)) {
    let mut reach = Reach::default();
    let mut whole = true;
    let (derived, stateful): (Vec<_>, Vec<_>) =
        applied.into_iter().partition(|a| matches!(a.back, Back::Again(_)));
    for step in stateful.into_iter().rev() {
        let error = match &step.back {
            Back::Effects(_) | Back::Tasks(_) if step.unsettled.is_some() => step.unsettled,
            Back::Effects(effects) => reach.restore_all(&step.target, effects).await.err(),
            Back::Tasks(tasks) => runner.run_tasks(tasks, &step.steps).await.err(),
            Back::OneWay(why) => Some(why.clone()),
            Back::Again(_) => None,
            Back::Nothing => {
                told(Undone { label: String::new(), error: None, steps: step.steps });
                continue;
            }
        };
        whole &= error.is_none();
        told(Undone { label: step.label, error, steps: step.steps });
    }
    for step in derived {
        if let Back::Again(effect) = &step.back {
            let error = match step.unsettled {
                None => reach.apply(&step.target, effect).await.err(),
                why => why,
            };
            let steps = if whole { step.steps } else { Vec::new() };
            told(Undone { label: format!("{} (again)", step.label), error, steps });
        }
    }
}

/// Hosts that were waited for, and did not come back.
#[derive(Default)]
struct Reach {
    gone: HashMap<String, String>,
}

impl Reach {
    async fn restore_all(&mut self, target: &Target, effects: &[Effect]) -> Result<(), String> {
        for effect in effects {
            match effect {
                Effect::Write { path, content: Content::Bytes(before), attributes, .. }
                    if has_content(target, path, before).await =>
                {
                    let attributes = attributes.clone();
                    let effect =
                        Effect::Attributes { path: path.clone(), attributes, recurse: false, follow: true };
                    self.apply(target, &effect).await?;
                }
                Effect::Link { path, target: text, hard: false, .. }
                    if is_link_to(target, path, text).await => {}
                other => self.apply(target, other).await?,
            }
        }
        Ok(())
    }

    /// What takes something back can be done twice, so it is done again where the host was lost.
    async fn apply(&mut self, target: &Target, effect: &Effect) -> Result<(), String> {
        if let Some(why) = self.gone.get(target.name()) {
            return Err(why.clone());
        }
        fault::at(Point::BeforeUndo);
        let mut applied =
            fault::during(Point::DuringUndo, tokio::time::sleep(MOMENT), target.apply(effect)).await;
        if is_lost(&applied) {
            applied = match patiently(|| target.probe(Command::shell(":"))).await {
                Ok(_) => target.apply(effect).await,
                Err(why) => Err(why),
            };
        }
        fault::at(Point::AfterUndo);
        match applied {
            Ok(output) if output.success() => Ok(()),
            Ok(output) => Err(format!("status {}: {}", output.status, output.stderr_text().trim())),
            Err(e) => {
                if e.kind == RemoteErrorKind::Unreachable {
                    self.gone.insert(target.name().to_string(), e.message.clone());
                }
                Err(e.message)
            }
        }
    }
}

/// Asks again for a while where the host is lost; a connection that was cut is made anew.
pub async fn patiently<T, F: Future<Output = Result<T, RemoteError>>>(
    ask: impl Fn() -> F,
) -> Result<T, RemoteError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answered = ask().await;
        if !is_lost(&answered) || Instant::now() > until {
            return answered;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_lost<T>(answered: &Result<T, RemoteError>) -> bool {
    matches!(answered, Err(e) if e.kind == RemoteErrorKind::Unreachable)
}

/// What an inverse would find.
pub struct Found {
    /// Device and inode, where something is there.
    pub file: Option<(u64, u64)>,
    /// What is to be told of it, where it is neither what its Step left nor what was there before.
    pub changed: Option<&'static str>,
}

/// The file that an inverse puts back only where nobody changed it since; `None` where it doesn't care.
///
/// # Errors
/// The host can't be reached or asked.
pub async fn would_find(target: &Target, effect: &Effect) -> Result<Option<Found>, RemoteError> {
    let Some((path, expect)) = effect.writes().filter(|(_, expect)| **expect != Expect::Anything) else {
        return Ok(None);
    };
    let follow = !matches!(effect, Effect::Restore { .. });
    let stat = target.stat_with(path, follow, Some(Checksum::Sha256)).await?;
    let sum = stat.as_ref().and_then(|stat| stat.checksum.as_deref());
    let as_before = match effect {
        Effect::Write { content: Content::Bytes(before), .. } => sum == Some(sha256(before).as_str()),
        // Two names of one file, or a copy of it.
        Effect::Restore { kept, inode, .. } => match &stat {
            Some(stat) if stat.inode == *inode => true,
            Some(_) => {
                let copy = target.stat_with(kept, false, Some(Checksum::Sha256)).await?;
                copy.is_some_and(|copy| copy.checksum.is_some() && copy.checksum.as_deref() == sum)
            }
            None => false,
        },
        _ => stat.is_none(),
    };
    let changed = match (expect, &stat) {
        _ if as_before => None,
        (Expect::Absent, Some(_)) => Some("exists by now"),
        (Expect::Sha256(_), Some(stat)) if stat.kind != FileKind::File => Some("is no file any more"),
        // What can't be read is for the inverse to judge.
        (Expect::Sha256(left), Some(_)) if sum.is_none_or(|sum| sum == left) => None,
        (Expect::Sha256(_), _) => Some("was changed by somebody else since"),
        (Expect::Absent, None) | (Expect::Anything, _) => None,
    };
    Ok(Some(Found { file: stat.map(|stat| (stat.device, stat.inode)), changed }))
}

/// Whether a file reads as an inverse would make it: the Step was cut before it changed anything, or
/// was taken back before.
async fn has_content(target: &Target, path: &str, content: &[u8]) -> bool {
    let stat = target.stat_with(path, true, Some(Checksum::Sha256)).await;
    matches!(stat, Ok(Some(stat)) if stat.checksum.as_deref() == Some(sha256(content).as_str()))
}

/// By what name content that is too large for the journal stays beside its file; else why it doesn't.
pub type Beside = Result<String, &'static str>;

async fn is_link_to(target: &Target, path: &str, text: &str) -> bool {
    let stat = target.stat_with(path, false, None).await;
    matches!(stat, Ok(Some(stat)) if stat.kind == FileKind::Link && stat.link_text == text)
}

/// What will take `step` back, observed before it is applied. Content that stays beside its file is
/// there from now on.
pub async fn inverse_of(step: &Step, target: &Target, beside: &Beside) -> Result<Back, Failure> {
    Ok(match &step.kind {
        StepKind::Passing => Back::Nothing,
        StepKind::Derived => Back::Again(Box::new(step.effect.clone())),
        StepKind::Stateful(Undo::Effect(effect)) => Back::Effects(vec![(**effect).clone()]),
        StepKind::Stateful(Undo::FromOutput(_)) => Back::Nothing,
        StepKind::Stateful(Undo::OneWay(why)) => Back::OneWay(why.clone()),
        StepKind::Stateful(Undo::File) => file_inverse(&step.effect, target, beside).await?,
    })
}

async fn file_inverse(effect: &Effect, target: &Target, beside: &Beside) -> Result<Back, Failure> {
    Ok(match effect {
        Effect::Write { path, content, .. } => {
            let secret = matches!(content, Content::Text(text) if text.is_secret());
            let beside = if secret { &Err(MAYBE_SECRET) } else { beside };
            rewrite(path, target, written(content, target).await?, beside).await?
        }
        Effect::Remove { path, .. } => restore(path, target, Expect::Absent, beside).await?,
        Effect::Rename { path, .. } => restore(path, target, Expect::Anything, beside).await?,
        Effect::Touch { path, .. } => match stat(path, target).await? {
            None => Back::Effects(vec![unmake(path, Expect::Anything)]),
            Some(stat) => Back::Effects(vec![times_back(&stat)]),
        },
        Effect::Directory { path, .. } => match stat(path, target).await? {
            None => Back::Effects(made_with(path, target).await?),
            Some(stat) => Back::Effects(vec![attributes_back(&stat)]),
        },
        Effect::Attributes { recurse: true, path, .. } => {
            let entries = target.list(path, true).await?;
            Back::Effects(entries.iter().map(attributes_back).collect())
        }
        Effect::Attributes { path, .. } => match target.stat(path).await? {
            Some(stat) => Back::Effects(vec![attributes_back(&stat)]),
            None => Back::Nothing,
        },
        Effect::Link { path, .. } => match target.stat_with(path, false, None).await? {
            None => Back::Effects(vec![Effect::Remove { path: path.clone(), recurse: false }]),
            Some(stat) if stat.kind == FileKind::Link => Back::Effects(vec![Effect::Link {
                path: path.clone(),
                target: stat.link_text.clone(),
                hard: false,
                force: true,
            }]),
            Some(_) => {
                let mut back = restore(path, target, Expect::Anything, beside).await?;
                // What writes would follow the link.
                if let Back::Effects(effects) = &mut back
                    && matches!(effects[..], [Effect::Write { .. }, ..])
                {
                    effects.insert(0, Effect::Remove { path: path.clone(), recurse: false });
                }
                back
            }
        },
        Effect::Http(_) => Back::OneWay("what a request did is known only to the server".into()),
        Effect::Fetch { .. }
        | Effect::Feed { .. }
        | Effect::Unmake { .. }
        | Effect::Keep { .. }
        | Effect::Close { .. }
        | Effect::Restore { .. } => Back::Nothing,
        Effect::Run(_) => Back::OneWay("a command has no inverse that the engine knows".into()),
    })
}

/// As [`Target::stat`], without asking where it is known that nothing is there.
async fn stat(path: &str, target: &Target) -> Result<Option<Arc<Stat>>, Failure> {
    match target.remembered_file(path) {
        Some(file) if file.stat.is_none() => Ok(None),
        _ => Ok(target.stat(path).await?),
    }
}

/// Removes a directory that is not there yet, and the parents that will be made with it.
async fn made_with(path: &str, target: &Target) -> Result<Vec<Effect>, Failure> {
    let mut effects = Vec::new();
    let mut missing = path.trim_end_matches('/');
    while !missing.is_empty() && stat(missing, target).await?.is_none() {
        effects.push(Effect::Remove { path: missing.to_string(), recurse: false });
        missing = missing.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    Ok(effects)
}

/// What a write leaves: whoever changed the file since must not lose that.
async fn written(content: &Content, target: &Target) -> Result<Expect, Failure> {
    Ok(match content {
        Content::Text(text) => Expect::Sha256(sha256(text.as_bytes())),
        Content::Bytes(bytes) => Expect::Sha256(sha256(bytes)),
        Content::Operator { path, .. } => Expect::Sha256(sha256_of(path).await?),
        // The module has asked that.
        Content::Host { path } => {
            let from = target.stat_with(path, true, Some(Checksum::Sha256)).await?;
            let sum = from.as_ref().and_then(|stat| stat.checksum.clone());
            sum.map_or(Expect::Anything, Expect::Sha256)
        }
    })
}

/// Of a file of this machine, in constant memory.
async fn sha256_of(path: &Path) -> Result<String, Failure> {
    let unreadable = |e: std::io::Error| Failure::new(format!("can't read {}: {e}", path.display()));
    let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer).await.map_err(unreadable)? {
            0 => break Ok(hex(digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// What a write through `path` replaces. A module has mostly read it by now, so this asks nothing.
async fn rewrite(path: &str, target: &Target, expect: Expect, beside: &Beside) -> Result<Back, Failure> {
    let known = target.remembered_file(path).filter(|f| f.content.len() as u64 <= KEPT_CONTENT);
    let read = match known {
        Some(file) => Ok(file),
        None => target.read(path, KEPT_CONTENT).await,
    };
    match read {
        Ok(file) => match &file.stat {
            Some(stat) if stat.kind == FileKind::File => {
                Ok(Back::Effects(vec![as_it_was(path, &file.content, stat, expect)]))
            }
            None => Ok(Back::Effects(vec![unmake(path, expect)])),
            Some(_) => restore(path, target, expect, beside).await,
        },
        Err(e) if e.kind == RemoteErrorKind::Limit => {
            let own = target.stat_with(path, false, None).await?;
            let through = own.filter(|own| own.kind == FileKind::Link).map(|own| own.link_target.clone());
            keep(&through.unwrap_or_else(|| path.to_string()), target, expect, beside).await
        }
        Err(e) => Err(e.into()),
    }
}

fn as_it_was(path: &str, content: &[u8], stat: &Stat, expect: Expect) -> Effect {
    Effect::Write {
        path: path.to_string(),
        content: Content::Bytes(content.into()),
        attributes: attributes_of(stat),
        expect,
        validate: None,
        backup: false,
    }
}

/// Puts back what is at `path` now: content and attributes, or nothing. `expect` is what must be
/// there by then.
async fn restore(path: &str, target: &Target, expect: Expect, beside: &Beside) -> Result<Back, Failure> {
    let stat = target.stat_with(path, false, None).await?;
    let Some(stat) = stat else {
        return Ok(Back::Effects(vec![Effect::Remove { path: path.to_string(), recurse: false }]));
    };
    Ok(match stat.kind {
        FileKind::Link => Back::Effects(vec![Effect::Link {
            path: path.to_string(),
            target: stat.link_text.clone(),
            hard: false,
            force: expect != Expect::Absent,
        }]),
        FileKind::File if stat.size <= KEPT_CONTENT => {
            let file = target.read(path, KEPT_CONTENT).await?;
            let stat = file.stat.as_ref().unwrap_or(&stat);
            Back::Effects(vec![as_it_was(path, &file.content, stat, expect)])
        }
        FileKind::File => keep(path, target, expect, beside).await?,
        FileKind::Directory => {
            Back::OneWay(format!("the directory {path} was not kept; restore it from a backup"))
        }
        _ => Back::OneWay(format!("{path} is a special file and was not kept")),
    })
}

/// Leaves a large file where it is under a second name too. `path` is not a link.
async fn keep(path: &str, target: &Target, expect: Expect, beside: &Beside) -> Result<Back, Failure> {
    let name = match beside {
        Ok(name) => name,
        Err(why) => {
            let size = KEPT_CONTENT >> 20;
            return Ok(Back::OneWay(format!(
                "{path} is larger than {size} MiB and {why}; restore it from a backup"
            )));
        }
    };
    let kept = beside_of(path, name);
    let could_not = |why: String| {
        Failure::new(format!("what {path} holds could not be kept beside it, so it was not changed: {why}"))
            .help("make that possible there (room, rights on the folder), or let the task say `one_way: ok`: then it is not kept, and can't be taken back")
    };
    let effect = Effect::Keep { path: path.to_string(), kept: kept.clone() };
    let said = match target.apply(&effect).await {
        Ok(output) => output.stdout_text(),
        Err(e) if e.kind == RemoteErrorKind::Unreachable => return Err(e.into()),
        Err(e) => return Err(could_not(e.message)),
    };
    let restore = match said.split_whitespace().collect::<Vec<_>>()[..] {
        [inode, mtime, mode] => inode.parse().ok().zip(mtime.parse().ok()).map(|(inode, mtime)| {
            let (kept, path, mode) = (kept.clone(), path.to_string(), mode.to_string());
            Effect::Restore { kept, path, inode, mtime, mode, expect }
        }),
        _ => None,
    };
    let restore = restore.ok_or_else(|| could_not(format!("the host said {said:?} of {kept}")))?;
    Ok(Back::Effects(vec![restore]))
}

/// `.FILE.NAME` in the folder of `path`, with as much of the file's name as a name can hold.
fn beside_of(path: &str, name: &str) -> String {
    let (folder, file) =
        path.rsplit_once('/').map_or(("", path), |(_, file)| path.split_at(path.len() - file.len()));
    let mut most = LONGEST_NAME.saturating_sub(name.len() + 2).min(file.len());
    while !file.is_char_boundary(most) {
        most -= 1;
    }
    format!("{folder}.{}.{name}", &file[..most])
}

fn unmake(path: &str, expect: Expect) -> Effect {
    Effect::Unmake { path: path.to_string(), expect }
}

/// What [`Effect::Touch`] changes of a file that is there.
fn times_back(stat: &Stat) -> Effect {
    let times = Attributes { mtime: Some(stat.mtime), atime: Some(stat.atime), ..attributes_of(stat) };
    let path = stat.path.clone();
    Effect::Attributes { path, attributes: times, recurse: false, follow: true }
}

fn attributes_of(stat: &Stat) -> Attributes {
    Attributes {
        mode: Some(format!("{:04o}", stat.mode)),
        owner: Some(stat.uid.to_string()),
        group: Some(stat.gid.to_string()),
        mtime: None,
        atime: None,
    }
}

fn attributes_back(stat: &Stat) -> Effect {
    Effect::Attributes {
        path: stat.path.clone(),
        attributes: attributes_of(stat),
        recurse: false,
        follow: stat.kind != FileKind::Link,
    }
}
