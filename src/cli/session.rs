//! What was loaded for one command, and running it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::engine::event::{Event, Sink};
use crate::engine::language::{Registries, render_known};
use crate::engine::locks::Locking;
use crate::engine::log::Log;
use crate::engine::own_undo::{OwnUndo, Screen};
use crate::engine::{Answers, Ending, Engine, Interrupt, Options, Parts};
use crate::playbook::{Loader, Play, Playbook};
use crate::remote::{Connection, Connections};
use crate::report::Paint;
use crate::run::record::Ended;
use crate::source::args::parse_bool;
use crate::source::{Diagnostic, Diagnostics, Map, Text, Val};
use crate::template::{NoHooks, RenderCx, Templar};
use crate::vars::{Layers, Settings, Variables, Vault};

use super::console::TerminalConsole;
use super::hosts::HostOptions;
use super::preview::{Collector, Prediction};
use super::setup::{self, Common, Opened, Outputs};
use super::sources::seen_by_others;

/// What an engine has beside what was loaded.
#[derive(Default)]
struct Given {
    log: Option<Log>,
    locking: Option<Locking>,
    own_undo: Option<OwnUndo>,
    answers: Answers,
}

/// Playbooks, variables and keys of one command, free of errors.
pub struct Session {
    pub options: Options,
    pub variables: Arc<Variables>,
    pub playbooks: Vec<(PathBuf, Playbook)>,
    pub templar: Arc<Templar>,
    pub loader: Arc<Loader>,
    vault: Vault,
    pub opened: Opened,
    /// What the flags about secrets gave.
    pub secrets: Map,
    identities: Vec<Text>,
}

/// What only an inventory may say: on a command line it would be said of every host at once.
const OF_INVENTORIES: [&str; 3] = ["seqn_protected", "seqn_may_break", "seqn_rehearsed_within_days"];

fn not_here(name: &str) -> Diagnostic {
    let mut refused = Diagnostic::global(
        "protected",
        format!("{name} may be said only by the inventory, and not on the command line"),
    );
    refused.help = Some("leave it out, or say it in the inventory of the hosts that it is true of".into());
    refused
}

impl Session {
    /// Loads everything; `load` reads the playbooks.
    ///
    /// # Errors
    /// All that is wrong in playbooks, inventory and variables.
    pub fn open(
        common: &Common,
        hosts: &HostOptions,
        mut options: Options,
        outputs: &Outputs,
        load: impl FnOnce(&Loader, &mut Diagnostics) -> Vec<(PathBuf, Playbook)>,
    ) -> Result<Session, Diagnostics> {
        let cwd = setup::cwd()?;
        let opened = common.open_secrets(&outputs.redactor)?;
        let vault = opened.vault();
        let (mut extra, mut problems) = crate::vars::extra_vars(&common.extra_vars, &cwd, &vault);
        let secrets = hosts.secrets.variables(&cwd)?;
        extra.extend(secrets.clone());
        problems.0.extend(OF_INVENTORIES.into_iter().filter(|name| extra.contains_key(*name)).map(not_here));
        for message in seen_by_others(&common.extra_vars, &cwd) {
            outputs.sink.send(Event::Warning { message });
        }
        outputs.redactor.register_val(&Val::map(extra.clone()));
        let templar = Arc::new(Templar::new());
        let language = Arc::new(Registries { templar: templar.clone() });
        let loader = Arc::new(Loader::new(language, extra.clone(), vault.clone()));
        let playbooks = load(&loader, &mut problems);
        let (inventory, found) = common.load_inventory(&cwd, &vault);
        problems.0.extend(found.0);
        let settings = Settings {
            run: hosts.run_info(&options),
            extra,
            command_line: hosts.command_line_vars(),
            vault: vault.clone(),
        };
        let (variables, found) = Variables::load(inventory, settings);
        problems.0.extend(found.0);
        if problems.has_errors() {
            return Err(problems);
        }
        outputs.problems(problems);
        if let Some(limit) = &options.limit
            && let Err(why) = variables.inventory().check_limit(limit)
        {
            return Err(Diagnostics(vec![Diagnostic::global("limit", why.to_string())]));
        }
        let identities = opened.identities();
        options.only_looks = playbooks.iter().all(|(_, playbook)| playbook.only_looks());
        Ok(Session { secrets, options, variables, playbooks, templar, loader, vault, opened, identities })
    }

    /// Hosts that the plays name; all of them where a name is known only later.
    pub fn hosts(&self) -> Vec<String> {
        let inventory = self.variables.inventory();
        let mut hosts: Vec<String> = Vec::new();
        for play in self.playbooks.iter().flat_map(|(_, playbook)| &playbook.plays) {
            let literal = !play.hosts.iter().any(Text::is_template);
            let patterns: Vec<String> = match literal {
                true => play.hosts.iter().map(|h| h.as_str().to_string()).collect(),
                false => vec!["all".into()],
            };
            if let Ok(selection) = inventory.select(&patterns, self.options.limit.as_ref()) {
                hosts.extend(selection.hosts.iter().map(ToString::to_string));
            }
        }
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Whether one of its hosts has `seqn_protected`. What isn't a plain boolean counts as yes.
    pub fn is_protected(&self) -> bool {
        self.hosts().iter().any(|host| {
            let scope = self.variables.scope(host, &Layers::new());
            scope.find("seqn_protected").is_some_and(|(_, value)| plain_bool(value) != Some(false))
        })
    }

    /// The hosts that may not break: without `seqn_may_break: true` in the inventory.
    pub fn unbreakable(&self) -> Vec<String> {
        let may_break = |host: &String| {
            let scope = self.variables.scope(host, &Layers::new());
            scope.find("seqn_may_break").is_some_and(|(_, value)| plain_bool(value) == Some(true))
        };
        self.hosts().into_iter().filter(|host| !may_break(host)).collect()
    }

    /// A variable as each host sees it that has it, rendered.
    ///
    /// # Errors
    /// It can't be rendered.
    pub fn variable(&self, name: &str) -> Result<Vec<Val>, String> {
        Ok(self.by_host(name)?.into_iter().map(|(_, value)| value).collect())
    }

    /// The same, each with its host.
    ///
    /// # Errors
    /// It can't be rendered.
    pub fn by_host(&self, name: &str) -> Result<Vec<(String, Val)>, String> {
        let layers = Layers::new();
        let mut found = Vec::new();
        for host in self.hosts() {
            let scope = self.variables.scope(&host, &layers);
            let Some((_, value)) = scope.find(name) else { continue };
            let cx = RenderCx {
                names: &scope,
                search: &[],
                playbook_dir: Path::new(""),
                check_mode: true,
                hooks: &NoHooks,
                impure: None,
            };
            let value = self.templar.render(value, &cx).map_err(|e| e.to_string())?;
            found.push((host, value));
        }
        Ok(found)
    }

    /// Tags as far as they are known before the run, each once, sorted.
    pub fn tags(&self, play: &Play, tags: &[Text]) -> Vec<String> {
        let mut names = Vec::new();
        for tag in tags {
            match render_known(&self.templar, tag, &play.vars) {
                Ok(Val::List(many)) => names.extend(many.iter().map(Val::key_text)),
                Ok(one) => names.extend(one.key_text().split(',').map(|t| t.trim().to_string())),
                Err(_) => names.push(tag.to_string()),
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// Runs the playbooks; the result is the exit code. `recap`: tell at the end what every host
    /// did.
    ///
    /// # Errors
    /// This machine gives no threads.
    pub fn run(
        self,
        outputs: &Outputs,
        recap: bool,
        kept: Option<(Log, Locking)>,
        answers: Answers,
    ) -> Result<u8, Diagnostics> {
        let runtime = setup::runtime()?;
        let code = runtime.block_on(self.run_in(outputs, recap, kept, answers));
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        code
    }

    /// What the playbooks would do; nothing is done. Where a question is asked, the answer goes into
    /// `answers`.
    ///
    /// # Errors
    /// This machine gives no threads.
    pub fn preview(
        mut self,
        outputs: &Outputs,
        answers: Answers,
    ) -> Result<(Prediction, Ending), Diagnostics> {
        self.options.check = true;
        self.options.preview = true;
        let shown = Arc::new(Collector { prediction: Mutex::default(), shown: outputs.sink.clone() });
        let runtime = setup::runtime()?;
        let playbooks = std::mem::take(&mut self.playbooks);
        let ending = runtime.block_on(async {
            let connections = Arc::new(Connections::new());
            let given = Given { answers, ..Given::default() };
            let engine = self.engine(outputs, shown.clone(), &connections, given).await?;
            let ending = run_all(&engine, &playbooks, outputs).await;
            connections.close().await;
            let mut prediction = shown.prediction.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            prediction.steps = engine.prospects.steps();
            Ok::<_, Diagnostics>(ending)
        })?;
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        let mut prediction = shown.prediction.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok((std::mem::take(&mut prediction), ending))
    }

    /// How hosts of the inventory are reached.
    ///
    /// # Errors
    /// Their variables can't be rendered.
    pub async fn reach(
        self,
        hosts: &[String],
        outputs: &Outputs,
        connections: &Arc<Connections>,
    ) -> Result<Vec<Connection>, Diagnostics> {
        let engine = self.engine(outputs, outputs.sink.clone(), connections, Given::default()).await?;
        let wrong =
            |why: crate::module::Failure| Diagnostics(vec![Diagnostic::global("connection", why.message)]);
        hosts.iter().map(|host| engine.reach(host).map_err(wrong)).collect()
    }

    /// Runs the `undo:` of one task of a run that is rolled back.
    ///
    /// # Errors
    /// Why it failed, or couldn't be come to.
    pub async fn own_undo(
        mut self,
        outputs: &Outputs,
        connections: &Arc<Connections>,
        log: Log,
        instance: &str,
    ) -> Result<(), String> {
        self.options.step = false;
        let playbooks = std::mem::take(&mut self.playbooks);
        let screen = Screen::new(outputs.sink.clone());
        let (own_undo, mut ended) = OwnUndo::new(instance, screen.clone());
        let given = Given { log: Some(log), own_undo: Some(own_undo), ..Given::default() };
        let engine = self.engine(outputs, screen.clone(), connections, given).await;
        let engine = engine.map_err(|problems| problems.messages())?;
        tokio::select! {
            biased;
            Some(ended) = ended.recv() => ended,
            _ = run_all(&engine, &playbooks, outputs) => Err(screen.why()),
        }
    }

    async fn engine(
        self,
        outputs: &Outputs,
        sink: Arc<dyn Sink>,
        connections: &Arc<Connections>,
        given: Given,
    ) -> Result<Engine, Diagnostics> {
        let Given { log, locking, own_undo, answers } = given;
        let operator = connections
            .operator()
            .await
            .map_err(|why| Diagnostics(vec![Diagnostic::global("local", why.to_string())]))?;
        Ok(Engine::new(Parts {
            options: self.options,
            variables: self.variables,
            templar: self.templar,
            loader: self.loader,
            connections: connections.clone(),
            operator,
            redactor: outputs.redactor.clone(),
            vault: self.vault,
            keys: self.opened.keys.clone(),
            identities: self.identities,
            sink,
            console: Arc::new(TerminalConsole { screen: outputs.screen.clone() }),
            interrupt: Interrupt::default(),
            log,
            locking,
            own_undo,
            answers,
        }))
    }

    async fn run_in(
        mut self,
        outputs: &Outputs,
        recap: bool,
        kept: Option<(Log, Locking)>,
        answers: Answers,
    ) -> Result<u8, Diagnostics> {
        let connections = Arc::new(Connections::new());
        if self.options.verbosity >= 3 {
            let sink = outputs.sink.clone();
            connections.observe(Box::new(move |host, text| {
                sink.send(Event::Exchange { host: host.to_string(), text: text.to_string() });
            }));
        }
        let playbooks = std::mem::take(&mut self.playbooks);
        let (log, locking) = kept.unzip();
        let given = Given { log, locking, answers, own_undo: None };
        let engine = self.engine(outputs, outputs.sink.clone(), &connections, given).await?;
        let interrupt = engine.interrupt.clone();
        let mut stopped = false;
        let running = run_all(&engine, &playbooks, outputs);
        let ending = tokio::select! {
            ending = running => ending,
            () = two_interrupts(&interrupt, outputs.sink.clone()) => {
                outputs.sink.send(Event::Stopped);
                stopped = true;
                Ending::Interrupted
            }
        };
        if recap {
            engine.recap().await;
        }
        if interrupt.is_raised() && !stopped {
            outputs.screen.error_line(
                Paint::Warning,
                "Interrupted. What is reported above was done (or undone, where it says so); nothing after it was begun.",
            );
        }
        if !stopped && let Some(log) = &engine.log {
            tell_end(log, ending, outputs);
            engine.locks.release(Some(&log.recorder), ending == Ending::Fine).await;
        }
        connections.close().await;
        if engine.log.is_some() {
            outputs.sink.send(Event::RunEnded { ending: (!stopped).then(|| ended(ending)) });
        }
        Ok(if interrupt.is_raised() { Ending::Interrupted.exit_code() } else { ending.exit_code() })
    }
}

fn plain_bool(value: &Val) -> Option<bool> {
    value.as_bool().or_else(|| parse_bool(&value.key_text()))
}

/// Writes how the run ended, and tells how to go on from there.
fn tell_end(log: &Log, ending: Ending, outputs: &Outputs) {
    let ended = ended(ending);
    // Refused before it could go on: it is as it was.
    let as_it_was = ending == Ending::Error && log.resumed;
    if !as_it_was && let Err(why) = log.ended(ended) {
        outputs.screen.error_line(Paint::Failed, &why.message);
    }
    if ended != Ended::Fine && log.has_touched() && log.recorder.key().is_some() {
        let id = &log.recorder.run;
        let how = format!("Go on from here: seqn-play resume {id}. Go back: seqn-play rollback {id}.");
        outputs.screen.error_line(Paint::Warning, &how);
        if log.resumed && log.has_made_secrets() {
            let other = "If a server refuses the secret itself, `resume --new-secrets` makes another one.";
            outputs.screen.error_line(Paint::Warning, other);
        }
    }
}

fn ended(ending: Ending) -> Ended {
    match ending {
        Ending::Fine => Ended::Fine,
        Ending::Interrupted => Ended::Interrupted,
        Ending::Failed | Ending::Unreachable | Ending::Error => Ended::Failed,
    }
}

async fn run_all(engine: &Engine, playbooks: &[(PathBuf, Playbook)], outputs: &Outputs) -> Ending {
    let mut ending = Ending::Fine;
    for (file, playbook) in playbooks {
        let dir = playbook.plays.first().map(|p| p.playbook_dir.clone()).unwrap_or_default();
        let problems = engine.variables.enter_playbook(&dir);
        let broken = problems.has_errors();
        outputs.problems(problems);
        if broken {
            return Ending::Error;
        }
        ending = engine.run(playbook, file).await;
        if ending != Ending::Fine {
            break;
        }
    }
    ending
}

/// Ends at the second Ctrl-C (or SIGTERM); the first one raises `interrupt`.
async fn two_interrupts(interrupt: &Interrupt, sink: Arc<dyn Sink>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    for first in [true, false] {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        if first {
            interrupt.raise();
            sink.send(Event::Interrupted);
        }
    }
}
