//! `seqn-play rehearse PLAYBOOK -i INVENTORY`: proves a playbook on a place that may break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use crate::rehearse::fault::Fault;
use crate::rehearse::program::Program;
use crate::rehearse::{FOLDER, StageName, Wanted, content, rehearse, with_needed};
use crate::report::rehearsal::{FORMAT, FORMS, Rehearsal, fault_table};
use crate::report::{Format, Paint, Settings};
use crate::run::recorder::now;
use crate::run::store::new_id;
use crate::secret::Error;
use crate::source::{Diagnostic, Diagnostics};

use super::Command;
use super::playbook::Playbook;
use super::rehearsed::{Asked, may_break, one};
use super::setup::{self, Outputs};

/// Proves a playbook on an inventory that is marked as a place that may break: lint, check mode, the
/// run, its prediction, what finishes it, a second run, rollback, the outage, faults at every boundary,
/// leaks. All flags of a run are taken too.
#[derive(Debug, Parser)]
#[command(
    name = "seqn-play rehearse",
    after_help = "Exit status: 0 passed, 1 it could not begin, 2 something failed.\n\
                  The result is in .seqn-play/rehearsals/ID/: rehearsal.html, .json, .xml (JUnit) and .txt."
)]
pub struct Rehearse {
    /// About a minute: all stages, and as many faults as fit
    #[arg(long)]
    quick: bool,
    /// Only these stages, and what they need: lint,check,run,prediction,finish,again,rollback,outage,
    /// faults,leaks
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    only: Vec<StageName>,
    /// Only these faults: kill,cut,refused,unhealthy,disk-full,denied,slow
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    faults: Vec<Fault>,
    /// The Ith of N parts of the fault cases
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// How many fault cases at once; each needs a place of its own (--place). By default all places
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// Flags with which the playbook is run a second time to finish what the first run began, in one
    /// word: --finish '--tags finish -e grace_over=true'
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    finish: Option<String>,
    /// Inventory of another place like it, which shares the fault cases
    #[arg(long, value_name = "INVENTORY")]
    place: Vec<String>,
    /// Shell command that brings a place back to its first state; by default rollback does.
    /// $SEQN_PLAY_INVENTORY tells which place
    #[arg(long, value_name = "COMMAND")]
    restore: Option<String>,
    #[command(flatten)]
    playbook: Playbook,
    /// As typed, without the program's name.
    #[arg(skip)]
    pub command: Vec<String>,
}

/// Flags of a rehearsal alone; the rest is the run's. `true`: with a value.
const OWN: [(&str, bool); 8] = [
    ("--quick", false),
    ("--only", true),
    ("--faults", true),
    ("--shard", true),
    ("--jobs", true),
    ("--finish", true),
    ("--place", true),
    ("--restore", true),
];

/// Flags of the run that a rehearsal gives itself.
const GIVEN: [(&str, bool); 8] = [
    ("-i", true),
    ("--inventory", true),
    ("--inventory-file", true),
    ("--reason", true),
    ("--run-dir", true),
    ("--note-dir", true),
    ("--project", true),
    ("--output", true),
];

const ONE_WORKER: &str = "a place takes one run at a time: two cases at once would break each other";

const PASSED: u8 = 0;
const COULD_NOT: u8 = 1;
const FAILED: u8 = 2;

impl Command for Rehearse {
    const USAGE_ERROR: u8 = COULD_NOT;

    fn run(mut self) -> u8 {
        let outputs = Outputs::new(Format::default(), Settings::default());
        match self.act(&outputs) {
            Ok(code) => code,
            Err(problems) => {
                outputs.problems(problems);
                COULD_NOT
            }
        }
    }
}

impl Rehearse {
    fn act(&mut self, outputs: &Outputs) -> Result<u8, Diagnostics> {
        let wrong = |e: Error| setup::problem("rehearse", &e);
        self.refuse_what_makes_no_sense()?;
        let cwd = setup::cwd()?;
        let session = self.playbook.load(outputs)?;
        let name = self.playbook.inventory_name();
        may_break(&session, &name).map_err(wrong)?;
        let mut others = Vec::new();
        for place in self.place.iter().take(self.jobs.map_or(usize::MAX, |jobs| jobs - 1)) {
            let other = self.like(&["-i".into(), place.clone()])?.load(outputs)?;
            may_break(&other, place).map_err(wrong)?;
            others.push(Asked::of(vec![place.clone()], other, outputs)?);
        }
        let finish = self.finish_flags()?;
        if !finish.is_empty() {
            let inventories = self.playbook.inventories().into_iter();
            let there = inventories.flat_map(|inventory| ["-i".to_string(), inventory]);
            self.like(&there.chain(finish.clone()).collect::<Vec<_>>())?.load(outputs)?;
        }
        let identities = setup::identities(self.playbook.age_identities()).map_err(wrong)?;
        if identities.recipients().is_empty() {
            let none =
                "a rehearsal opens the journals of its runs, and there is no age identity to open them";
            return Err(wrong(Error::refused(none).help("make one: seqn-play secret keygen")));
        }
        let id = new_id();
        let (flags, playbook) = (self.playbook.run_flags(), self.playbook.name());
        let folder = flags.store(&cwd).beside(FOLDER).join(&id);
        let stages = with_needed(&self.only, self.finish.is_some());
        let reason = format!("rehearsal {id}");
        let paths = content::paths(&session.loader, &session.playbooks);
        let rehearsal = Rehearsal {
            format: FORMAT,
            id: id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            playbook,
            content: content::hash(&cwd, &paths).map_err(wrong)?,
            inventory: self.playbook.inventories(),
            hosts: session.hosts(),
            scope: self.playbook.scope(),
            by: flags.actor(),
            reason: flags.reason.clone(),
            begun: now(),
            seconds: 0.0,
            whole: stages == with_needed(&[], self.finish.is_some()),
            quick: self.quick,
            shard: self.shard.map(|(number, count)| format!("{number}/{count}")),
            only_faults: self.faults.iter().map(|fault| fault.name().into()).collect(),
            passed: false,
            stages: Vec::new(),
            prediction: Default::default(),
            finish_prediction: None,
            phases: Vec::new(),
            cases: Vec::new(),
            cases_in_all: 0,
            left: Vec::new(),
        };
        let interrupted = Arc::new(AtomicBool::new(false));
        let program = Program {
            executable: std::env::current_exe()
                .map_err(|e| wrong(Error::refused(format!("this program can't be found: {e}"))))?,
            playbook: without(&self.command, &[&OWN[..], &GIVEN[..]].concat()),
            age_identities: self.playbook.age_identities().to_vec(),
            reason,
            output: folder.join("output"),
            interrupted: interrupted.clone(),
        };
        let wanted = Wanted {
            places: Vec::new(),
            content: paths,
            folder: folder.clone(),
            lint: content::parts(&session.loader, &session.playbooks).into_iter().collect(),
            stages,
            finish,
            faults: if self.faults.is_empty() { Fault::ALL.to_vec() } else { self.faults.clone() },
            shard: self.shard,
            quick: self.quick,
            restore: self
                .restore
                .clone()
                .map_or_else(|| one(&session, "seqn_restore"), |given| Ok(Some(given)))?,
            identities,
            program,
            rehearsal,
            cwd,
        };
        std::fs::create_dir_all(&wanted.program.output)
            .map_err(|e| wrong(Error::io("make", &wanted.program.output, &e)))?;
        let first = Asked::of(self.playbook.inventories(), session, outputs)?;
        let asked = std::iter::once(first).chain(others).collect();
        self.go(wanted, asked, &interrupted, outputs)
    }

    fn go(
        &self,
        mut wanted: Wanted,
        asked: Vec<Asked>,
        interrupted: &Arc<AtomicBool>,
        outputs: &Outputs,
    ) -> Result<u8, Diagnostics> {
        let folder = wanted.folder.clone();
        let say = |paint, text: &str| outputs.screen.line(paint, text);
        say(
            Paint::Plain,
            &format!(
                "Rehearsing {} on {} ({})\n",
                wanted.rehearsal.playbook,
                self.playbook.inventory_name(),
                wanted.rehearsal.hosts.join(", ")
            ),
        );
        let runtime = setup::runtime()?;
        let told = runtime.block_on(async {
            for (number, asked) in (1..).zip(asked) {
                let place = asked.connect(&wanted, number, outputs).await?;
                let shared = wanted.places.iter().find_map(|other| Some((other, other.shares(&place)?)));
                if let Some((other, host)) = shared {
                    let (one, other) = (other.inventory(), place.inventory());
                    let same = format!("{one} and {other} are the same place: both reach {host}");
                    return Err(setup::problem("rehearse", &Error::refused(same).help(ONE_WORKER)));
                }
                wanted.places.push(place);
            }
            stop_when_told(interrupted);
            rehearse(wanted, outputs.redactor.clone(), outputs.screen.clone())
                .await
                .map_err(|e| setup::problem("rehearse", &e))
        })?;
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        if !told.cases.is_empty() {
            say(Paint::Plain, fault_table(&told.cases).trim_end());
        }
        let (paint, code) = if told.passed { (Paint::Ok, PASSED) } else { (Paint::Failed, FAILED) };
        let verdict = if told.passed { "REHEARSAL PASSED" } else { "REHEARSAL FAILED" };
        say(paint, &format!("\n{verdict} in {:.0} s ({})", told.seconds, told.extent()));
        for left in &told.left {
            outputs.screen.error_line(Paint::Warning, &format!("left behind: {left}"));
        }
        let files: Vec<&str> = FORMS.iter().map(|form| form.file).collect();
        say(Paint::Plain, &format!("{}: {}", folder.display(), files.join(", ")));
        Ok(code)
    }

    /// The same run with more flags, instead of those about inventories.
    fn like(&self, more: &[String]) -> Result<Playbook, Diagnostics> {
        let mut words = vec!["seqn-play".to_string()];
        words.extend(without(&self.command, &[&OWN[..], &GIVEN[..]].concat()));
        words.extend_from_slice(more);
        Playbook::try_parse_from(words)
            .map_err(|e| Diagnostics(vec![Diagnostic::global("rehearse", e.to_string())]))
    }

    /// The flags of `--finish`, split as a shell does; none if it isn't given.
    fn finish_flags(&self) -> Result<Vec<String>, Diagnostics> {
        let Some(given) = &self.finish else { return Ok(Vec::new()) };
        let refused = |why: &str| {
            let e = Error::refused(format!("--finish {why}")).help("such as --finish '--tags finish'");
            Err(setup::problem("rehearse", &e))
        };
        let Ok(flags) = shell_words::split(given) else { return refused("has a quote that isn't closed") };
        let like = self.like(&flags)?;
        if let Some(flag) = like.not_rehearsed() {
            return refused(&format!("has {flag}, which makes no sense in a rehearsal"));
        }
        match () {
            () if flags.is_empty() => refused("has no flags"),
            () if like.name() != self.playbook.name() => refused("names another playbook"),
            () if without(&flags, &GIVEN) != flags => refused("has a flag that the rehearsal gives itself"),
            () => Ok(flags),
        }
    }

    fn refuse_what_makes_no_sense(&self) -> Result<(), Diagnostics> {
        let refused = |what: &str, help: &str| {
            Err(setup::problem("rehearse", &Error::refused(what.to_string()).help(help)))
        };
        if let Some(flag) = self.playbook.not_rehearsed() {
            return refused(
                &format!("{flag} makes no sense in a rehearsal"),
                "it runs the playbook many times, and there is nobody to ask; give secrets by --secret-file, \
                 --secret-command or an encrypted -e @FILE",
            );
        }
        if self.only.contains(&StageName::Finish) && self.finish.is_none() {
            return refused(
                "--only finish needs to know how",
                "--finish FLAGS, such as --finish '--tags finish'",
            );
        }
        let canonical = |path: &String| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let given = self.playbook.inventories();
        let mut known: Vec<_> = if let [one] = &given[..] { vec![canonical(one)] } else { Vec::new() };
        for place in &self.place {
            if known.contains(&canonical(place)) {
                return refused(&format!("the place {place} is given twice"), ONE_WORKER);
            }
            known.push(canonical(place));
        }
        match self.jobs {
            Some(0) => refused("--jobs 0 does nothing", "at least 1"),
            Some(jobs) if jobs > self.place.len() + 1 => refused(
                &format!("--jobs {jobs} needs {jobs} places, and {} are known", self.place.len() + 1),
                "a place takes one run at a time: --place INVENTORY for each other one",
            ),
            _ => Ok(()),
        }
    }
}

/// At Ctrl-C the run that goes on is interrupted by the terminal itself, and no other one begins; what
/// was struck is still mended. The same where somebody ends this program or closes its terminal.
fn stop_when_told(interrupted: &Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let (Ok(mut told), interrupted) = (signal(kind), interrupted.clone()) else { continue };
        tokio::spawn(async move {
            while told.recv().await.is_some() {
                interrupted.store(true, Ordering::Relaxed);
            }
        });
    }
}

/// `words` without these flags and their values.
fn without(words: &[String], flags: &[(&str, bool)]) -> Vec<String> {
    let mut left = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let short = |flag: &str| flag.len() == 2 && word.starts_with(flag) && word.len() > 2;
        let with_value = |flag: &str| word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='));
        match flags.iter().find(|(flag, _)| word == flag) {
            Some((_, true)) => drop(words.next()),
            Some((_, false)) => {}
            None if flags.iter().any(|(flag, value)| *value && (with_value(flag) || short(flag))) => {}
            None => left.push(word.clone()),
        }
    }
    left
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("{text:?} is not I/N, such as 2/3");
    let (number, count) = text.split_once('/').ok_or_else(wrong)?;
    let (number, count) = (number.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
    if (1..=count).contains(&number) { Ok((number, count)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_rehearsal_are_not_the_runs() {
        let words =
            ["play.yml", "-i", "a", "-ib", "--inventory=c", "--quick", "--only", "lint", "-e", "x=1", "-i=d"];
        let words = words.map(String::from);
        assert_eq!(without(&words, &[&OWN[..], &GIVEN[..]].concat()), ["play.yml", "-e", "x=1"]);
    }

    #[test]
    fn shards() {
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
