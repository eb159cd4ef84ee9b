//! The locks of a run on its hosts, and what is kept there of its journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::inventory::HostName;
use crate::module::Failure;
use crate::playbook::Play;
use crate::remote::{
    Connection, Connections, Effect, EffectId, EffectState, Holder, HostLock, LockRefused, LockRequest,
    RemoteError, RemoteErrorKind, Target, TransportKind,
};
use crate::run::journal::Sync;
use crate::run::record::Record;
use crate::run::recorder::Recorder;
use crate::run::store::{Store, Stored};
use crate::source::Val;
use crate::vars::{Layers, Scope};

use super::Engine;
use super::connect;
use super::event::{Event, Sink};
use super::fault;
use super::undo::patiently;

/// How long an effect that outlived its connection may go on before somebody is asked.
const OUTLIVES: Duration = Duration::from_secs(600);

/// How long a host may be away before its copy of the journal is given up.
const AWAY: Duration = Duration::from_secs(15);

/// How the hosts of a run are locked.
#[derive(Debug, Clone)]
pub struct Locking {
    /// What two operators of one project have in common.
    pub project: String,
    pub holder: Holder,
    pub wait: Option<Duration>,
    pub break_dead: bool,
    /// The run's earlier program is known to be dead.
    pub own: bool,
    /// Of this machine, which knows which of them are over.
    pub runs: Store,
}

impl Locking {
    /// Whether it is a run of this machine that was killed and left nothing to be gone on with: there
    /// was nothing yet, or it was taken back from its journal alone.
    fn is_over(&self, holder: &Holder) -> bool {
        let is_over = |run: &Stored| run.id == holder.run && !run.alive && !run.history.is_open();
        holder.from == self.holder.from && self.runs.find(&holder.run).is_ok_and(|run| is_over(&run))
    }
}

/// The locks that a run has.
pub struct Locks {
    locking: Option<Locking>,
    taken: Mutex<HashMap<String, Arc<Taken>>>,
}

/// One host's lock, and who writes the journal there.
struct Taken {
    lock: Arc<HostLock>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What taking locks needs of a run.
pub struct Taker<'a> {
    pub connections: &'a Connections,
    pub sink: &'a Arc<dyn Sink>,
    pub recorder: Option<&'a Recorder>,
    /// Hosts at once.
    pub forks: usize,
}

impl Taker<'_> {
    fn warn(&self, message: String) {
        self.sink.send(Event::Warning { message });
    }
}

impl Locks {
    pub fn new(locking: Option<Locking>) -> Locks {
        Locks { locking, taken: Mutex::default() }
    }

    /// Locks the hosts of a play, before anything is done on any of them.
    ///
    /// # Errors
    /// Somebody else has one of them.
    pub async fn take_for(
        &self,
        engine: &Engine,
        play: &Play,
        hosts: &[HostName],
        layers: &Layers,
    ) -> Result<(), Failure> {
        if self.locking.is_none() {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for host in hosts {
            // The operator's machine itself is nobody else's.
            if engine.variables.inventory().host(host).is_some_and(|h| h.implicit) {
                continue;
            }
            let scope = engine.variables.scope(host, layers);
            wanted.extend(connection_of(engine, play, host, &scope).map(|c| (host.to_string(), c)));
        }
        let taker = Taker {
            connections: &engine.connections,
            sink: &engine.sink,
            recorder: engine.log.as_ref().map(|log| &*log.recorder),
            forks: engine.options.forks,
        };
        self.take(&taker, wanted).await
    }

    /// Locks these hosts: all that can be reached, or none. Who can't be reached is left to the first
    /// task, which tells.
    ///
    /// # Errors
    /// Somebody else has one of them.
    pub async fn take(
        &self,
        taker: &Taker<'_>,
        mut wanted: Vec<(String, Connection)>,
    ) -> Result<(), Failure> {
        let Some(locking) = &self.locking else { return Ok(()) };
        wanted.retain(|(host, _)| self.of(host).is_none());
        // Two runs that wait for each other's hosts ask in the same order.
        wanted.sort_by(|a, b| place(&a.1).cmp(&place(&b.1)).then_with(|| a.0.cmp(&b.0)));
        // Of two names for one machine the second must find the first's lock.
        wanted.dedup_by(|a, b| place(&a.1) == place(&b.1));
        let width = if locking.wait.is_some() { 1 } else { taker.forks.max(1) };
        let asked: Vec<(String, Connection, Result<HostLock, LockRefused>)> = futures::stream::iter(wanted)
            .map(|(host, connection)| async move {
                let taken = take_one(taker, locking, &host, &connection).await;
                (host, connection, taken)
            })
            .buffered(width)
            .collect()
            .await;
        let mut refused = None;
        for (host, connection, taken) in asked {
            match taken {
                Ok(lock) => self.keep(taker, &locking.project, host, &connection, lock),
                Err(LockRefused::Ours) => {}
                Err(LockRefused::Failed(e)) if e.kind == RemoteErrorKind::Unreachable => {}
                Err(why) => refused = refused.or(Some((host, why))),
            }
        }
        match refused {
            None => Ok(()),
            Some((host, why)) => Err(told(&host, &why)),
        }
    }

    fn keep(&self, taker: &Taker<'_>, project: &str, host: String, connection: &Connection, lock: HostLock) {
        let lock = Arc::new(lock);
        let mut writer = None;
        if let Some(recorder) = taker.recorder {
            let locked = recorder.seal(connection).and_then(|reached| {
                let (host, project) = (host.clone(), project.to_string());
                recorder.write(&Record::Locked { host, project, reached }, Sync::Later)
            });
            if let Err(why) = locked {
                taker.warn(format!("{host}: what is left there can't be pruned: {why}"));
            }
            let (lines, waiting) = mpsc::unbounded_channel();
            let file = journal_file(&recorder.run);
            let there = (!recorder.has_acted()).then_some(0);
            let (lock, sink) = (lock.clone(), taker.sink.clone());
            writer = Some(tokio::spawn(write(lock, host.clone(), file, there, waiting, sink)));
            // A writer that gave up has told so.
            let mirror = move |line: &str| drop(lines.send(line.to_string()));
            if let Err(why) = recorder.mirror_to(Box::new(mirror)) {
                taker.warn(format!("{host}: the journal is not kept there: {why}"));
            }
        }
        self.taken().insert(host, Arc::new(Taken { lock, writer: Mutex::new(writer) }));
    }

    fn of(&self, host: &str) -> Option<Arc<Taken>> {
        self.taken().get(host).cloned()
    }

    /// Nobody may go on believing in a lock that is lost.
    ///
    /// # Errors
    /// Somebody else may have it by now.
    pub fn check(&self, host: &str) -> Result<(), Failure> {
        match self.of(host) {
            Some(taken) if taken.lock.is_lost() => Err(Failure::new(format!(
                "the lock on {host} is lost: it could not be renewed in time, so another run may be at work there"
            ))
            .help("look at `seqn-play runs` and at the host; then resume the run")),
            _ => Ok(()),
        }
    }

    /// What became of an effect that was cut; `None` where the host can't tell.
    ///
    /// # Errors
    /// The host can't be reached, also a while later, or the effect still runs after a long time.
    pub async fn became_of(&self, host: &str, id: &EffectId) -> Result<Option<EffectState>, Failure> {
        let Some(taken) = self.of(host) else { return Ok(None) };
        // What cut the effect has cut the way to ask as well.
        match patiently(|| taken.lock.wait_for(id, OUTLIVES)).await? {
            EffectState::Running(running) => {
                Err(Failure::new(format!("the effect that was cut still runs on {host}: {running}"))
                    .help(format!("wait for its end, or end it there: {}; then try again", running.kill())))
            }
            state => Ok(Some(state)),
        }
    }

    /// Waits until an effect of this run that was cut is at its end. One that hasn't begun never does, so it
    /// can be taken back.
    ///
    /// # Errors
    /// As [`became_of`](Locks::became_of).
    pub async fn settle(&self, host: &str, id: &EffectId) -> Result<(), Failure> {
        if let (Some(EffectState::NeverBegan), Some(taken)) = (self.became_of(host, id).await?, self.of(host))
        {
            patiently(|| taken.lock.fence(id)).await?;
            // It may have begun between the two.
            self.became_of(host, id).await?;
        }
        Ok(())
    }

    /// Until an effect has begun, as its host notes it; where it doesn't, for a moment.
    pub async fn begun(&self, host: &str, id: &EffectId) {
        let Some(taken) = self.of(host) else { return tokio::time::sleep(fault::MOMENT).await };
        while let Ok(EffectState::NeverBegan) = taken.lock.effect(id).await {
            tokio::time::sleep(fault::MOMENT / 4).await;
        }
    }

    /// Gives all of them back, once the journal is whole on each host. `over`: nothing is left to be
    /// gone on with, so what effects left on the hosts goes too.
    pub async fn release(&self, recorder: Option<&Recorder>, over: bool) {
        if let Some(recorder) = recorder {
            recorder.end_mirrors();
        }
        let all: Vec<Arc<Taken>> = self.taken().drain().map(|(_, taken)| taken).collect();
        let each = all.into_iter().map(|taken| async move {
            let Some(Taken { lock, writer }) = Arc::into_inner(taken) else { return };
            let writer = writer.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(writer) = writer {
                writer.await.ok();
            }
            let Some(lock) = Arc::into_inner(lock) else { return };
            // Unreachable by now: the lease runs out.
            match over {
                true => lock.release_for_good().await.ok(),
                false => lock.release().await.ok(),
            };
        });
        futures::future::join_all(each).await;
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, Arc<Taken>>> {
        self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Takes the lock of one host.
pub(super) async fn take_one(
    taker: &Taker<'_>,
    locking: &Locking,
    host: &str,
    connection: &Connection,
) -> Result<HostLock, LockRefused> {
    let mut request = LockRequest::new(locking.project.clone(), locking.holder.clone());
    request.wait = locking.wait;
    request.break_dead = locking.break_dead;
    request.dead_run = locking.own.then(|| locking.holder.run.clone());
    let waiting = |by: &LockRefused| {
        taker.sink.send(Event::Notice { message: format!("waiting for the lock on {host}: {by}") });
    };
    // The login user's, whoever is become.
    let connection = Connection { become_: None, ..connection.clone() };
    let mut taken = taker.connections.lock(host, &connection, &request, &waiting).await;
    if let Err(LockRefused::Held(by)) = &taken
        && locking.is_over(&by.holder)
    {
        request.dead_run = Some(by.holder.run.clone());
        taken = taker.connections.lock(host, &connection, &request, &waiting).await;
    }
    let lock = taken?;
    if let Some(by) = lock.broke().filter(|by| by.holder.run != locking.holder.run) {
        taker.warn(format!("{host}: the lock of the dead run {} was taken over", by.holder.run));
    }
    Ok(lock)
}

/// Takes away what a project's runs left on a host: lock, journals, notes of effects. For a project
/// of which nobody will ever hear again.
///
/// # Errors
/// It can't be reached, or something of it is another user's.
pub async fn forget_project(target: &Target, project: &str) -> Result<(), RemoteError> {
    let path = crate::remote::lock::folder(project);
    target.apply(&Effect::Remove { path, recurse: true }).await.map(drop)
}

/// The name of a run's journal in the lock's folder on a host.
pub fn journal_file(run: &str) -> String {
    format!("{run}.journal")
}

/// Writes what comes, as much at a time as is waiting: first the whole journal, or what of it the host
/// doesn't have yet; the same again once a lost host is back. `there`: as for [`bring`].
async fn write(
    lock: Arc<HostLock>,
    host: String,
    file: String,
    mut there: Option<usize>,
    mut waiting: mpsc::UnboundedReceiver<String>,
    sink: Arc<dyn Sink>,
) {
    let (mut whole, mut lines) = (String::new(), Vec::new());
    while waiting.recv_many(&mut lines, 1000).await > 0 {
        whole.extend(lines.drain(..));
        let until = Instant::now() + AWAY;
        while let Err(why) = bring(&lock, &file, &whole, &mut there).await {
            there = None;
            // At the end of a run nobody waits for it.
            let late = Instant::now() > until || waiting.is_closed();
            if why.kind != RemoteErrorKind::Unreachable || late || lock.is_lost() {
                let message = format!("{host}: the journal is not kept there any more: {why}");
                return sink.send(Event::Warning { message });
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Where a connection leads, as far as that can be told without asking.
fn place(connection: &Connection) -> (TransportKind, &str, Option<u16>) {
    match connection.transport {
        TransportKind::Local => (TransportKind::Local, "", None),
        kind => (kind, &connection.address, connection.port),
    }
}

/// `there`: how much of it the host has; `None` where it must be asked.
async fn bring(
    lock: &HostLock,
    file: &str,
    whole: &str,
    there: &mut Option<usize>,
) -> Result<(), RemoteError> {
    let from = match *there {
        Some(there) => there,
        None => {
            let known = lock.read(file).await?.unwrap_or_default();
            let whole_lines = known.is_empty() || known.ends_with(b"\n");
            match whole_lines && whole.as_bytes().starts_with(&known) {
                true => known.len(),
                false => {
                    lock.remove(file).await?;
                    0
                }
            }
        }
    };
    if from < whole.len() {
        // The last newline is the lock's.
        let rest = whole[from..].strip_suffix('\n').unwrap_or(&whole[from..]);
        lock.append(file, rest.as_bytes()).await?;
    }
    *there = Some(whole.len());
    Ok(())
}

/// As the play reaches the host; `None` where only a task knows how.
fn connection_of(engine: &Engine, play: &Play, host: &str, scope: &Scope) -> Option<Connection> {
    let render = |val: &Val| super::play::render(engine, play, scope, val);
    connect::settings(engine, host, scope, &play.keywords, &render).ok()
}

pub(super) fn told(host: &str, why: &LockRefused) -> Failure {
    let failure = Failure::new(format!("{host} is locked, and nothing was begun: {why}"));
    match why {
        LockRefused::Held(by) if by.dead.is_some() => {
            failure.help("its lock can be taken over with --break-lock; `seqn-play runs` tells whether that run is unfinished")
        }
        LockRefused::Held(_) => failure.help("wait for its end: --wait-lock SECONDS"),
        LockRefused::StillRunning(running) => {
            let kill: Vec<String> = running.iter().map(crate::remote::Running::kill).collect();
            failure.help(format!("wait for its end (--wait-lock SECONDS), or end it on the host: {}", kill.join("; ")))
        }
        LockRefused::Ours => failure,
        LockRefused::Failed(e) => remote(failure, e),
    }
}

fn remote(failure: Failure, e: &RemoteError) -> Failure {
    match &e.help {
        Some(help) => failure.help(help.clone()),
        None => failure,
    }
}
