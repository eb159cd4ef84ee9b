//! `rehearsal.xml`: JUnit, a suite for the stages and one for the fault cases.

use super::{Rehearsal, Verdict};
use crate::report::junit::{Suite, TestCase, Told, document};

pub fn write(rehearsal: &Rehearsal) -> String {
    // What nobody tried fails a rehearsal, and who reads this must see that.
    let failed = rehearsal.stages.iter().any(|stage| stage.verdict == Verdict::Failed);
    let told = |verdict, text: &str| match verdict {
        Verdict::Passed => Told::Well,
        Verdict::Skipped if failed => Told::Skipped { message: text.to_string() },
        Verdict::Failed | Verdict::Skipped => {
            Told::Failure { message: first_line(text), text: text.to_string() }
        }
    };
    let stages = rehearsal.stages.iter().map(|stage| {
        let text = match stage.findings.is_empty() {
            true => stage.summary.clone(),
            false => stage.findings.join("\n"),
        };
        TestCase {
            name: stage.name.clone(),
            class: rehearsal.playbook.clone(),
            seconds: stage.seconds,
            told: told(stage.verdict, &text),
            output: stage.summary.clone(),
        }
    });
    let cases = rehearsal.cases.iter().map(|case| TestCase {
        name: case.to_string(),
        class: format!("{}.{}", rehearsal.playbook, case.fault),
        seconds: case.seconds,
        told: told(case.verdict, &case.word),
        output: String::new(),
    });
    let suite = |name: &str, cases: Vec<TestCase>| Suite {
        name: name.to_string(),
        timestamp: rehearsal.begun.clone(),
        cases,
    };
    let mut suites = vec![suite("stages", stages.collect())];
    if !rehearsal.cases.is_empty() {
        suites.push(suite("faults", cases.collect()));
    }
    document(&format!("rehearsal of {}", rehearsal.playbook), &suites)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}
