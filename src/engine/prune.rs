//! What a run leaves on its hosts beside what it was to change: content that was too large for the
//! journal, and a copy of the journal. It is taken away when the run is pruned.

use std::sync::Arc;

use crate::module::Failure;
use crate::remote::{Connection, Connections, Effect, HostLock, LockRefused, RemoteError};
use crate::run::history::History;
use crate::run::record::Kept;
use crate::run::seal::Seal;

use super::event::Sink;
use super::locks::{self, Locking, Taker};

/// What one run left.
#[derive(Default)]
pub struct Left {
    /// Where the journal is kept too: host, project and how it is reached.
    journals: Vec<(String, String, Connection)>,
    /// Content beside its file: host and how it is reached (`None`: the operator's machine), path.
    contents: Vec<(Option<(String, Connection)>, String)>,
}

/// Whether a run may have left something that only its key tells.
pub fn is_left(run: &History) -> bool {
    !run.beside.is_empty() || (run.acted && !run.locked.is_empty())
}

/// # Errors
/// Nothing was kept of how a host is reached, or it can't be opened.
pub fn left_by(run: &History, seal: &Seal) -> Result<Left, Failure> {
    let mut left = Left::default();
    for (host, locked) in run.locked.iter().filter(|_| run.acted) {
        let sealed = locked
            .reached
            .as_ref()
            .ok_or_else(|| Failure::new(format!("how {host} is reached was not kept")))?;
        left.journals.push((host.clone(), locked.project.clone(), seal.unseal(sealed)?));
    }
    for intent in &run.beside {
        let sealed = intent.kept.as_ref();
        let sealed = sealed.ok_or_else(|| Failure::new(format!("nothing was kept of `{}`", intent.label)))?;
        let kept: Kept = seal.unseal(sealed)?;
        let host = intent.target.clone().zip(kept.connection.clone());
        left.contents.extend(kept.back.beside().map(|path| (host.clone(), path.to_string())));
    }
    Ok(left)
}

/// What taking it away works with.
pub struct Means<'a> {
    pub connections: &'a Connections,
    pub sink: &'a Arc<dyn Sink>,
    /// Who prunes; the project is each journal's own.
    pub locking: Locking,
    /// The run's journal on this machine.
    pub journal: &'a [u8],
}

/// Takes all of it away, under the lock of each host that the run had locked.
///
/// # Errors
/// A host can't be reached, is locked by another run, or the run went on elsewhere: then nothing was
/// taken away anywhere. Or something can't be removed.
pub async fn take_away(means: &Means<'_>, left: &Left) -> Result<(), Failure> {
    let mut locked = Vec::new();
    let taken = take_away_locked(means, left, &mut locked).await;
    for (_, lock) in locked {
        match &taken {
            Ok(()) => lock.release_for_good().await.ok(),
            // Its lease runs out, where it can't be given back.
            Err(_) => lock.release().await.ok(),
        };
    }
    taken
}

async fn take_away_locked(
    means: &Means<'_>,
    left: &Left,
    locked: &mut Vec<(String, HostLock)>,
) -> Result<(), Failure> {
    let run = &means.locking.holder.run;
    let file = locks::journal_file(run);
    let taker = Taker { connections: means.connections, sink: means.sink, recorder: None, forks: 1 };
    for (host, project, connection) in &left.journals {
        let locking = Locking { project: project.clone(), ..means.locking.clone() };
        match locks::take_one(&taker, &locking, host, connection).await {
            Ok(lock) => {
                let there = lock.read(&file).await;
                locked.push((host.clone(), lock));
                let there = there.map_err(|e| on(host, e))?.unwrap_or_default();
                went_on_elsewhere(run, means.journal, &there, host)?;
            }
            // The same machine by another name.
            Err(LockRefused::Ours) => {}
            Err(LockRefused::Failed(e)) => return Err(on(host, e)),
            Err(why) => return Err(locks::told(host, &why)),
        }
    }
    let mut contents = Vec::new();
    for (host, path) in &left.contents {
        let target = match host {
            Some((name, connection)) => {
                means.connections.target(name, connection).await.map_err(|e| on(name, e))?
            }
            None => means.connections.operator().await?,
        };
        // Somebody can be become there.
        target.stat("/").await.map_err(|e| on(target.name(), e))?;
        contents.push((target, path));
    }
    for (target, path) in contents {
        let effect = Effect::Remove { path: path.clone(), recurse: false };
        target.apply(&effect).await.map_err(|e| on(target.name(), e))?;
    }
    for (host, lock) in locked {
        lock.remove(&file).await.map_err(|e| on(host, e))?;
    }
    Ok(())
}

/// A host's copy that says more than this machine knows is of a run that somebody took over.
fn went_on_elsewhere(run: &str, here: &[u8], there: &[u8], host: &str) -> Result<(), Failure> {
    let whole = there.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
    match here.starts_with(&there[..whole]) {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{host} knows more of it than this machine: somebody went on with it elsewhere"
        ))
        .help(format!(
            "prune it there, or look at it here: `seqn-play rollback {run} --from-host {host} --check`"
        ))),
    }
}

fn on(host: &str, why: RemoteError) -> Failure {
    let failure = Failure::from(why);
    Failure { message: format!("{host}: {}", failure.message), ..failure }
}
