//! Places where a test can stop the program or do something to a host. In a release build there
//! are none.
//!
//! `SEQN_PLAY_FAULT=N:PLACE:COMMAND` runs a shell command at that place of the Nth Step that is
//! written down, or of the Nth effect that takes something back (the first is 1); `kill` instead of
//! a command ends the program there, as SIGKILL does.

/// Where around a Step, or around an effect that takes one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
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

#[cfg(not(debug_assertions))]
pub fn at(_: Place) {}

/// Does it, with a fault in the middle of it.
#[cfg(not(debug_assertions))]
pub async fn during<T>(_: Place, doing: impl Future<Output = T>) -> T {
    doing.await
}

#[cfg(debug_assertions)]
pub use wanted::{at, during};

#[cfg(debug_assertions)]
mod wanted {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::Place;

    static STEPS: AtomicUsize = AtomicUsize::new(0);
    static UNDONE: AtomicUsize = AtomicUsize::new(0);

    impl Place {
        fn name(self) -> &'static str {
            match self {
                Place::BeforeIntent => "before-intent",
                Place::AfterIntent => "after-intent",
                Place::During => "during",
                Place::AfterEffect => "after-effect",
                Place::AfterRecord => "after-record",
                Place::BeforeUndo => "before-undo",
                Place::DuringUndo => "during-undo",
                Place::AfterUndo => "after-undo",
            }
        }

        fn counter(self) -> &'static AtomicUsize {
            match self {
                Place::BeforeUndo | Place::DuringUndo | Place::AfterUndo => &UNDONE,
                _ => &STEPS,
            }
        }
    }

    pub fn at(place: Place) {
        if matches!(place, Place::BeforeIntent | Place::BeforeUndo) {
            place.counter().fetch_add(1, Ordering::SeqCst);
        }
        let Some(what) = wanted(place) else { return };
        if what == "kill" {
            // SAFETY: it ends this process and nothing else.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        std::process::Command::new("sh").args(["-c", &what]).status().ok();
    }

    /// Does it, with a fault in the middle of it.
    pub async fn during<T>(place: Place, doing: impl Future<Output = T>) -> T {
        if wanted(place).is_none() {
            return doing.await;
        }
        let soon = tokio::time::sleep(Duration::from_millis(1));
        tokio::pin!(doing, soon);
        let done = tokio::select! {
            done = &mut doing => Some(done),
            () = &mut soon => None,
        };
        at(place);
        match done {
            Some(done) => done,
            None => doing.await,
        }
    }

    fn wanted(place: Place) -> Option<String> {
        let fault = std::env::var("SEQN_PLAY_FAULT").ok()?;
        let (step, rest) = fault.split_once(':')?;
        let (name, what) = rest.split_once(':')?;
        let step: usize = step.parse().ok()?;
        let here = name == place.name() && step == place.counter().load(Ordering::SeqCst);
        here.then(|| what.to_string())
    }
}
