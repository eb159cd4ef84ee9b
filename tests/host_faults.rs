//! The database rotation, with its host failing at each of its Steps: the connection is cut, the SSH
//! server dies, Postgres is stopped, the disk is full, no file can be changed. The run survives that,
//! or says what is the matter; once the host is well again, `resume` ends in a verified login with the
//! new password, `rollback` in one with the old, and the other password is refused.
//!
//! The cases come from the journal of a whole run, so a new Step is covered as soon as it is there.

#[path = "support/leak/mod.rs"]
mod leak;
#[path = "support/matrix/mod.rs"]
mod matrix;
mod support;

use std::fmt;

use matrix::fault::Fault;
use matrix::operator::{Operator, Ran};

const PLACES: [&str; 2] = ["after-intent", "during"];

#[derive(Debug, Clone)]
struct Case {
    fault: Fault,
    step: usize,
    place: &'static str,
    forward: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = if self.forward { "resume" } else { "rollback" };
        write!(f, "{} at {}:{}, then {then}", self.fault.name(), self.step, self.place)
    }
}

impl Case {
    /// How the run ended by itself: `fine`, `undone`, or `stuck`.
    fn run(&self, operator: &Operator) -> Result<String, String> {
        let old = operator.sandbox.present_password();
        let struck = operator.sandbox.operator().join("struck");
        std::fs::remove_file(&struck).ok();
        let fault = self.fault.command(operator);
        let fault = format!("{}:{}:{fault} && : >{}", self.step, self.place, struck.display());
        let ran = operator.rotate(Some(&fault))?;
        self.fault.mend(operator);
        if !struck.exists() {
            return Err(format!("nothing happened to the host:\n{}", ran.said));
        }
        let ended = self.ended(operator, &ran, &old).map_err(|why| format!("{why}\n{}", ran.said))?;
        let then = if self.forward { "resume" } else { "rollback" };
        let mut said = ran.said;
        if !(self.forward && ended == "fine") {
            said = operator.well(&[then, "last"]).map_err(|why| format!("{said}\n{why}"))?.said;
        }
        operator.works(self.forward, &old).map_err(|why| format!("{why}\n{said}"))?;
        Ok(ended.into())
    }

    /// What the run says of its end is so.
    fn ended(&self, operator: &Operator, ran: &Ran, old: &str) -> Result<&'static str, String> {
        let says = |text: &str| ran.said.contains(text);
        if says("panicked") {
            return Err("it panicked".into());
        }
        match ran.code {
            Some(0) => {
                operator.works(true, old).map_err(|why| format!("it says that it succeeded, but {why}"))?;
                Ok("fine")
            }
            Some(2 | 4)
                if says("Everything was undone")
                    || says("Everything that the transaction did was undone") =>
            {
                operator
                    .works(false, old)
                    .map_err(|why| format!("it says that all was undone, but {why}"))?;
                Ok("undone")
            }
            Some(2 | 4) => Ok("stuck"),
            code => Err(format!("it ended with {code:?}")),
        }
    }
}

#[test]
fn whatever_happens_to_the_host_one_command_leads_to_a_working_login() {
    let Some(staging) = leak::sandbox::staging() else { return };
    let raise = || Operator::new(&staging);
    let mut faults = Fault::ALL.to_vec();
    let steps = {
        let first = raise();
        faults.retain(|fault| match fault.is_missing(&first) {
            None => true,
            Some(why) => {
                assert!(std::env::var_os("SEQN_REQUIRE_ALL").is_none(), "{}: {why}", fault.name());
                println!("skipped: {}: {why}", fault.name());
                false
            }
        });
        if let Ok(only) = std::env::var("SEQN_MATRIX_ONLY") {
            faults.retain(|fault| fault.name() == only);
        }
        let whole = first.rotate(None).expect("no hang");
        assert_eq!(whole.code, Some(0), "{}", whole.said);
        first.steps()
    };
    assert!(steps.len() > 10, "only {steps:?}");
    let mut cases = Vec::new();
    for fault in &faults {
        for step in 1..=steps.len() {
            for place in PLACES {
                cases.extend([true, false].map(|forward| Case { fault: *fault, step, place, forward }));
            }
        }
    }
    let results = matrix::run(raise, matrix::sample(cases, 10), |operator, case: &Case| case.run(operator));
    println!("{}", table(&faults, &steps, &results));
    matrix::assert_all_well(&results);
}

/// How the run ended by itself, before `resume`/`rollback`; all of these led to a working login.
fn table(faults: &[Fault], steps: &[String], results: &[matrix::Result<Case>]) -> String {
    let each = PLACES.iter().map(|place| {
        let columns: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        let cell = |step: usize, fault: &str| {
            let word = |forward: bool| {
                let is_it = |case: &Case| {
                    (case.fault.name(), case.step, case.place, case.forward) == (fault, step, *place, forward)
                };
                match results.iter().find(|(case, _)| is_it(case)) {
                    Some((_, Ok(word))) => word,
                    Some(_) => "FAILED",
                    None => "-",
                }
            };
            format!("{}/{}", word(true), word(false))
        };
        matrix::table(&format!("{place} (resume/rollback)"), steps, &columns, cell)
    });
    each.collect::<Vec<_>>().join("\n\n")
}
