//! Places where a test can stop the program or do something to a host. In a release build there
//! are none.
//!
//! `SEQN_PLAY_FAULT=N:PLACE:COMMAND` runs a shell command at that place of the Nth Step that is
//! written down (the first is 1); `kill` instead of a command ends the program there, as SIGKILL does.

/// Where around a Step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    BeforeIntent,
    AfterIntent,
    /// While it runs on the host.
    During,
    AfterEffect,
    AfterRecord,
}

impl Place {
    #[cfg(debug_assertions)]
    fn name(self) -> &'static str {
        match self {
            Place::BeforeIntent => "before-intent",
            Place::AfterIntent => "after-intent",
            Place::During => "during",
            Place::AfterEffect => "after-effect",
            Place::AfterRecord => "after-record",
        }
    }
}

#[cfg(not(debug_assertions))]
pub fn at(_: Place) {}

/// Whether the program is to die while the effect of this Step runs.
#[cfg(not(debug_assertions))]
pub fn is_during() -> bool {
    false
}

#[cfg(debug_assertions)]
pub fn at(place: Place) {
    if place == Place::BeforeIntent {
        STEP.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    let Some((_, what)) = wanted(place) else { return };
    if what == "kill" {
        // SAFETY: it ends this process and nothing else.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    std::process::Command::new("sh").args(["-c", &what]).status().ok();
}

/// Whether the program is to die while the effect of this Step runs.
#[cfg(debug_assertions)]
pub fn is_during() -> bool {
    wanted(Place::During).is_some()
}

#[cfg(debug_assertions)]
static STEP: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[cfg(debug_assertions)]
fn wanted(place: Place) -> Option<(usize, String)> {
    let fault = std::env::var("SEQN_PLAY_FAULT").ok()?;
    let (step, rest) = fault.split_once(':')?;
    let (name, what) = rest.split_once(':')?;
    let step: usize = step.parse().ok()?;
    let here = name == place.name() && step == STEP.load(std::sync::atomic::Ordering::SeqCst);
    here.then(|| (step, what.to_string()))
}
