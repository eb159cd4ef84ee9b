//! How far a rehearsal is: a row for each stage and each case, and what is going on below them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::report::rehearsal::{Stage, Verdict};
use crate::report::{Paint, Screen};

use super::StageName;

/// Under which the screen knows what is going on.
const LINE: &str = "rehearsal";

pub struct Progress {
    screen: Arc<Screen>,
    stages: usize,
    begun: Mutex<usize>,
}

impl Progress {
    pub fn new(screen: Arc<Screen>, stages: usize) -> Progress {
        Progress { screen, stages, begun: Mutex::new(0) }
    }

    pub fn begin(&self, stage: StageName, left: Option<Duration>) {
        let mut begun = self.begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *begun += 1;
        self.screen.running(LINE, &going_on(stage, *begun, self.stages, left));
    }

    pub fn end(&self, stage: &Stage) {
        self.screen.finished(LINE);
        let paint = paint(stage.verdict);
        let row =
            format!("{:<11} {:<8} {:>7.1} s  {}", stage.name, stage.verdict, stage.seconds, stage.summary);
        self.screen.line(paint, &row);
        for line in stage.findings.iter().flat_map(|finding| finding.lines()) {
            self.screen.line(paint, &format!("    {line}"));
        }
    }

    /// One case of several is done.
    pub fn case(&self, cases: &Cases, text: &str, verdict: Verdict) {
        let (done, left) = cases.one_more();
        let row = format!("  {done}/{}  {verdict}  {text}, {} left", cases.all, about(left));
        self.screen.line(paint(verdict), &row);
        self.screen.running(LINE, &format!("faults ({done} of {}, {} left)", cases.all, about(left)));
    }
}

/// `again (5 of 9, about 12 min left)`
fn going_on(stage: StageName, begun: usize, of: usize, left: Option<Duration>) -> String {
    let left = left.filter(|left| !left.is_zero()).map(|left| format!(", {} left", about(left)));
    format!("{} ({begun} of {of}{})", stage.name(), left.unwrap_or_default())
}

fn paint(verdict: Verdict) -> Paint {
    match verdict {
        Verdict::Passed => Paint::Ok,
        Verdict::Failed => Paint::Failed,
        Verdict::Skipped => Paint::Skipped,
    }
}

/// How many cases there are, and how long they took so far.
pub struct Cases {
    pub all: usize,
    done: Mutex<usize>,
    began: Instant,
    /// What is over then isn't begun any more.
    until: Option<Instant>,
}

impl Cases {
    pub fn new(all: usize, until: Option<Instant>) -> Cases {
        Cases { all, done: Mutex::new(0), began: Instant::now(), until }
    }

    fn one_more(&self) -> (usize, Duration) {
        let mut done = self.done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *done += 1;
        let left = self.began.elapsed() / u32::try_from(*done).unwrap_or(u32::MAX)
            * u32::try_from(self.all.saturating_sub(*done)).unwrap_or(u32::MAX);
        let most = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        (*done, most.map_or(left, |most| left.min(most)))
    }

    /// Whether there is time for another one. There is for the first: where none was tried nothing is
    /// proven.
    pub fn has_time(&self) -> bool {
        let Some(until) = self.until else { return true };
        let done = *self.done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let each = self.began.elapsed() / u32::try_from(done.max(1)).unwrap_or(u32::MAX);
        done == 0 || Instant::now() + each < until
    }
}

fn about(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..=99 => format!("about {} s", seconds.max(1)),
        seconds => format!("about {} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_time_for_one_case() {
        let cases = Cases::new(3, Some(Instant::now()));
        assert!(cases.has_time());
        cases.one_more();
        assert!(!cases.has_time());
    }

    #[test]
    fn time_left_in_words() {
        assert_eq!(about(Duration::from_millis(3)), "about 1 s");
        assert_eq!(about(Duration::from_secs(99)), "about 99 s");
        assert_eq!(about(Duration::from_secs(3590)), "about 60 min");
        let left = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(going_on(StageName::Again, 5, 9, left(3300)), "again (5 of 9, about 55 min left)");
        assert_eq!(going_on(StageName::Leaks, 9, 9, left(0)), "leaks (9 of 9)");
        assert_eq!(going_on(StageName::Check, 2, 9, None), "check (2 of 9)");
    }
}
