//! `seqn-play PLAYBOOK…`: ansible-playbook's flags, meaning what they mean there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;

use crate::engine::log::{AtCut, Log, answer_of};
use crate::engine::{Answers, Options, fault};
use crate::playbook::{Item, Playbook as Loaded};
use crate::report::facts::{Scope, What};
use crate::report::{Format, Paint, Screen, Settings as ReportSettings};
use crate::run::store::Held;
use crate::secret::Error;
use crate::source::{Diagnostic, Diagnostics, Val};

use super::Command;
use super::hosts::HostOptions;
use super::preview::{self, Confirmation};
use super::rehearsed;
use super::run_log::{self, Open, RunFlags};
use super::session::Session;
use super::setup::{self, Common, Outputs};
use super::told::Told;

/// Runs playbooks on hosts. Other commands: run, adhoc, doc, lint, secret, inventory, vault.
#[derive(Debug, Parser)]
#[command(name = "seqn-play", version, args_conflicts_with_subcommands = true)]
pub struct Playbook {
    /// Playbooks; a bare name is also looked for in `playbooks/`
    #[arg(required = true, value_name = "PLAYBOOK")]
    playbooks: Vec<String>,

    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    hosts: HostOptions,

    /// Only plays and tasks with these tags
    #[arg(short = 't', long, value_name = "TAGS")]
    tags: Vec<String>,
    /// Only plays and tasks without these tags
    #[arg(long, value_name = "TAGS")]
    skip_tags: Vec<String>,
    /// Start at the task with this name
    #[arg(long, value_name = "NAME")]
    start_at_task: Option<String>,
    /// Confirm each task before it runs
    #[arg(long)]
    step: bool,
    /// Run handlers even if a task fails
    #[arg(long)]
    force_handlers: bool,
    /// Forget what earlier plays learned about hosts
    #[arg(long)]
    flush_cache: bool,

    /// List the hosts and stop
    #[arg(long)]
    list_hosts: bool,
    /// List the tasks and stop
    #[arg(long)]
    list_tasks: bool,
    /// List the tags and stop
    #[arg(long)]
    list_tags: bool,
    /// Check the playbooks without running them
    #[arg(long)]
    syntax_check: bool,

    #[command(flatten)]
    flags: RunFlags,
    /// The name of the protected inventory, instead of typing it
    #[arg(long, value_name = "INVENTORY")]
    yes: Option<String>,
    /// Run on a protected inventory also where nothing would change
    #[arg(long)]
    even_if_ok: bool,
    /// text (Ansible's lines) or json (an event a line)
    #[arg(long, value_enum, default_value_t)]
    output: Format,

    /// Answers to Ansible's name: as there, nothing is kept of a run.
    #[arg(skip)]
    pub as_ansible: bool,
    /// A run that is gone on with.
    #[arg(skip)]
    pub going_on: Option<GoingOn>,
    /// As typed, without the program's name.
    #[arg(skip)]
    pub command: Vec<String>,
}

/// The name under which a journal keeps what the flags about secrets gave.
const SECRETS: &str = "--secret";

/// How a run is gone on with.
pub struct GoingOn {
    pub open: Open,
    pub at_cut: AtCut,
    pub by: String,
    pub changed_playbook: bool,
    /// The run's program was on another machine, and may be alive there.
    pub elsewhere: bool,
    /// Of this command, not of the one that began the run.
    pub flags: RunFlags,
    pub new_secrets: bool,
}

impl std::fmt::Debug for GoingOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.open.recorder.run)
    }
}

impl Command for Playbook {
    fn run(self) -> u8 {
        let outputs = Outputs::new(self.output, self.hosts.shown());
        self.run_with(&outputs)
    }
}

impl Playbook {
    /// The playbooks as typed.
    pub fn name(&self) -> String {
        self.playbooks.join(" ")
    }

    /// By what an inventory is called: the name of its first source.
    pub fn inventory_name(&self) -> String {
        let inventory = self.common.inventory.first().map(String::as_str).unwrap_or("the inventory");
        Path::new(inventory).file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn inventories(&self) -> Vec<String> {
        self.common.inventory.clone()
    }

    pub fn age_identities(&self) -> &[PathBuf] {
        &self.common.age_identity
    }

    pub fn run_flags(&self) -> &RunFlags {
        &self.flags
    }

    /// The first flag that was given and that makes no sense where the playbook is run many times and
    /// nobody is asked.
    pub fn not_rehearsed(&self) -> Option<&'static str> {
        let given = [
            ("--check", self.hosts.check),
            ("--step", self.step),
            ("--list-hosts", self.list_hosts),
            ("--list-tasks", self.list_tasks),
            ("--list-tags", self.list_tags),
            ("--syntax-check", self.syntax_check),
            ("--ask-pass", self.hosts.ask_pass),
            ("--ask-become-pass", self.hosts.ask_become_pass),
            ("--ask-vault-password", self.common.ask_vault_password),
            ("--secret-fd", self.hosts.secrets.reads_descriptors()),
            ("--start-at-task", self.start_at_task.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    pub fn shown(&self) -> ReportSettings {
        self.hosts.shown()
    }

    /// The command that began a run, in the folder where it was typed if that is on this machine.
    /// `identities`: more than it names.
    ///
    /// # Errors
    /// It wasn't kept, or can't be read.
    pub fn that_began(open: &Open, identities: &[PathBuf]) -> Result<Playbook, Error> {
        let past = open.past.as_ref();
        let begun = past.and_then(|past| past.begun.as_ref());
        let begun = begun.ok_or_else(|| Error::damaged("the run has no beginning"))?;
        let key = open.recorder.key();
        let command: Vec<String> = match (&begun.command, key) {
            (Some(sealed), Some(key)) => key.unseal(sealed)?,
            _ => return Err(Error::damaged("the command line of the run was not kept")),
        };
        let cwd = Path::new(&begun.cwd);
        if cwd.is_dir() {
            std::env::set_current_dir(cwd).map_err(|e| Error::io("enter", cwd, &e))?;
        }
        let args = std::iter::once("seqn-play".to_string()).chain(command);
        let mut playbook = Playbook::try_parse_from(args)
            .map_err(|e| Error::refused(format!("the command line of the run isn't understood: {e}")))?;
        playbook.common.age_identity.extend(identities.iter().cloned());
        if let (Some(key), Some(past)) = (key, past) {
            let given = answer_of(key, past, SECRETS).map_err(|e| Error::damaged(e.message))?;
            playbook.hosts.secrets.given = Some(given.and_then(|v| v.as_map().cloned()).unwrap_or_default());
        }
        Ok(playbook)
    }

    /// Everything that it names, loaded.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn load(&self, outputs: &Outputs) -> Result<Session, Diagnostics> {
        let cwd = setup::cwd()?;
        let files =
            self.playbooks.iter().map(|name| find_playbook(&cwd, name)).collect::<Result<Vec<_>, _>>()?;
        Session::open(&self.common, &self.hosts, self.options()?, outputs, |loader, problems| {
            files.iter().filter_map(|file| Some((file.clone(), loader.playbook(file, problems)?))).collect()
        })
    }

    pub fn run_with(mut self, outputs: &Outputs) -> u8 {
        match self.prepare_and_run(outputs) {
            Ok(code) => code,
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl Playbook {
    fn prepare_and_run(&mut self, outputs: &Outputs) -> Result<u8, Diagnostics> {
        let cwd = setup::cwd()?;
        let mut session = self.load(outputs)?;
        if self.list_hosts || self.list_tasks || self.list_tags || self.syntax_check {
            for (file, (_, playbook)) in self.playbooks.iter().zip(&session.playbooks) {
                self.list(&outputs.screen, file, playbook, &session);
            }
            return Ok(0);
        }
        let answers = Answers::default();
        // Who goes on with a run confirmed it when it began; to look needs no confirmation.
        let begins = !session.options.check && !session.options.only_looks && self.going_on.is_none();
        if begins {
            rehearsed::demand(&cwd, &session, &self.flags, &self.name(), &self.scope())?;
        }
        if begins && session.is_protected() {
            let wanted = self.confirmation(&session)?;
            // What was read once, such as a descriptor, can't be read again.
            self.hosts.secrets.given = Some(session.secrets.clone());
            let (prediction, ending) = session.preview(outputs, answers.clone())?;
            preview::confirm(&wanted, &prediction, ending, outputs)
                .map_err(|e| setup::problem("protected", &e))?;
            session = self.load(outputs)?;
        }
        if !session.options.check {
            fault::arm(&session.unbreakable())
                .map_err(|why| setup::problem("fault", &Error::refused(why)))?;
        }
        // While it is held, nobody else goes on with the run.
        let elsewhere = self.going_on.as_ref().is_some_and(|going| going.elsewhere);
        if let Some(going) = &self.going_on {
            let note_dir = going.flags.note_dir.clone().or(self.flags.note_dir.take());
            self.flags = RunFlags { note_dir, ..going.flags.clone() };
        }
        let told = Told::of(&session, self.flags.note_dir.as_deref(), &cwd, outputs)?;
        let (log, _held) = self.open_run(&cwd, &session, &told, outputs)?.unzip();
        if let Some(log) = &log {
            let what = if log.resumed { What::Resume } else { What::Run };
            let report =
                told.report(outputs, &self.flags.store(&cwd), &log.recorder, what, self.scope(), None);
            report.map_err(|e| setup::problem("run", &e))?;
        }
        let kept = log.map(|log| {
            let mut locking = self.flags.locking(&cwd, &log.recorder.run);
            locking.own = !elsewhere;
            (log, locking)
        });
        session.run(outputs, true, kept, answers)
    }

    /// What a run on a protected inventory is confirmed with.
    fn confirmation(&self, session: &Session) -> Result<Confirmation, Diagnostics> {
        let name = self.inventory_name();
        let Some(reason) = self.flags.reason.clone().filter(|r| !r.trim().is_empty()) else {
            let e = Error::refused(format!("the inventory {name} is protected: say why it is run"))
                .help("--reason TEXT; it stands in the journal and the note");
            return Err(setup::problem("protected", &e));
        };
        Ok(Confirmation {
            name,
            playbooks: self.name(),
            hosts: session.hosts(),
            reason,
            yes: self.yes.clone(),
            even_if_ok: self.even_if_ok,
        })
    }

    /// The journal of the run, new or gone on with.
    fn open_run(
        &mut self,
        cwd: &Path,
        session: &Session,
        told: &Told,
        outputs: &Outputs,
    ) -> Result<Option<(Log, Held)>, Diagnostics> {
        let wrong = |e: Error| setup::problem("run", &e);
        let redactor = outputs.redactor.clone();
        if let Some(going) = self.going_on.take() {
            let GoingOn { mut open, at_cut, by, changed_playbook, new_secrets, .. } = going;
            if !changed_playbook {
                same_as_then(&open, cwd, session).map_err(wrong)?;
            }
            open.go_on(by).map_err(wrong)?;
            if let Some(past) = open.past.as_mut().filter(|_| new_secrets) {
                past.forget_secrets();
            }
            let Open { recorder, past, held } = open;
            return Ok(Some((Log::new(recorder, past, at_cut, redactor), held)));
        }
        if self.as_ansible || session.options.check || session.options.only_looks {
            return Ok(None);
        }
        let new = run_log::New {
            flags: &self.flags,
            cwd,
            command: &self.command,
            playbooks: session.playbooks.iter().map(|(file, _)| shown(cwd, file)).collect(),
            inventory: self.common.inventory.clone(),
            sources: sources_of(session, cwd),
            hosts: session.hosts(),
            identities: &session.opened.keys.age,
            told,
        };
        let Open { recorder, held, .. } = run_log::begin(&new, outputs)?;
        let log = Log::new(recorder, None, AtCut::Ask, redactor);
        if !session.secrets.is_empty() {
            log.keep_answer(SECRETS, &Val::map(session.secrets.clone()))
                .map_err(|why| wrong(Error::refused(why.message)))?;
        }
        Ok(Some((log, held)))
    }

    pub fn scope(&self) -> Scope {
        let (tags, skip_tags) = (split_tags(&self.tags), split_tags(&self.skip_tags));
        Scope { limit: self.hosts.limit.clone(), tags, skip_tags }
    }

    fn options(&self) -> Result<Options, Diagnostics> {
        Ok(Options {
            tags: split_tags(&self.tags),
            skip_tags: split_tags(&self.skip_tags),
            start_at_task: self.start_at_task.clone(),
            step: self.step,
            force_handlers: self.force_handlers || setup::env_bool("ANSIBLE_FORCE_HANDLERS").unwrap_or(false),
            flush_cache: self.flush_cache,
            ..self.hosts.options()?
        })
    }

    fn list(&self, screen: &Screen, file: &str, playbook: &Loaded, session: &Session) {
        let say = |text: &str| screen.line(Paint::Plain, text);
        say(&format!("\nplaybook: {file}"));
        if self.syntax_check && !(self.list_hosts || self.list_tasks || self.list_tags) {
            return;
        }
        for (number, play) in playbook.plays.iter().enumerate() {
            let pattern: Vec<String> = play.hosts.iter().map(|h| h.to_string()).collect();
            let name = play.name.as_ref().map_or(pattern.join(","), |n| n.to_string());
            let tags = session.tags(play, &play.keywords.tags).join(", ");
            say(&format!("\n  play #{} ({}): {name}\tTAGS: [{tags}]", number + 1, pattern.join(",")));
            if self.list_hosts {
                say(&format!("    pattern: {pattern:?}").replace('"', "'"));
                match session.variables.inventory().select(&pattern, session.options.limit.as_ref()) {
                    Ok(selection) => {
                        say(&format!("    hosts ({}):", selection.hosts.len()));
                        selection.hosts.iter().for_each(|host| say(&format!("      {host}")));
                    }
                    Err(why) => say(&format!("    hosts: {why}")),
                }
            }
            let mut tasks = Vec::new();
            for (_, items) in play.sections() {
                collect_tasks(items, &mut tasks);
            }
            let (only, skip) = (split_tags(&self.tags), split_tags(&self.skip_tags));
            let wanted = |task: &&Arc<crate::playbook::Task>| {
                let tags = session.tags(play, &task.keywords.tags);
                !task.implicit && crate::engine::tags::selected(&tags, &only, &skip)
            };
            if self.list_tasks {
                say("    tasks:");
                for task in tasks.iter().filter(wanted) {
                    let name = task.title(task.name.as_deref());
                    let tags = session.tags(play, &task.keywords.tags).join(", ");
                    say(&format!("      {name}\tTAGS: [{tags}]"));
                }
            }
            if self.list_tags {
                let mut all: Vec<String> =
                    tasks.iter().filter(wanted).flat_map(|t| session.tags(play, &t.keywords.tags)).collect();
                all.sort();
                all.dedup();
                say(&format!("      TASK TAGS: [{}]", all.join(", ")));
            }
        }
    }
}

/// Every file that the playbooks were read from, with its SHA-256.
fn sources_of(session: &Session, cwd: &Path) -> BTreeMap<String, String> {
    session.loader.sources().iter().map(|(path, sum)| (shown(cwd, path), sum.clone())).collect()
}

fn shown(cwd: &Path, path: &Path) -> String {
    path.strip_prefix(cwd).unwrap_or(path).display().to_string()
}

/// # Errors
/// The playbook is another one than when the run began.
pub fn same_as_then(open: &Open, cwd: &Path, session: &Session) -> Result<(), Error> {
    let begun = open.past.as_ref().and_then(|past| past.begun.clone());
    let then = begun.map(|begun| begun.sources).unwrap_or_default();
    let changed = changed_files(&then, &sources_of(session, cwd));
    if changed.is_empty() {
        return Ok(());
    }
    let run = &open.recorder.run;
    let what = format!("the playbook is not the one that run {run} began with: {}", changed.join(", "));
    Err(Error::refused(what).help("look at what changed; --changed-playbook goes on all the same"))
}

/// Files that are others than then, each with what became of it.
fn changed_files(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let changed = then.iter().filter_map(|(file, sum)| match now.get(file) {
        None => Some(format!("{file} is gone")),
        Some(other) if other != sum => Some(format!("{file} was changed")),
        Some(_) => None,
    });
    let new = now.keys().filter(|file| !then.contains_key(*file)).map(|file| format!("{file} is new"));
    changed.chain(new).collect()
}

/// As given, or in `playbooks/`, with or without `.yml`.
fn find_playbook(cwd: &Path, name: &str) -> Result<PathBuf, Diagnostics> {
    let given = cwd.join(name);
    let bare = !name.contains('/');
    let mut tried = vec![given];
    if bare {
        tried.push(cwd.join("playbooks").join(name));
        tried.push(cwd.join("playbooks").join(format!("{name}.yml")));
    }
    match tried.iter().find(|p| p.is_file()) {
        Some(path) => Ok(path.clone()),
        None => {
            let known: Vec<String> = std::fs::read_dir(cwd.join("playbooks"))
                .map(|entries| {
                    entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
                })
                .unwrap_or_default();
            let mut problem = Diagnostic::global("no-playbook", format!("the playbook {name} was not found"));
            problem.help = crate::source::diagnostic::nearest(name, known.iter().map(String::as_str))
                .map(|near| format!("did you mean {near}?"));
            Err(Diagnostics(vec![problem]))
        }
    }
}

fn split_tags(given: &[String]) -> Vec<String> {
    given.iter().flat_map(|t| t.split(',')).map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect()
}

fn collect_tasks(items: &[Item], into: &mut Vec<Arc<crate::playbook::Task>>) {
    for item in items {
        match item {
            Item::Task(task) => into.push(task.clone()),
            Item::Block(block) => {
                collect_tasks(&block.body, into);
                collect_tasks(&block.rescue, into);
                collect_tasks(&block.always, into);
            }
        }
    }
}
