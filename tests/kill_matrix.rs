//! The database rotation, killed at every place of every Step: `resume` ends in a verified login with
//! the new password, `rollback` in one with the old, and the other password is refused. So it is where
//! `resume` and `rollback` are killed themselves, and typed again.
//!
//! The cases come from the journals of whole runs, so a new Step is covered as soon as it is there.

#[path = "support/leak/mod.rs"]
mod leak;
#[path = "support/matrix/mod.rs"]
mod matrix;
mod support;

use std::fmt;

use matrix::operator::Operator;

const PLACES: [&str; 5] = ["before-intent", "after-intent", "during", "after-effect", "after-record"];
const UNDO_PLACES: [&str; 3] = ["before-undo", "during-undo", "after-undo"];

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Run,
    /// After the run was killed before its first Step.
    Resume,
    /// Of a run that came to its end.
    Rollback,
    /// A run that fails, while its transaction goes back.
    GoingBack,
}

#[derive(Debug, Clone)]
struct Case {
    killed: Killed,
    step: usize,
    place: &'static str,
    forward: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} killed at {}:{}, then {}", self.killed, self.step, self.place, self.then())
    }
}

impl Case {
    fn then(&self) -> &'static str {
        if self.forward { "resume" } else { "rollback" }
    }

    fn fault(&self) -> String {
        format!("{}:{}:kill", self.step, self.place)
    }

    fn run(&self, operator: &Operator) -> Result<String, String> {
        let old = operator.sandbox.present_password();
        let ran = match self.killed {
            Killed::Run => operator.rotate(Some(&self.fault()))?,
            Killed::Resume => {
                operator.rotate(Some("1:before-intent:kill"))?;
                operator.play(&["resume", "last"], Some(&self.fault()))?
            }
            Killed::Rollback => {
                operator.rotate(None)?;
                operator.play(&["rollback", "last"], Some(&self.fault()))?
            }
            Killed::GoingBack => operator.rotate_and_fail(Some(&self.fault()))?,
        };
        if ran.code.is_some() {
            return Err(format!("it was not killed:\n{}", ran.said));
        }
        if self.killed == Killed::GoingBack {
            operator.mend();
        }
        let ended = operator.well(&[self.then(), "last"])?;
        operator.works(self.forward, &old).map_err(|why| format!("{why}\n{}", ended.said))?;
        if self.killed == Killed::GoingBack {
            operator.restore_tasks();
        }
        Ok("ok".into())
    }
}

#[test]
fn whatever_dies_one_command_leads_to_a_working_login() {
    let Some(staging) = leak::sandbox::staging() else { return };
    let raise = || Operator::new(&staging);
    let (steps, undone) = {
        let first = raise();
        let whole = first.rotate(None).expect("no hang");
        assert_eq!(whole.code, Some(0), "{}", whole.said);
        let steps = first.steps();
        first.well(&["rollback", "last"]).expect("a rollback");
        (steps, first.undone())
    };
    assert!(steps.len() > 10 && undone > 3, "only {steps:?}, {undone} of them undone");
    let mut cases = Vec::new();
    let mut add = |killed, count, places: &[&'static str], ways: &[bool], of| {
        let mut its = Vec::new();
        for step in 1..=count {
            for place in places {
                its.extend(ways.iter().map(|forward| Case { killed, step, place, forward: *forward }));
            }
        }
        cases.extend(matrix::sample(its, of));
    };
    add(Killed::Run, steps.len(), &PLACES, &[true, false], 5);
    add(Killed::Resume, steps.len(), &PLACES, &[true, false], 6);
    add(Killed::Rollback, undone, &UNDO_PLACES, &[false], 3);
    add(Killed::GoingBack, undone, &UNDO_PLACES, &[true, false], 4);
    let results = matrix::run(raise, cases, |operator, case: &Case| case.run(operator));
    for killed in [Killed::Run, Killed::Resume, Killed::Rollback, Killed::GoingBack] {
        println!("{}\n", table(killed, &steps, undone, &results));
    }
    matrix::assert_all_well(&results);
}

/// How it went forward and back.
fn table(killed: Killed, steps: &[String], undone: usize, results: &[matrix::Result<Case>]) -> String {
    let cell = |step: usize, place: &str| {
        let word = |forward: bool| {
            let is_it = |case: &Case| {
                (case.killed, case.step, case.place, case.forward) == (killed, step, place, forward)
            };
            match results.iter().find(|(case, _)| is_it(case)) {
                Some((_, Ok(word))) => word,
                Some(_) => "FAILED",
                None => "-",
            }
        };
        format!("{}/{}", word(true), word(false))
    };
    let title = format!("{killed:?} killed at (resume/rollback)");
    match killed {
        Killed::Run | Killed::Resume => matrix::table(&title, steps, &PLACES, cell),
        Killed::Rollback | Killed::GoingBack => {
            let numbered: Vec<String> = (1..=undone).map(|n| format!("undo {n}")).collect();
            matrix::table(&title, &numbered, &UNDO_PLACES, cell)
        }
    }
}
