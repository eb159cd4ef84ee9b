//! `seqn-play resume ID`: goes on with a run from where it stopped.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::engine::log::AtCut;
use crate::report::{Format, Paint, Settings};
use crate::secret::Error;
use crate::source::Diagnostics;

use super::Command;
use super::from_host::FromHost;
use super::playbook::{GoingOn, Playbook};
use super::run_log::{self, RunFlags};
use super::setup::{self, Outputs};

/// Goes on with a run from where it stopped: same secrets, same order, nothing done twice.
#[derive(Debug, Parser)]
#[command(name = "seqn-play resume")]
pub struct Resume {
    /// The run: its id, an unambiguous beginning of it, or `last`
    id: String,
    /// About an effect that was cut and that nobody can observe
    #[arg(long, value_enum)]
    cut: Option<Cut>,
    /// Go on although the playbook was changed since
    #[arg(long)]
    changed_playbook: bool,
    /// Make other secrets than the run made, and do again what came after
    #[arg(long)]
    new_secrets: bool,
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

/// What to do with an effect that was cut.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Cut {
    /// It happened: go on after it
    Happened,
    /// Do it again
    Repeat,
}

impl Command for Resume {
    fn run(self) -> u8 {
        let outputs = Outputs::new(self.output, Settings::default());
        match self.go_on(&outputs) {
            Ok((playbook, outputs)) => playbook.run_with(&outputs),
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl Resume {
    fn go_on(&self, outputs: &Outputs) -> Result<(Playbook, Outputs), Diagnostics> {
        let wrong = |e: Error| setup::problem("run", &e);
        let cwd = setup::cwd()?;
        let store = self.flags.store(&cwd);
        let run = self.from.find(&self.id, &store, &self.flags, &cwd, outputs)?;
        let identities = setup::identities(&self.age_identity).map_err(wrong)?;
        let mut open = run_log::reopen(&store, run, false, &identities).map_err(wrong)?;
        open.recorder.reason = self.flags.reason.clone();
        let begun = open.past.as_ref().and_then(|past| past.begun.clone());
        let mut playbook = Playbook::that_began(&open, &self.age_identity).map_err(wrong)?;
        let outputs = Outputs::new(self.output, playbook.shown());
        if let (Format::Text, Some(begun)) = (self.output, begun) {
            let from = format!("\nGoing on with run {} of {} (by {})", begun.run, begun.at, begun.by);
            outputs.screen.line(Paint::Plain, &from);
        }
        let at_cut = match self.cut {
            None => AtCut::Ask,
            Some(Cut::Happened) => AtCut::Happened,
            Some(Cut::Repeat) => AtCut::Repeat,
        };
        playbook.going_on = Some(GoingOn {
            open,
            at_cut,
            by: self.flags.actor(),
            changed_playbook: self.changed_playbook,
            elsewhere: self.from.is_given(),
            flags: self.flags.clone(),
            new_secrets: self.new_secrets,
        });
        Ok((playbook, outputs))
    }
}
