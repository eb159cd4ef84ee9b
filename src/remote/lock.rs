//! One run at a time on a host: the lock of a project, taken on the host itself by the login user.
//!
//! It lives in `/var/tmp/seqn-play/PROJECT/`, told from other projects' only by that name. What a
//! lock is, and why there are never two, stands in `lock/lock.sh`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::shell::token;
use super::{RemoteError, RemoteErrorKind};
use control::Control;
use lease::{Held, Lease, now};

pub mod control;
pub mod files;
mod held;
pub mod lease;
pub mod mark;
mod noted;
mod running;

pub use held::HostLock;
pub use mark::EffectId;
use noted::Marks;
pub use noted::Running;
pub use running::EffectState;

/// Where the locks of a host are.
const BASE: &str = "/var/tmp/seqn-play";

/// How often a lock that somebody has is looked at again, at most.
const LOOK: Duration = Duration::from_secs(2);

/// Who holds a lock, in words for other people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Run id.
    pub run: String,
    pub who: String,
    /// The operator's machine.
    pub from: String,
    /// Tells the program from an earlier one of the same run.
    #[serde(default)]
    pub program: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LockRequest {
    /// Two projects don't exclude each other. Other characters than `[A-Za-z0-9._-]` count as `_`.
    pub project: String,
    pub holder: Holder,
    /// Renewed each third of it; who isn't renewed for longer is dead. Whole seconds, 3 at least.
    pub lease: Duration,
    /// How long to wait for a holder that lives, and then for effects of other runs that still run.
    pub wait: Option<Duration>,
    /// Take over what is provably dead.
    pub break_dead: bool,
    /// Take it over from this run, whose program the caller knows to be dead.
    pub dead_run: Option<String>,
    /// End effects of other runs that still run after `wait`, rather than be refused.
    pub end_effects: bool,
}

impl LockRequest {
    pub fn new(project: impl Into<String>, holder: Holder) -> LockRequest {
        LockRequest {
            project: project.into(),
            holder,
            lease: Duration::from_secs(60),
            wait: None,
            break_dead: false,
            dead_run: None,
            end_effects: false,
        }
    }

    fn lease_seconds(&self) -> u64 {
        self.lease.as_secs().max(3)
    }
}

/// A lock that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBy {
    pub holder: Holder,
    /// The host's user who made it.
    pub user: String,
    /// By the host's clock, seconds since the epoch.
    pub since: i64,
    pub lease_seconds: u64,
    pub renewed_seconds_ago: u64,
    /// Whether, and why, nobody can be holding it any more.
    pub dead: Option<Dead>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dead {
    LeaseExpired,
    HostRestarted,
}

/// Why there is no lock.
#[derive(Debug, Clone, PartialEq)]
pub enum LockRefused {
    Held(Box<HeldBy>),
    /// This program has it, by another name of the host.
    Ours,
    /// Nobody has the lock, but what other runs began on the host still runs.
    StillRunning(Vec<Running>),
    /// The host couldn't be asked, or its folder for locks can't be trusted.
    Failed(RemoteError),
}

impl From<RemoteError> for LockRefused {
    fn from(e: RemoteError) -> LockRefused {
        LockRefused::Failed(e)
    }
}

impl std::error::Error for LockRefused {}

impl fmt::Display for LockRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockRefused::Failed(e) => write!(f, "{e}"),
            LockRefused::Ours => f.write_str("this program has the lock, by another name of the host"),
            LockRefused::StillRunning(running) => {
                let all: Vec<String> = running.iter().map(ToString::to_string).collect();
                write!(f, "what another run began here still runs: {}", all.join("; "))
            }
            LockRefused::Held(by) => {
                let HeldBy { holder, user, since, lease_seconds, renewed_seconds_ago, dead } = &**by;
                let since = chrono::DateTime::from_timestamp(*since, 0)
                    .map_or_else(String::new, |t| t.format(" since %Y-%m-%d %H:%M:%S UTC").to_string());
                write!(
                    f,
                    "run {} of {} from {} has the lock{since} (as {user}; renewed {renewed_seconds_ago} s ago)",
                    holder.run, holder.who, holder.from
                )?;
                match dead {
                    None => Ok(()),
                    Some(Dead::LeaseExpired) => {
                        write!(f, "; it is dead: its lease of {lease_seconds} s has run out")
                    }
                    Some(Dead::HostRestarted) => write!(f, "; it is dead: the host was restarted since"),
                }
            }
        }
    }
}

/// What a look at the lock led to.
enum Look {
    /// With what effects left on the host.
    Taken {
        number: u32,
        broke: Option<Box<HeldBy>>,
        marks: Marks,
    },
    Held {
        number: u32,
        by: Box<HeldBy>,
    },
}

/// Takes the lock; `waiting` hears once of what is waited for.
pub async fn take(
    control: Control,
    held: Arc<Held>,
    request: &LockRequest,
    waiting: &mut (dyn FnMut(&LockRefused) + Send),
) -> Result<HostLock, LockRefused> {
    if held.is_ours() {
        return Err(refused(format!("this program has a lock on {} already", control.host())).into());
    }
    let folder = format!("{BASE}/{}", tidy(&request.project));
    let until = now() + request.wait.unwrap_or_default();
    let mut pause = Duration::from_millis(100);
    let mut told = false;
    let mut dead = None;
    loop {
        let sent = now();
        let by = match look(&control, &folder, request, dead.take()).await? {
            Look::Taken { number, broke, marks } => {
                let lease = Lease {
                    folder,
                    number,
                    run: request.holder.run.clone(),
                    length: Duration::from_secs(request.lease_seconds()),
                    until: std::sync::Mutex::new(Some(sent + Duration::from_secs(request.lease_seconds()))),
                };
                let lock = HostLock::new(control, held, Arc::new(lease), broke);
                return match running::leave_none(&lock, marks, request, until, told, waiting).await {
                    Ok(()) => Ok(lock),
                    Err(refused) => {
                        lock.release().await.ok();
                        Err(refused)
                    }
                };
            }
            Look::Held { by, .. } if by.holder == request.holder => return Err(LockRefused::Ours),
            Look::Held { number, by } if request.dead_run.as_ref() == Some(&by.holder.run) => {
                dead = Some(number);
                continue;
            }
            Look::Held { by, .. } => by,
        };
        let never = by.dead.is_some() || now() >= until;
        let refused = LockRefused::Held(by);
        if never {
            return Err(refused);
        }
        if !told {
            waiting(&refused);
            told = true;
        }
        // Many that wait don't all look at once.
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(pause.mul_f64(jitter).min(until.saturating_sub(now()))).await;
        pause = (pause * 2).min(LOOK);
    }
}

/// `dead`: the number of a lock that nobody holds any more, whatever it looks like.
async fn look(
    control: &Control,
    folder: &str,
    request: &LockRequest,
    dead: Option<u32>,
) -> Result<Look, RemoteError> {
    let breaks = match dead {
        Some(number) => format!("n{number}"),
        None => u8::from(request.break_dead).to_string(),
    };
    let holder = serde_json::to_vec(&request.holder).map_err(|e| unreadable(&e.to_string()))?;
    let mark = token();
    let script = format!(
        "l_shared {BASE} && l_shared {folder} && l_shared {folder}/effects && \
         l_take {folder} {} {breaks} {} {} {} {mark}",
        request.lease_seconds(),
        STANDARD.encode(holder),
        tidy(&request.holder.run),
        token(),
    );
    let said = control.run(&script, "LOCK").await?.stdout_text();
    let (said, marks) = said.split_once(&format!("\n{mark}\n")).unwrap_or((&said, ""));
    let (line, holder) = said.split_once('\n').unwrap_or((said, ""));
    let words: Vec<&str> = line.split(' ').collect();
    let [what, number, state, user, ago, since, lease] = words[..] else { return Err(unreadable(line)) };
    let number = number.parse().map_err(|_| unreadable(line))?;
    let dead = match state {
        "expired" => Some(Dead::LeaseExpired),
        "restarted" => Some(Dead::HostRestarted),
        _ => None,
    };
    // After a crash of the host its content may be lost.
    let holder = serde_json::from_str(holder.trim_end()).unwrap_or_else(|_| {
        let unknown = || "unknown".to_string();
        Holder { run: unknown(), who: unknown(), from: unknown(), program: unknown() }
    });
    // Anybody on the host can have written it.
    let plain = |text: String| text.chars().filter(|c| !c.is_control()).collect();
    let holder = Holder {
        run: plain(holder.run),
        who: plain(holder.who),
        from: plain(holder.from),
        program: plain(holder.program),
    };
    let by = Box::new(HeldBy {
        holder,
        user: user.to_string(),
        since: since.parse().unwrap_or_default(),
        lease_seconds: lease.parse().unwrap_or_default(),
        renewed_seconds_ago: ago.parse().unwrap_or_default(),
        dead,
    });
    match what {
        "taken" => {
            let broke = (state != "free").then_some(by);
            Ok(Look::Taken { number, broke, marks: Marks::parse(marks)? })
        }
        "held" => Ok(Look::Held { number, by }),
        _ => Err(unreadable(line)),
    }
}

/// A name as one part of a path.
fn tidy(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let tidy: String = name.chars().take(100).map(plain).collect();
    match tidy.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if tidy.is_empty() => "_".into(),
        None => tidy,
    }
}

fn refused(message: String) -> RemoteError {
    RemoteError { kind: RemoteErrorKind::Refused, message, help: None }
}

fn unreadable(line: &str) -> RemoteError {
    refused(format!("what the host says of its lock could not be read: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::tidy;

    #[test]
    fn names_are_one_part_of_a_path() {
        for (name, expected) in
            [("auth", "auth"), ("", "_"), (".", "_"), ("..", "_."), ("../x y", "_._x_y"), ("-é", "-_")]
        {
            assert_eq!(tidy(name), expected);
        }
    }
}
