//! Points where a fault can strike: the program dies, or something happens to a host or to the way
//! there.
//!
//! `SEQN_PLAY_FAULT=N:POINT:WHAT` strikes at that point of the Nth Step that is written down, or of
//! the Nth effect that takes something back (the first is 1). WHAT is one of [`What`]'s words, or a
//! shell command. In a release build nothing is armed unless `seqn-play rehearse` started the program
//! and every host is marked as one that may break ([`arm`] has the rule); a debug build, which is
//! what tests run, is armed by the variable alone.

use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::remote::{Effect, Output, RemoteError, RemoteErrorKind, trouble};

/// Names the fault.
pub const FAULT: &str = "SEQN_PLAY_FAULT";

/// Names a file that is made once it struck. What is in it is why it couldn't.
pub const STRUCK: &str = "SEQN_PLAY_STRUCK";

/// Where around a Step, or around an effect that takes one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    BeforeIntent,
    AfterIntent,
    /// While it runs on the host.
    During,
    AfterEffect,
    AfterRecord,
    BeforeUndo,
    DuringUndo,
    /// It is taken back, and nobody has written that down.
    AfterUndo,
}

impl Point {
    const ALL: [Point; 8] = [
        Point::BeforeIntent,
        Point::AfterIntent,
        Point::During,
        Point::AfterEffect,
        Point::AfterRecord,
        Point::BeforeUndo,
        Point::DuringUndo,
        Point::AfterUndo,
    ];

    /// As [`FAULT`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Point::BeforeIntent => "before-intent",
            Point::AfterIntent => "after-intent",
            Point::During => "during",
            Point::AfterEffect => "after-effect",
            Point::AfterRecord => "after-record",
            Point::BeforeUndo => "before-undo",
            Point::DuringUndo => "during-undo",
            Point::AfterUndo => "after-undo",
        }
    }

    fn counter(self) -> &'static AtomicUsize {
        match self {
            Point::BeforeUndo | Point::DuringUndo | Point::AfterUndo => &UNDONE,
            _ => &STEPS,
        }
    }
}

static STEPS: AtomicUsize = AtomicUsize::new(0);
static UNDONE: AtomicUsize = AtomicUsize::new(0);
static DISK_FULL: AtomicBool = AtomicBool::new(false);
static DENIED: AtomicBool = AtomicBool::new(false);
static UNHEALTHY: AtomicBool = AtomicBool::new(false);
static ARMED: OnceLock<Option<Fault>> = OnceLock::new();

/// What happens. All but the first, the second and the last go on to the end of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// `kill`: the program ends, as by SIGKILL.
    Kill,
    /// `cut`: connections are lost.
    Cut,
    /// `refused`: connections are lost, and refused from then on.
    Refused,
    /// `slow`: every exchange with a host takes longer.
    Slow,
    /// `disk-full`: effects that need room are answered as a host whose disk is full answers.
    DiskFull,
    /// `denied`: effects on files and commands are answered with "permission denied".
    Denied,
    /// `unhealthy`: checks of health find that a service isn't well.
    Unhealthy,
    /// Any other text.
    Shell(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    step: usize,
    point: Point,
    what: What,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let wrong = || format!("{FAULT}={text}: NUMBER:POINT:WHAT is expected");
        let (step, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (point, what) = rest.split_once(':').ok_or_else(wrong)?;
        let step = step.parse().map_err(|_| wrong())?;
        let point = Point::ALL.into_iter().find(|known| known.name() == point).ok_or_else(wrong)?;
        let what = match what {
            "kill" => What::Kill,
            "cut" => What::Cut,
            "refused" => What::Refused,
            "slow" => What::Slow,
            "disk-full" => What::DiskFull,
            "denied" => What::Denied,
            "unhealthy" => What::Unhealthy,
            "" => return Err(wrong()),
            command => What::Shell(command.into()),
        };
        Ok(Fault { step, point, what })
    }
}

/// Arms the fault that the environment names, if it names one. `unmarked`: hosts that aren't marked as
/// ones that may break.
///
/// # Errors
/// It may not be armed here, or isn't understood.
pub fn arm(unmarked: &[String]) -> Result<(), String> {
    let Ok(text) = std::env::var(FAULT) else { return Ok(()) };
    let fault: Fault = text.parse()?;
    may_arm(unmarked, is_rehearsed(), cfg!(debug_assertions))?;
    trouble::expect();
    ARMED.set(Some(fault)).ok();
    Ok(())
}

fn may_arm(unmarked: &[String], is_rehearsed: bool, is_test: bool) -> Result<(), String> {
    match (is_test, is_rehearsed, unmarked) {
        (true, ..) | (false, true, []) => Ok(()),
        (false, false, _) => Err(format!("{FAULT} is set, and only `seqn-play rehearse` may set it")),
        (false, true, [host, ..]) => Err(format!("{FAULT} is set, but {host} may not break")),
    }
}

/// Whether this very program started us.
fn is_rehearsed() -> bool {
    // SAFETY: getppid has no preconditions and can't fail.
    let parent = unsafe { libc::getppid() };
    let of = |process: &str| std::fs::read_link(Path::new("/proc").join(process).join("exe")).ok();
    let own = of("self");
    own.is_some() && own == of(&parent.to_string())
}

fn armed() -> Option<&'static Fault> {
    let by_itself = || {
        let fault = std::env::var(FAULT).ok().filter(|_| cfg!(debug_assertions));
        fault.and_then(|text| text.parse().ok())
    };
    ARMED.get_or_init(by_itself).as_ref()
}

fn due(point: Point) -> Option<&'static Fault> {
    armed().filter(|fault| fault.point == point && fault.step == point.counter().load(Ordering::SeqCst))
}

/// Here it strikes, if it is to.
pub fn at(point: Point) {
    if matches!(point, Point::BeforeIntent | Point::BeforeUndo) {
        point.counter().fetch_add(1, Ordering::SeqCst);
    }
    if let Some(fault) = due(point) {
        strike(&fault.what);
    }
}

fn strike(what: &What) {
    let wrong = match what {
        What::Shell(command) => shell(command).err(),
        _ => None,
    };
    if let Some(mark) = std::env::var_os(STRUCK) {
        std::fs::write(mark, wrong.unwrap_or_default()).ok();
    }
    match what {
        // SAFETY: it ends this process and nothing else.
        What::Kill => drop(unsafe { libc::kill(libc::getpid(), libc::SIGKILL) }),
        What::Cut => trouble::cut(),
        What::Refused => trouble::refuse(),
        What::Slow => trouble::slow(),
        What::DiskFull => DISK_FULL.store(true, Ordering::SeqCst),
        What::Denied => DENIED.store(true, Ordering::SeqCst),
        What::Unhealthy => UNHEALTHY.store(true, Ordering::SeqCst),
        What::Shell(_) => {}
    }
}

/// Nothing of what it says gets among what the program says.
fn shell(command: &str) -> Result<(), String> {
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", command]).env_remove(FAULT).stdin(std::process::Stdio::null());
    succeeded(command, sh.output())
}

/// Whether a shell command did what it should; else how it ended, with all that it said.
///
/// # Errors
/// It couldn't be run, or failed.
pub fn succeeded(command: &str, ran: std::io::Result<std::process::Output>) -> Result<(), String> {
    let ran = ran.map_err(|e| format!("`{command}`: {e}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => {
            let said = [ran.stdout, ran.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            Err(format!("`{command}` ended with {}: {}", ran.status, said.trim()))
        }
    }
}

/// How long something has begun for that nobody can watch.
pub const MOMENT: Duration = Duration::from_millis(20);

/// Does it, with a fault in the middle of it: as soon as it has `begun`.
pub async fn during<T>(point: Point, begun: impl Future<Output = ()>, doing: impl Future<Output = T>) -> T {
    if due(point).is_none() {
        return doing.await;
    }
    tokio::pin!(doing, begun);
    let done = tokio::select! {
        done = &mut doing => Some(done),
        () = &mut begun => None,
    };
    at(point);
    match done {
        Some(done) => done,
        None => doing.await,
    }
}

/// What is answered instead of applying an effect.
pub fn instead(effect: &Effect) -> Option<Result<Output, RemoteError>> {
    let needs_room = !matches!(effect, Effect::Remove { .. } | Effect::Unmake { .. } | Effect::Rename { .. });
    let why = match () {
        () if DISK_FULL.load(Ordering::SeqCst) && needs_room => "No space left on device",
        () if DENIED.load(Ordering::SeqCst) => "Permission denied",
        () => return None,
    };
    let message = format!("{why} (this is rehearsed)");
    Some(match effect {
        Effect::Run(_) | Effect::Http(_) => {
            Ok(Output { status: 1, stderr: message.into_bytes(), ..Output::default() })
        }
        _ => Err(RemoteError { kind: RemoteErrorKind::Refused, message, help: None }),
    })
}

/// What a check of health finds instead of looking.
pub fn unhealthy() -> Option<&'static str> {
    UNHEALTHY.load(Ordering::SeqCst).then_some("the service does not become healthy (this is rehearsed)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_build_is_armed_by_a_rehearsal_on_hosts_that_may_break() {
        let unmarked = ["prod1".to_string()];
        assert!(may_arm(&[], true, false).is_ok());
        assert!(may_arm(&[], false, false).unwrap_err().contains("only `seqn-play rehearse`"));
        assert!(may_arm(&unmarked, true, false).unwrap_err().contains("prod1 may not break"));
        assert!(may_arm(&unmarked, false, true).is_ok());
    }

    #[test]
    fn words_points_and_commands() {
        let parsed = |text: &str| text.parse::<Fault>().map(|fault| fault.what);
        assert_eq!(parsed("3:during:disk-full"), Ok(What::DiskFull));
        assert_eq!(parsed("3:during:a:b"), Ok(What::Shell("a:b".into())));
        for wrong in ["", "x:during:kill", "1:nowhere:kill", "1:during", "1:during:"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
