//! What a rehearsal came to, and the files that tell of it. A file is one module and one line in
//! [`FORMS`].

mod html;
mod json;
mod junit;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::facts::Scope;
use crate::secret::Redactor;

pub use table::{fault_table, short};

/// Raised when a result says something that another program would miss, or misses what it looks for.
pub const FORMAT: u32 = 2;

/// The file of the result that programs read.
pub const RESULT: &str = "rehearsal.json";

/// The word of a case whose run went well in spite of its fault.
pub const FINE: &str = "fine";

/// A file of the result.
pub struct Form {
    pub file: &'static str,
    /// Gets what has passed the Redactor.
    pub write: fn(&Rehearsal) -> String,
}

pub const FORMS: [Form; 4] = [
    Form { file: RESULT, write: json::write },
    Form { file: "rehearsal.xml", write: junit::write },
    Form { file: "rehearsal.html", write: html::write },
    Form { file: "rehearsal.txt", write: table::write },
];

/// Everything that is told of a rehearsal. Times of day are as in journals, others are seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rehearsal {
    pub format: u32,
    pub id: String,
    /// The program's.
    pub version: String,
    pub playbook: String,
    /// SHA-256 over the playbook, its roles and its includes.
    pub content: String,
    pub inventory: Vec<String>,
    pub hosts: Vec<String>,
    /// What it was narrowed by.
    #[serde(default)]
    pub scope: Scope,
    pub by: String,
    pub reason: Option<String>,
    pub begun: String,
    pub seconds: f64,
    /// All stages were wanted.
    pub whole: bool,
    pub quick: bool,
    /// `2/3`
    pub shard: Option<String>,
    /// The only faults that were wanted; empty for all.
    pub only_faults: Vec<String>,
    pub passed: bool,
    pub stages: Vec<Stage>,
    pub prediction: Prediction,
    /// Of the finishing run.
    #[serde(default)]
    pub finish_prediction: Option<Prediction>,
    pub phases: Vec<Phase>,
    pub cases: Vec<Case>,
    /// How many fault cases there are, in all shards.
    pub cases_in_all: usize,
    /// What it left on a place, each with what to do about it.
    pub left: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub verdict: Verdict,
    pub seconds: f64,
    /// One line.
    pub summary: String,
    /// What is wrong, each with what to look at.
    pub findings: Vec<String>,
}

/// Check mode against what happened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Prediction {
    pub right: usize,
    pub wrong: Vec<Foreseen>,
    pub unknown: Vec<Foreseen>,
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} right, {} wrong, {} unknown", self.right, self.wrong.len(), self.unknown.len())
    }
}

/// A task on a host, as it was predicted and as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    pub task: String,
    pub host: String,
    pub item: Option<String>,
    /// FILE:LINE:COLUMN
    pub at: String,
    pub predicted: String,
    pub happened: String,
    /// Of what is unknown.
    pub cause: Option<String>,
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = self.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
        write!(f, "[{}] {}{item} at {}: ", self.host, self.task, self.at)?;
        write!(f, "predicted {}, it was {}", self.predicted, self.happened)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// A run or a rollback that was watched; its times count from its beginning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub begun: String,
    pub seconds: f64,
    pub tasks: Vec<Ran>,
    pub steps: Vec<Mark>,
    pub endpoints: Vec<Watched>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ran {
    pub task: String,
    pub host: String,
    /// ok, changed, skipped, failed, unreachable
    pub status: String,
    pub from: f64,
    pub to: f64,
}

/// When a Step was begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mark {
    pub at: f64,
    pub host: String,
    pub label: String,
}

/// An endpoint as a prober saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watched {
    pub name: String,
    pub url: String,
    pub probes: usize,
    pub outages: Vec<Outage>,
    /// More is too much.
    pub max_outage: Option<f64>,
}

impl Watched {
    /// All its outages together, in seconds.
    pub fn away(&self) -> f64 {
        self.outages.iter().fold(0.0, |sum, o| sum + o.to - o.from)
    }
}

/// From the last probe that was well to the next one that was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outage {
    pub from: f64,
    pub to: f64,
    /// What the first probe saw.
    pub why: String,
    /// It was still away at the end.
    pub open: bool,
}

/// One fault at one boundary, and what led out of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub fault: String,
    /// From 1.
    pub step: usize,
    pub label: String,
    /// Where around the Step.
    pub place: String,
    /// `resume` or `rollback`
    pub then: String,
    pub verdict: Verdict,
    /// How the run ended by itself, or what is wrong.
    pub word: String,
    pub seconds: f64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} `{}`, then {}", self.fault, self.place, self.step, self.label, self.then)
    }
}

impl Rehearsal {
    /// Without secrets: all of them are known by now.
    ///
    /// # Errors
    /// Never: it is made of texts and numbers.
    pub fn redacted(&self, redactor: &Redactor) -> Result<Rehearsal, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        super::facts::redact(&mut value, redactor);
        serde_json::from_value(value)
    }

    /// What check mode said before each run, and what that is called.
    pub fn predictions(&self) -> impl Iterator<Item = (&'static str, &Prediction)> {
        std::iter::once(("run", &self.prediction)).chain(self.finish_prediction.iter().map(|p| ("finish", p)))
    }

    pub fn verdict(&self) -> Verdict {
        if self.passed { Verdict::Passed } else { Verdict::Failed }
    }

    /// What kind of rehearsal it was, for people.
    pub fn extent(&self) -> String {
        let mut words = vec![match (self.whole, self.quick) {
            (false, _) => "some stages only".to_string(),
            (true, true) => "quick".into(),
            (true, false) => "whole".into(),
        }];
        if !self.only_faults.is_empty() {
            words.push(format!("only the faults {}", self.only_faults.join(" ")));
        }
        words.extend(self.shard.iter().map(|shard| format!("shard {shard}")));
        let Scope { limit, tags, skip_tags } = &self.scope;
        let limit: Vec<&str> = limit.iter().map(String::as_str).collect();
        let tags = [("tags", tags.join(",")), ("skip-tags", skip_tags.join(",")), ("limit", limit.join(","))];
        words.extend(
            tags.iter()
                .filter(|(_, given)| !given.is_empty())
                .map(|(flag, given)| format!("--{flag} {given}")),
        );
        words.join(", ")
    }
}
