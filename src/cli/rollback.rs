//! `seqn-play rollback ID`: takes back what a run did.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser;

use crate::engine::event::Event;
use crate::engine::log::{AtCut, Log};
use crate::engine::rollback::{self, Means, Wanted};
use crate::engine::undo::RunTasks;
use crate::playbook::Item;
use crate::remote::Connections;
use crate::report::facts::{Scope, What};
use crate::report::{Format, Paint, Settings};
use crate::run::history::History;
use crate::run::record::{Ended, StepId};
use crate::run::recorder::Recorder;
use crate::secret::Error;
use crate::source::{Diagnostic, Diagnostics};

use super::Command;
use super::from_host::FromHost;
use super::overtaken;
use super::playbook::{Playbook, same_as_then};
use super::run_log::{self, Open, RunFlags};
use super::setup::{self, Outputs};
use super::told::Told;

/// Takes back what a run did: stateful changes newest first, then restarts and recreates once more.
#[derive(Debug, Parser)]
#[command(name = "seqn-play rollback")]
pub struct Rollback {
    /// The run: its id, an unambiguous beginning of it, or `last`
    id: String,
    /// Only what came after this task
    #[arg(long, value_name = "TASK")]
    to: Option<String>,
    /// Show what would be taken back, and change nothing
    #[arg(short = 'C', long)]
    check: bool,
    /// Overwrite files that somebody changed since
    #[arg(long)]
    overwrite: bool,
    /// Run the `undo:` of its tasks although the playbook was changed since
    #[arg(long)]
    changed_playbook: bool,
    /// Go back although a later run stands that is of the same playbook or changed one of the same files
    #[arg(long)]
    despite_later: bool,
    /// Age identity that opens the run
    #[arg(long, value_name = "FILE")]
    age_identity: Vec<PathBuf>,
    #[command(flatten)]
    from: FromHost,
    #[command(flatten)]
    flags: RunFlags,
    /// text (Ansible's lines) or json (an event a line)
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl Command for Rollback {
    fn run(self) -> u8 {
        let outputs = Outputs::new(self.output, Settings::default());
        match self.go_back(&outputs) {
            Ok(code) => code,
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl Rollback {
    /// The playbook of a run, as it was then.
    fn playbook_of(&self, open: &Open, outputs: &Outputs) -> Result<Playbook, Diagnostics> {
        let wrong = |e: Error| setup::problem("run", &e);
        let playbook = Playbook::that_began(open, &self.age_identity).map_err(wrong)?;
        let session = playbook.load(outputs)?;
        if !self.changed_playbook {
            same_as_then(open, &setup::cwd()?, &session).map_err(wrong)?;
        }
        Ok(playbook)
    }

    fn go_back(&self, outputs: &Outputs) -> Result<u8, Diagnostics> {
        let wrong = |e: Error| setup::problem("run", &e);
        let cwd = setup::cwd()?;
        let store = self.flags.store(&cwd);
        let run = self.from.find(&self.id, &store, &self.flags, &cwd, outputs)?;
        let identities = setup::identities(&self.age_identity).map_err(wrong)?;
        let wanted = Wanted { to: self.to.clone(), overwrite: self.overwrite };
        let seal = run_log::seal_of(&run, &identities).map_err(wrong)?;
        let chosen = rollback::choose(&seal, &run.history, &wanted);
        if !self.despite_later {
            let chosen = chosen.as_deref().unwrap_or_default();
            overtaken::check(&store, &run, chosen, &identities).map_err(wrong)?;
        }
        if self.check {
            rollback::predict(&chosen.map_err(refused)?, &*outputs.sink);
            return Ok(0);
        }
        let begun = run.history.begun.clone();
        let mut open = run_log::reopen(&store, run, true, &identities).map_err(wrong)?;
        open.recorder.reason = self.flags.reason.clone();
        let told = Told::kept(begun.as_deref(), &seal, self.flags.note_dir.as_deref()).map_err(wrong)?;
        let past = open.past.clone().unwrap_or_default();
        let chosen = chosen.map_err(refused)?;
        let by_playbook = match rollback::needs_playbook(&chosen) {
            true => Some(self.playbook_of(&open, outputs)?),
            false => None,
        };
        told.report(
            outputs,
            &store,
            &open.recorder,
            What::Rollback,
            Scope::default(),
            Some(self.flags.actor()),
        )
        .map_err(wrong)?;
        let runtime = setup::runtime()?;
        let mut locking = self.flags.locking(&cwd, &open.recorder.run);
        locking.own = !self.from.is_given();
        let recorder = Arc::new(open.recorder);
        let connections = Arc::new(Connections::new());
        let runner = by_playbook.map(|playbook| ByPlaybook {
            playbook,
            outputs,
            connections: connections.clone(),
            recorder: recorder.clone(),
            past,
        });
        let means = Means {
            recorder: &recorder,
            connections: &connections,
            redactor: &outputs.redactor,
            sink: &outputs.sink,
            runner: &runner,
        };
        let ended = runtime.block_on(async {
            let ended = rollback::run(&means, chosen, locking, self.flags.actor()).await;
            connections.close().await;
            ended
        });
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) => {
                outputs.problems(refused(why));
                outputs.sink.send(Event::RunEnded { ending: Some(Ended::Failed) });
                return Ok(1);
            }
        };
        outputs.sink.send(Event::RunEnded { ending: Some(ended) });
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        let id = &recorder.run;
        match ended {
            Ended::RolledBack => {
                outputs.screen.line(Paint::Ok, &format!("Rolled back: run {id}."));
                Ok(0)
            }
            _ => {
                let what = format!(
                    "Not everything of run {id} could be rolled back: see above. `seqn-play rollback {id}` tries the rest again."
                );
                outputs.screen.error_line(Paint::Failed, &what);
                Ok(2)
            }
        }
    }
}

/// Runs `undo:` tasks, which only their playbook knows.
struct ByPlaybook<'a> {
    playbook: Playbook,
    outputs: &'a Outputs,
    connections: Arc<Connections>,
    recorder: Arc<Recorder>,
    past: History,
}

#[async_trait]
impl RunTasks for Option<ByPlaybook<'_>> {
    async fn run_tasks(&self, _: &[Item], steps: &[StepId]) -> Result<(), String> {
        let (Some(by), Some(step)) = (self, steps.first()) else {
            return Err("its `undo:` is in the playbook".into());
        };
        let session = by.playbook.load(by.outputs).map_err(|problems| problems.messages())?;
        let (past, redactor) = (Some(by.past.as_it_was()), by.outputs.redactor.clone());
        let log = Log::new(by.recorder.clone(), past, AtCut::Ask, redactor);
        session.own_undo(by.outputs, &by.connections, log, &step.instance).await
    }
}

fn refused(failure: crate::module::Failure) -> Diagnostics {
    let mut problem = Diagnostic::global("rollback", failure.message);
    problem.help = failure.help;
    Diagnostics(vec![problem])
}
