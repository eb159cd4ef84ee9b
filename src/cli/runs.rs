//! `seqn-play runs`: what was run, how it ended, what is unfinished.

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::report::facts::Facts;
use crate::report::{Format, Note, Paint, Screen, Settings};
use crate::run::history::State;
use crate::run::journal::{End, Sync};
use crate::run::record::{Record, Status};
use crate::run::recorder::{Recorder, now};
use crate::run::store::{NOTE, Store, Stored};
use crate::secret::Error;
use crate::source::Diagnostics;

use super::Command;
use super::audit;
use super::prune::Prune;
use super::run_log::RunFlags;
use super::setup::{self, Outputs};

/// Lists runs, tells one, and tidies up.
#[derive(Debug, Parser)]
#[command(name = "seqn-play runs", args_conflicts_with_subcommands = true)]
pub struct Runs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    flags: RunFlags,
    /// One JSON object a run
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Every run, newest first
    List,
    /// The story of a run, task by task
    Show {
        /// The run: its id, an unambiguous beginning of it, or `last`
        id: String,
    },
    /// Leave an unfinished run as it is; `--reason` is needed
    Abandon {
        /// The run
        id: String,
        #[command(flatten)]
        flags: RunFlags,
    },
    /// Remove finished runs, and what they left on hosts to be taken back with
    Prune(Prune),
    /// Who changed what, when and why, over all runs
    Audit {
        /// Only what happened since this day (2026-11-26), or moment
        #[arg(long, value_name = "DATE")]
        since: Option<String>,
    },
    /// Whether the audit trail and the journals are as they were written
    Verify,
}

impl Command for Runs {
    fn run(self) -> u8 {
        let outputs = Outputs::new(Format::Text, Settings::default());
        match self.act(&outputs) {
            Ok(true) => 0,
            // What is wrong was told.
            Ok(false) => 1,
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl Runs {
    fn act(&self, outputs: &Outputs) -> Result<bool, Diagnostics> {
        let screen = &*outputs.screen;
        let wrong = |e: Error| setup::problem("run", &e);
        let flags = match &self.action {
            Some(Action::Abandon { flags, .. } | Action::Prune(Prune { flags, .. })) => flags,
            _ => &self.flags,
        };
        let store = flags.store(&setup::cwd()?);
        match &self.action {
            None | Some(Action::List) => self.list(&store, screen),
            Some(Action::Show { id }) => show(&store.find(id).map_err(wrong)?, screen),
            Some(Action::Abandon { id, flags }) => {
                abandon(&store, id, flags, screen).map_err(wrong)?;
            }
            Some(Action::Prune(prune)) => return prune.run(&store, outputs),
            Some(Action::Audit { since }) => {
                audit::show(&store, since.as_deref(), self.json, screen).map_err(wrong)?;
            }
            Some(Action::Verify) => return audit::check(&store, self.json, screen).map_err(wrong),
        }
        Ok(true)
    }

    fn list(&self, store: &Store, screen: &Screen) {
        let mut runs = store.all();
        runs.reverse();
        if self.json {
            runs.iter().for_each(|run| screen.json_line(in_json(run)));
            return;
        }
        if runs.is_empty() {
            screen.line(Paint::Plain, &format!("There are no runs in {}.", store.folder().display()));
            return;
        }
        let mut rows = vec![["RUN", "STATE", "PLAYBOOK", "INVENTORY", "BY", "UNFINISHED"].map(String::from)];
        for run in &runs {
            let begun = run.history.begun.as_ref();
            let of =
                |get: &dyn Fn(&crate::run::record::Begun) -> String| begun.map_or("?".into(), |b| get(b));
            rows.push([
                run.id.clone(),
                run.word().into(),
                of(&|b| b.playbooks.join(" ")),
                of(&|b| b.inventory.join(" ")),
                of(&|b| b.by.clone()),
                unfinished(run),
            ]);
        }
        table(&rows).iter().zip(std::iter::once(None).chain(runs.iter().map(Some))).for_each(
            |(line, run)| {
                screen.line(run.map_or(Paint::Plain, paint), line);
            },
        );
    }
}

fn paint(run: &Stored) -> Paint {
    match run.state() {
        _ if run.alive => Paint::Plain,
        State::Finished | State::RolledBack => Paint::Ok,
        State::Abandoned => Paint::Skipped,
        State::Failed | State::Interrupted | State::Cut | State::HalfRolledBack => Paint::Failed,
    }
}

/// What a run left between two states.
fn unfinished(run: &Stored) -> String {
    if run.alive || !run.history.is_open() {
        return String::new();
    }
    match run.history.unfinished().last() {
        Some(step) => format!("{} on {}", step.intent.label, step.intent.host),
        None => match run.history.outcomes.values().last() {
            Some(last) => format!("stopped after '{}' on {}", last.task, last.host),
            None => String::new(),
        },
    }
}

fn in_json(run: &Stored) -> serde_json::Value {
    let begun = run.history.begun.as_ref();
    json!({
        "id": run.id,
        "state": run.word(),
        "begun": begun.map(|b| &b.at),
        "last": run.history.last_at,
        "by": begun.map(|b| &b.by),
        "reason": begun.and_then(|b| b.reason.as_ref()),
        "playbooks": begun.map(|b| &b.playbooks),
        "inventory": begun.map(|b| &b.inventory),
        "hosts": run.history.hosts,
        "open": run.history.is_open(),
        "unfinished": unfinished(run),
    })
}

fn show(run: &Stored, screen: &Screen) {
    let say = |text: &str| screen.line(Paint::Plain, text);
    let history = &run.history;
    if let Some(begun) = &history.begun {
        say(&format!("run        {}", run.id));
        say(&format!("state      {}", run.word()));
        say(&format!("begun      {} by {}", begun.at, begun.by));
        if let Some(reason) = &begun.reason {
            say(&format!("reason     {reason}"));
        }
        say(&format!("playbook   {}", begun.playbooks.join(" ")));
        say(&format!("inventory  {}", begun.inventory.join(" ")));
        say(&format!("hosts      {}", history.hosts.join(", ")));
        say(&format!(
            "opens for  {}",
            if begun.recipients.is_empty() { "nobody".into() } else { begun.recipients.join(", ") }
        ));
    }
    let note = run.folder.join(NOTE);
    if note.is_file() {
        say(&format!("note       {}", note.display()));
    }
    if let Some((at, by, reason)) = &history.abandoned {
        say(&format!("abandoned  {at} by {by}: {reason}"));
    }
    let mut task = "";
    for outcome in history.outcomes.values() {
        if outcome.task != task {
            task = &outcome.task;
            say(&format!("\n{task}"));
        }
        let word = outcome.status.word();
        let paint = match outcome.status {
            Status::Ok => Paint::Ok,
            Status::Changed => Paint::Changed,
            Status::Skipped => Paint::Skipped,
            Status::Failed | Status::Unreachable => Paint::Failed,
        };
        let took = outcome.took as f64 / 1000.0;
        screen.line(paint, &format!("  {word}: [{}] {took:.1} s at {}", outcome.host, outcome.at));
        for step in history.steps_of(&outcome.instance) {
            let beside = if step.intent.beside { " (the old content is kept beside it)" } else { "" };
            say(&format!("    {}{beside}", step.intent.label));
        }
        if let Some(message) = &outcome.message {
            say(&format!("    {message}"));
        }
    }
    for step in history.unfinished() {
        let intent = &step.intent;
        let what = if step.done.is_some() {
            "was applied, its outcome isn't known"
        } else {
            "was begun, its end isn't known"
        };
        screen.line(
            Paint::Failed,
            &format!("\n{}\n  cut: [{}] {} {what}, at {}", intent.task, intent.host, intent.label, intent.at),
        );
    }
    for (label, why) in &history.not_undone {
        screen.line(Paint::Failed, &format!("  not undone: {label}: {why}"));
    }
    if let End::Damaged { line, why } = &run.end {
        screen.line(
            Paint::Failed,
            &format!("\nThe journal is damaged at line {line}: {why}. What came after it is not known."),
        );
    }
    if let Some(next) = what_next(run) {
        say(&format!("\n{next}"));
    }
}

/// What to type next.
fn what_next(run: &Stored) -> Option<String> {
    let id = &run.id;
    match run.state() {
        _ if run.alive => None,
        State::Finished => Some(format!("Go back: seqn-play rollback {id}")),
        State::HalfRolledBack => Some(format!("Go on going back: seqn-play rollback {id}")),
        State::Failed | State::Interrupted | State::Cut => {
            Some(format!("Go on: seqn-play resume {id}\nGo back: seqn-play rollback {id}"))
        }
        State::RolledBack | State::Abandoned => None,
    }
}

fn abandon(store: &Store, id: &str, flags: &RunFlags, screen: &Screen) -> Result<(), Error> {
    let run = store.find(id)?;
    let id = run.id.clone();
    let Some(reason) = flags.reason.clone().filter(|r| !r.trim().is_empty()) else {
        return Err(Error::refused(format!("to abandon run {id}, say why"))
            .help(format!("seqn-play runs abandon {id} --reason TEXT")));
    };
    if !run.history.is_open() {
        return Err(Error::refused(format!("run {id} is not unfinished: it is {}", run.word())));
    }
    let (_held, journal) = store.hold(&run)?;
    let begun = run.history.begun.as_deref();
    let recorder = Recorder::new(id.clone(), journal, None).audited(store.audit(), begun);
    let facts = Facts::abandoned(&run.history, flags.actor(), reason.clone());
    recorder.write(&Record::Abandoned { at: now(), by: flags.actor(), reason }, Sync::Now)?;
    Note::new(facts, store.clone(), flags.note_dir.clone()).write(screen)?;
    screen.line(Paint::Plain, &format!("abandoned: {id}. What it changed stays as it is."));
    Ok(())
}

/// Columns as wide as their widest cell, two spaces apart.
pub fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    use unicode_width::UnicodeWidthStr;
    let widths: Vec<usize> = (0..N).map(|c| rows.iter().map(|r| r[c].width()).max().unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
        })
        .collect()
}
