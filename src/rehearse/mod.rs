//! A playbook, proven on a place that may break: lint, check mode, the run, what was predicted
//! against what happened, a second run, rollback, what a user of the service saw, the faults, and a
//! search for secrets in all that it left. Docs: docs/rehearse.md.

mod back;
mod case;
pub mod content;
pub mod fault;
mod leaks;
mod managed;
pub mod outage;
mod phase;
mod prediction;
pub mod program;
mod progress;
pub mod required;
mod runs;
mod stages;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::engine::locks::forget_project;
use crate::remote::{Connection, Connections};
use crate::report::Screen;
use crate::report::rehearsal::{FORMS, Rehearsal, Stage, Verdict};
use crate::run::history::State;
use crate::run::store::Stored;
use crate::secret::{Error, Identities, Redactor};

use fault::Fault;
use program::{Place, Program};
use progress::Progress;
use stages::{Memory, Outcome};

/// Where rehearsals are kept, in the folder of a project that is the program's own.
pub const FOLDER: &str = "rehearsals";

/// What a rehearsal does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageName {
    Lint,
    Check,
    Run,
    Prediction,
    /// Only where it is told how.
    Finish,
    Again,
    Rollback,
    Outage,
    Faults,
    Leaks,
}

impl StageName {
    pub const ALL: [StageName; 10] = [
        StageName::Lint,
        StageName::Check,
        StageName::Run,
        StageName::Prediction,
        StageName::Finish,
        StageName::Again,
        StageName::Rollback,
        StageName::Outage,
        StageName::Faults,
        StageName::Leaks,
    ];

    pub fn name(self) -> &'static str {
        match self {
            StageName::Lint => "lint",
            StageName::Check => "check",
            StageName::Run => "run",
            StageName::Prediction => "prediction",
            StageName::Finish => "finish",
            StageName::Again => "again",
            StageName::Rollback => "rollback",
            StageName::Outage => "outage",
            StageName::Faults => "faults",
            StageName::Leaks => "leaks",
        }
    }

    /// What must come before it.
    fn needs(self) -> &'static [StageName] {
        match self {
            StageName::Lint | StageName::Check => &[],
            StageName::Run => &[StageName::Rollback],
            StageName::Prediction => &[StageName::Check, StageName::Run],
            StageName::Finish | StageName::Outage | StageName::Leaks => &[StageName::Run],
            // A playbook may refuse to begin anew before it is finished.
            StageName::Again => &[StageName::Run, StageName::Finish],
            StageName::Rollback => &[StageName::Check, StageName::Run],
            StageName::Faults => &[StageName::Check, StageName::Run, StageName::Again],
        }
    }
}

impl std::str::FromStr for StageName {
    type Err = String;

    fn from_str(name: &str) -> Result<StageName, String> {
        StageName::ALL.into_iter().find(|stage| stage.name() == name).ok_or_else(|| {
            let all: Vec<&str> = StageName::ALL.iter().map(|stage| stage.name()).collect();
            format!("there is no stage {name:?}; there are {}", all.join(", "))
        })
    }
}

/// These stages (all if none is named), with all that they need, in order.
pub fn with_needed(wanted: &[StageName], finishes: bool) -> Vec<StageName> {
    let mut all = if wanted.is_empty() { StageName::ALL.to_vec() } else { wanted.to_vec() };
    let mut at = 0;
    while at < all.len() {
        for needed in all[at].needs() {
            if !all.contains(needed) {
                all.push(*needed);
            }
        }
        at += 1;
    }
    all.sort();
    all.dedup();
    all.retain(|stage| *stage != StageName::Finish || finishes);
    all
}

/// Everything that a rehearsal is told.
pub struct Wanted {
    /// With what is known before it begins.
    pub rehearsal: Rehearsal,
    /// What it leaves is here.
    pub folder: PathBuf,
    pub cwd: PathBuf,
    pub program: Program,
    /// The first one sees all stages; the others share the faults.
    pub places: Vec<Place>,
    pub stages: Vec<StageName>,
    /// The flags with which the playbook is run a second time to finish what the first run began; none:
    /// nothing is to be finished.
    pub finish: Vec<String>,
    /// What lint looks at: the playbook, its roles and what it includes.
    pub lint: Vec<PathBuf>,
    pub faults: Vec<Fault>,
    pub shard: Option<(usize, usize)>,
    pub quick: bool,
    /// What the playbook is made of.
    pub content: BTreeSet<PathBuf>,
    /// A shell command that brings a place back to its first state.
    pub restore: Option<String>,
    pub identities: Identities,
}

/// A rehearsal that is going on.
struct Rehearsing {
    wanted: Wanted,
    redactor: Arc<Redactor>,
    progress: Progress,
    began: Instant,
    /// Hosts on which runs may have left something, and how they are reached.
    hosts: Mutex<Vec<(String, Connection)>>,
    /// Runs that a place's own command took back.
    restored: Mutex<HashSet<String>>,
    /// Places that were looked at after they were restored, by their projects.
    looked: Mutex<HashSet<String>>,
}

/// Does all of it, and leaves its files in the folder.
///
/// # Errors
/// The files can't be written.
pub async fn rehearse(
    wanted: Wanted,
    redactor: Arc<Redactor>,
    screen: Arc<Screen>,
) -> Result<Rehearsal, Error> {
    let mut told = wanted.rehearsal.clone();
    let progress = Progress::new(screen, wanted.stages.len());
    let began = Instant::now();
    let hosts = Mutex::new(wanted.places.iter().flat_map(|place| place.reach.clone()).collect());
    let (restored, looked) = Default::default();
    let rehearsing = Rehearsing { wanted, redactor, progress, began, hosts, restored, looked };
    let mut memory = Memory::default();
    for stage in rehearsing.wanted.stages.clone() {
        let began = Instant::now();
        rehearsing.progress.begin(stage, rehearsing.expected(stage, &memory));
        let outcome = rehearsing.stage(stage, &mut memory, &mut told).await;
        let (verdict, summary, findings) = match outcome {
            Outcome::Seen { summary, findings } if findings.is_empty() => {
                (Verdict::Passed, summary, findings)
            }
            Outcome::Seen { summary, findings } => (Verdict::Failed, summary, findings),
            Outcome::Skipped(why) => (Verdict::Skipped, why, Vec::new()),
        };
        let (name, seconds) = (stage.name().to_string(), began.elapsed().as_secs_f64());
        let row = Stage { name, verdict, seconds, summary, findings };
        rehearsing.progress.end(&row);
        memory.verdicts.push((stage, verdict));
        told.stages.push(row);
    }
    for row in [rehearsing.edited(&told.content), rehearsing.stopped()].into_iter().flatten() {
        rehearsing.progress.end(&row);
        told.stages.push(row);
    }
    for place in &rehearsing.wanted.places {
        place.endpoints.close().await;
    }
    told.left = rehearsing.standing();
    told.left.extend(rehearsing.forget().await);
    told.seconds = rehearsing.began.elapsed().as_secs_f64();
    // A stage that was skipped proves nothing.
    told.passed = told.stages.iter().all(|stage| stage.verdict == Verdict::Passed);
    let told = told
        .redacted(&rehearsing.redactor)
        .map_err(|e| Error::refused(format!("the result can't be written: {e}")))?;
    for form in &FORMS {
        let path = rehearsing.wanted.folder.join(form.file);
        std::fs::write(&path, (form.write)(&told)).map_err(|e| Error::io("write", &path, &e))?;
    }
    Ok(told)
}

fn failed(name: &str, summary: &str, finding: String) -> Stage {
    let (name, summary, findings) = (name.into(), summary.into(), vec![finding]);
    Stage { name, verdict: Verdict::Failed, seconds: 0.0, summary, findings }
}

impl Rehearsing {
    /// A row of the result, where the playbook isn't any more what it was at the beginning: what the
    /// result speaks of is not what its later stages ran.
    fn edited(&self, content: &str) -> Option<Stage> {
        let now = content::hash(&self.wanted.cwd, &self.wanted.content);
        if now.as_ref().is_ok_and(|now| now == content) {
            return None;
        }
        let why = now.err().map_or("rehearse it once more".into(), |why| why.message);
        Some(failed("content", "the playbook or one of its roles was changed during the rehearsal", why))
    }

    /// The same, where somebody stopped it: a part that went well is not the whole.
    fn stopped(&self) -> Option<Stage> {
        let why = "what comes after that was not tried";
        self.is_interrupted().then(|| failed("interrupted", "somebody stopped the rehearsal", why.into()))
    }

    /// What still stands on places, each with how it is taken back.
    fn standing(&self) -> Vec<String> {
        let restored = self.restored.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let of = |place: &Place| {
            let stands = |run: &Stored| {
                let over = matches!(run.state(), State::RolledBack | State::Abandoned);
                !over && !run.history.steps.is_empty() && !restored.contains(&run.id)
            };
            let told = |run: Stored| {
                format!(
                    "run {} still stands: seqn-play rollback {} --run-dir {} --project {}",
                    run.id,
                    run.id,
                    place.runs.display(),
                    place.project
                )
            };
            place.store().all().into_iter().filter(stands).map(told).collect::<Vec<_>>()
        };
        self.wanted.places.iter().flat_map(of).collect()
    }

    /// The places on which something was run.
    fn used(&self) -> impl Iterator<Item = &Place> {
        self.wanted.places.iter().filter(|place| !place.store().all().is_empty())
    }

    /// Takes away what the runs left on hosts for nobody; what couldn't be.
    async fn forget(&self) -> Vec<String> {
        let hosts = self.hosts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        let connections = Connections::new();
        let mut left = Vec::new();
        for (name, connection) in hosts {
            let plain = Connection { become_: None, ..connection };
            for place in self.used() {
                let gone = async {
                    let target = connections.target(&name, &plain).await?;
                    forget_project(&target, &place.project).await
                };
                if let Err(why) = gone.await {
                    let folder = crate::remote::lock::folder(&place.project);
                    left.push(format!("{folder} on {name} could not be removed: {}", why.message));
                }
            }
        }
        connections.close().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_brings_what_it_needs_and_the_place_comes_back() {
        let names = |wanted: &[StageName]| {
            let all: Vec<&str> = with_needed(wanted, false).iter().map(|stage| stage.name()).collect();
            all.join(" ")
        };
        assert_eq!(names(&[StageName::Lint]), "lint");
        assert_eq!(names(&[StageName::Leaks, StageName::Prediction]), "check run prediction rollback leaks");
        assert_eq!(names(&[StageName::Faults]), "check run again rollback faults");
        let again: Vec<&str> =
            with_needed(&[StageName::Again], true).iter().map(|stage| stage.name()).collect();
        assert_eq!(again.join(" "), "check run finish again rollback");
        assert!("nope".parse::<StageName>().unwrap_err().contains("prediction"));
    }
}
