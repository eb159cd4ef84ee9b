//! What became of effects, whoever began them.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::lease::{Lease, lost, now};
use super::mark::EffectId;
use super::noted::{Marks, Noted, Running, What, alive};
use super::{HostLock, LockRefused, LockRequest, refused, tidy};
use crate::remote::{Command, Effect, RemoteError, Target};

const ALIVE: &str = include_str!("alive.sh");

/// How often a running effect is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// How long a group may take to end after each of the two signals.
const END: Duration = Duration::from_secs(5);

/// What the host knows of an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectState {
    NeverBegan,
    Running(Running),
    /// 128 + N for a signal.
    Ended {
        status: i32,
    },
    /// It began; the host was restarted or its processes are gone, and nobody noted how it ended.
    Vanished,
}

impl HostLock {
    /// What became of an effect, of whatever run.
    ///
    /// # Errors
    /// The host can't be reached.
    pub async fn effect(&self, id: &EffectId) -> Result<EffectState, RemoteError> {
        // An effect can end between the two questions; then its status is there the second time.
        for last in [false, true] {
            let pattern = format!("{}.*", id.hash());
            let Marks { me, all } = Marks::look(&self.control, &self.lease.folder, &pattern).await?;
            let believed = |one: &&Noted| {
                let named = id.user.as_ref().is_some_and(|user| *user == one.user || *user == one.uid);
                one.run == tidy(&id.run) && (named || one.uid == "0" || one.uid == me)
            };
            let all: Vec<&Noted> = all.iter().filter(believed).collect();
            let refused = |one: &&&Noted| {
                all.iter().any(|other| other.id == one.id && matches!(other.what, What::Ended(None)))
            };
            let Some(latest) = all.iter().filter(|one| !refused(one)).map(|one| one.number).max() else {
                return Ok(EffectState::NeverBegan);
            };
            let mut began = Vec::new();
            for one in all.iter().filter(|one| one.number == latest) {
                match one.what {
                    What::Ended(Some(status)) => return Ok(EffectState::Ended { status }),
                    _ => began.extend(one.running(&me)),
                }
            }
            if let Some(running) = alive(&self.control, began).await?.pop() {
                return Ok(EffectState::Running(running));
            }
            if last {
                break;
            }
        }
        Ok(EffectState::Vanished)
    }

    /// An effect under this lock that hasn't begun on the host by now never will, however late it comes there.
    ///
    /// # Errors
    /// The host can't be reached, or can't note it.
    pub async fn fence(&self, id: &EffectId) -> Result<(), RemoteError> {
        let Lease { folder, number, .. } = &*self.lease;
        self.control.run(&format!("l_fence {folder} {}", id.path(*number)), "FENCE").await.map(drop)
    }

    /// Waits until it runs no more, for `limit` at most.
    ///
    /// # Errors
    /// The host can't be reached.
    pub async fn wait_for(&self, id: &EffectId, limit: Duration) -> Result<EffectState, RemoteError> {
        let until = now() + limit;
        loop {
            let state = self.effect(id).await?;
            let left = until.saturating_sub(now());
            if !matches!(state, EffectState::Running(_)) || left.is_zero() {
                return Ok(state);
            }
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }

    /// Ends it with its children: TERM, then KILL. `by` is the host as the user who runs it, where
    /// that isn't the login user.
    ///
    /// # Errors
    /// The host can't be reached, or the user may not.
    pub async fn end(&self, id: &EffectId, by: Option<&Target>) -> Result<EffectState, RemoteError> {
        if let EffectState::Running(running) = self.effect(id).await? {
            end(&self.control, &running, by).await?;
        }
        self.effect(id).await
    }

    /// Takes away what ended effects of this run left on the host: when it is over for good.
    ///
    /// # Errors
    /// The host can't be reached.
    pub async fn forget_effects(&self) -> Result<(), RemoteError> {
        let forget = format!("l_forget {} {}", self.lease.folder, tidy(&self.lease.run));
        self.control.run(&forget, "FORGET").await.map(drop)
    }
}

async fn end(control: &Control, running: &Running, by: Option<&Target>) -> Result<(), RemoteError> {
    for signal in ["TERM", "KILL"] {
        let script = format!("l_signal {signal} {}", running.process);
        let sent = match by {
            None if !running.trusted => Err(refused(format!("only {} may", running.user))),
            None => control.run(&script, "END").await.map(drop),
            Some(target) => {
                let command = Command::shell(format!("{ALIVE}\n{script}"));
                let said = target.apply(&Effect::Run(command)).await?;
                if said.success() { Ok(()) } else { Err(refused(said.stderr_text().trim().to_string())) }
            }
        };
        let until = now() + END;
        loop {
            if alive(control, vec![running.clone()]).await?.is_empty() {
                return Ok(());
            }
            if let Err(e) = &sent {
                let help = format!("end it there: sudo kill -{signal} {}", running.kill());
                return Err(refused(format!("{running} can't be ended: {}", e.message)).with_help(help));
            }
            if now() >= until {
                break;
            }
            tokio::time::sleep(LOOK / 3).await;
        }
    }
    Err(refused(format!("{running} can't be ended, not by SIGKILL either"))
        .with_help("it hangs in the host's kernel (a dead disk or network share); look there"))
}

/// Sees that nothing of other runs still runs: who is stopped between looking at his lock and his
/// effect is found here, and finds our lock there. `marks` as they were once it was ours.
pub async fn leave_none(
    lock: &HostLock,
    mut marks: Marks,
    request: &LockRequest,
    until: Duration,
    mut told: bool,
    waiting: &mut (dyn FnMut(&LockRefused) + Send),
) -> Result<(), LockRefused> {
    let HostLock { control, lease, .. } = lock;
    loop {
        let running = left(lock, &marks).await?;
        if running.is_empty() {
            return Ok(());
        }
        if lock.is_lost() {
            return Err(lost(control.host()).into());
        }
        if now() < until {
            if !told {
                waiting(&LockRefused::StillRunning(running));
                told = true;
            }
            tokio::time::sleep(LOOK).await;
        } else if request.end_effects {
            for one in &running {
                end(control, one, None).await?;
            }
        } else {
            return Err(LockRefused::StillRunning(running));
        }
        marks = Marks::look(control, &lease.folder, "*").await?;
    }
}

/// What runs of other runs.
async fn left(lock: &HostLock, Marks { me, all }: &Marks) -> Result<Vec<Running>, RemoteError> {
    let own = tidy(&lock.lease.run);
    let mut ended: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for one in all.iter().filter(|one| matches!(one.what, What::Ended(_))) {
        ended.entry((&one.run, &one.id)).or_default().push(&one.uid);
    }
    let open = |one: &&Noted| {
        let by = ended.get(&(one.run.as_str(), one.id.as_str()));
        let believed = by.is_some_and(|by| by.iter().any(|uid| [&one.uid, "0", me].contains(uid)));
        one.run != own && !believed
    };
    alive(&lock.control, all.iter().filter(open).filter_map(|one| one.running(me)).collect()).await
}
