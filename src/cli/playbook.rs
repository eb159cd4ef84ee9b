//! `seqn-play PLAYBOOK…`: ansible-playbook's flags, meaning what they mean there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgAction, Parser};

use crate::engine::event::{Event, Sink};
use crate::engine::language::Registries;
use crate::engine::{ConnectionDefaults, Ending, Engine, Interrupt, Options, Parts};
use crate::inventory::Limit;
use crate::playbook::{Item, Loader, Playbook as Loaded};
use crate::remote::Connections;
use crate::report::{Format, Paint, Screen, Settings as ReportSettings};
use crate::source::{Diagnostic, Diagnostics, Text, Val};
use crate::template::Templar;
use crate::vars::{RunInfo, Settings, Variables};

use super::Command;
use super::console::{TerminalConsole, ask_password};
use super::setup::{self, Common, Outputs};

/// Runs playbooks on hosts. Other commands: run, lint, secret, inventory, vault.
#[derive(Debug, Parser)]
#[command(name = "seqn-play", version, args_conflicts_with_subcommands = true)]
pub struct Playbook {
    /// Playbooks; a bare name is also looked for in `playbooks/`
    #[arg(required = true, value_name = "PLAYBOOK")]
    playbooks: Vec<String>,

    #[command(flatten)]
    common: Common,

    /// Don't change anything; predict what would change
    #[arg(short = 'C', long)]
    check: bool,
    /// Show before and after of what changes
    #[arg(short = 'D', long)]
    diff: bool,
    /// Only hosts that match this pattern too
    #[arg(short = 'l', long, value_name = "SUBSET")]
    limit: Option<String>,
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
    /// How many hosts at once
    #[arg(short = 'f', long, value_name = "FORKS")]
    forks: Option<usize>,
    /// Run handlers even if a task fails
    #[arg(long)]
    force_handlers: bool,
    /// Forget what earlier plays learned about hosts
    #[arg(long)]
    flush_cache: bool,

    /// Connection: ssh, native or local
    #[arg(short = 'c', long)]
    connection: Option<String>,
    /// Connect as this user
    #[arg(short = 'u', long = "user", value_name = "REMOTE_USER")]
    remote_user: Option<String>,
    /// Ask for the connection password
    #[arg(short = 'k', long)]
    ask_pass: bool,
    /// File with the connection password
    #[arg(long, value_name = "FILE", visible_alias = "conn-pass-file")]
    connection_password_file: Option<PathBuf>,
    /// Connect with this key
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    private_key: Option<String>,
    /// More arguments for ssh
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    ssh_common_args: Option<String>,
    /// More arguments for ssh only
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    ssh_extra_args: Option<String>,
    /// Seconds to wait for a connection
    #[arg(short = 'T', long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Act as another user on the host
    #[arg(short = 'b', long = "become")]
    become_: bool,
    /// How to become: sudo, su or doas
    #[arg(long, value_name = "METHOD")]
    become_method: Option<String>,
    /// Become this user
    #[arg(long, value_name = "USER")]
    become_user: Option<String>,
    /// Ask for the become password
    #[arg(short = 'K', long)]
    ask_become_pass: bool,
    /// File with the become password
    #[arg(long, value_name = "FILE", visible_alias = "become-pass-file")]
    become_password_file: Option<PathBuf>,

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

    /// text (Ansible's lines) or json (an event a line)
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Tell more; -vvv shows what is said to hosts
    #[arg(short = 'v', long, action = ArgAction::Count)]
    verbose: u8,
}

impl Command for Playbook {
    fn run(self) -> u8 {
        let outputs = Outputs::new(
            self.output,
            ReportSettings { verbosity: self.verbose, diff: self.diff, check: self.check },
        );
        match self.prepare_and_run(&outputs) {
            Ok(code) => code,
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl Playbook {
    fn prepare_and_run(&self, outputs: &Outputs) -> Result<u8, Diagnostics> {
        let cwd = setup::cwd()?;
        let opened = self.common.open_secrets(&outputs.redactor)?;
        let vault = opened.vault();
        let files =
            self.playbooks.iter().map(|name| find_playbook(&cwd, name)).collect::<Result<Vec<_>, _>>()?;
        let (extra, mut problems) = crate::vars::extra_vars(&self.common.extra_vars, &cwd, &vault);
        outputs.redactor.register_val(&Val::map(extra.clone()));

        let templar = Arc::new(Templar::new());
        let language = Arc::new(Registries { templar: templar.clone() });
        let loader = Arc::new(Loader::new(language, extra.clone(), vault.clone()));
        let playbooks: Vec<Loaded> =
            files.iter().filter_map(|file| loader.playbook(file, &mut problems)).collect();

        let (inventory, found) = self.common.load_inventory(&cwd, &vault);
        problems.0.extend(found.0);
        let limit = self
            .limit
            .as_deref()
            .map(|l| Limit::parse(l, &cwd))
            .transpose()
            .map_err(|d| Diagnostics(vec![d]))?;
        let options = self.options(limit.clone())?;
        let settings = Settings {
            run: self.run_info(&options),
            extra,
            command_line: self.command_line_vars(),
            vault: vault.clone(),
        };
        let (variables, found) = Variables::load(inventory, settings);
        problems.0.extend(found.0);
        if problems.has_errors() {
            return Err(problems);
        }
        outputs.problems(problems);
        if let Some(limit) = &limit
            && let Err(why) = variables.inventory().check_limit(limit)
        {
            return Err(Diagnostics(vec![Diagnostic::global("limit", why.to_string())]));
        }
        if self.list_hosts || self.list_tasks || self.list_tags || self.syntax_check {
            for (file, playbook) in self.playbooks.iter().zip(&playbooks) {
                self.list(&outputs.screen, file, playbook, &variables, limit.as_ref());
            }
            return Ok(0);
        }
        let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
        else {
            return Err(Diagnostics(vec![Diagnostic::global(
                "runtime",
                "can't start threads on this machine",
            )]));
        };
        let code = runtime.block_on(async {
            let connections = Arc::new(Connections::new());
            if self.verbose >= 3 {
                let sink = outputs.sink.clone();
                connections.observe(Box::new(move |host, text| {
                    sink.send(Event::Exchange { host: host.to_string(), text: text.to_string() });
                }));
            }
            let operator = match connections.operator().await {
                Ok(operator) => operator,
                Err(why) => {
                    outputs.problems(Diagnostics(vec![Diagnostic::global("local", why.to_string())]));
                    return 1;
                }
            };
            let interrupt = Interrupt::default();
            let engine = Engine::new(Parts {
                options,
                variables,
                templar,
                loader,
                connections: connections.clone(),
                operator,
                redactor: outputs.redactor.clone(),
                vault,
                keys: opened.keys.clone(),
                identities: opened.identities(),
                sink: outputs.sink.clone(),
                console: Arc::new(TerminalConsole { screen: outputs.screen.clone() }),
                interrupt: interrupt.clone(),
            });
            let mut stopped = false;
            let running = run_all(&engine, &files, &playbooks, outputs);
            let ending = tokio::select! {
                ending = running => ending,
                () = two_interrupts(&interrupt, outputs.sink.clone()) => {
                    outputs.sink.send(Event::Stopped);
                    stopped = true;
                    Ending::Interrupted
                }
            };
            engine.recap().await;
            if interrupt.is_raised() && !stopped {
                outputs.screen.error_line(
                    Paint::Warning,
                    "Interrupted. What is reported above was done; nothing after it was begun.",
                );
            }
            connections.close().await;
            if interrupt.is_raised() { Ending::Interrupted.exit_code() } else { ending.exit_code() }
        });
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        Ok(code)
    }

    fn options(&self, limit: Option<Limit>) -> Result<Options, Diagnostics> {
        let ask = |prompt: &str| {
            ask_password(prompt).map_err(|why| Diagnostics(vec![Diagnostic::global("password", why)]))
        };
        let from_file = |path: &Path| -> Result<Text, Diagnostics> {
            let text = std::fs::read_to_string(path).map_err(|e| {
                Diagnostics(vec![Diagnostic::global(
                    "password",
                    format!("can't read {}: {e}", path.display()),
                )])
            })?;
            Ok(Text::secret(text.trim_end_matches(['\n', '\r'])))
        };
        let password = match (&self.connection_password_file, self.ask_pass) {
            (Some(file), _) => Some(from_file(file)?),
            (None, true) => Some(Text::secret(ask("SSH password: ")?)),
            (None, false) => None,
        };
        let become_password = match (&self.become_password_file, self.ask_become_pass) {
            (Some(file), _) => Some(from_file(file)?),
            (None, true) => {
                let typed = ask("BECOME password[defaults to SSH password]: ")?;
                Some(if typed.is_empty() {
                    password.clone().unwrap_or_else(|| Text::secret(""))
                } else {
                    Text::secret(typed)
                })
            }
            (None, false) => None,
        };
        Ok(Options {
            check: self.check,
            diff: self.diff,
            forks: self.forks.or_else(|| setup::env("ANSIBLE_FORKS")?.parse().ok()).unwrap_or(5).max(1),
            tags: split_tags(&self.tags),
            skip_tags: split_tags(&self.skip_tags),
            start_at_task: self.start_at_task.clone(),
            step: self.step,
            force_handlers: self.force_handlers || setup::env_bool("ANSIBLE_FORCE_HANDLERS").unwrap_or(false),
            flush_cache: self.flush_cache,
            verbosity: self.verbose,
            limit,
            connection: ConnectionDefaults {
                connection: self.connection.clone(),
                user: self.remote_user.clone().or_else(|| setup::env("ANSIBLE_REMOTE_USER")),
                password,
                private_key: self.private_key.clone().or_else(|| setup::env("ANSIBLE_PRIVATE_KEY_FILE")),
                ssh_args: self.ssh_common_args.iter().chain(&self.ssh_extra_args).cloned().collect(),
                timeout: self.timeout,
                become_: self.become_,
                become_user: self.become_user.clone(),
                become_method: self.become_method.clone(),
                become_password,
                host_key_checking: setup::env_bool("ANSIBLE_HOST_KEY_CHECKING"),
            },
        })
    }

    fn run_info(&self, options: &Options) -> RunInfo {
        RunInfo {
            config_file: None,
            check_mode: self.check,
            diff_mode: self.diff,
            verbosity: self.verbose,
            forks: options.forks as u32,
            run_tags: if options.tags.is_empty() { vec!["all".into()] } else { options.tags.clone() },
            skip_tags: options.skip_tags.clone(),
            limit: self.limit.clone(),
        }
    }

    fn command_line_vars(&self) -> crate::source::Map {
        self.remote_user.iter().map(|u| (Val::from("ansible_user"), Val::from(u.as_str()))).collect()
    }

    fn list(
        &self,
        screen: &Screen,
        file: &str,
        playbook: &Loaded,
        variables: &Arc<Variables>,
        limit: Option<&Limit>,
    ) {
        let say = |text: &str| screen.line(Paint::Plain, text);
        say(&format!("\nplaybook: {file}"));
        if self.syntax_check && !(self.list_hosts || self.list_tasks || self.list_tags) {
            return;
        }
        for (number, play) in playbook.plays.iter().enumerate() {
            let pattern: Vec<String> = play.hosts.iter().map(|h| h.to_string()).collect();
            let name = play.name.as_ref().map_or(pattern.join(","), |n| n.to_string());
            let tags = tag_list(&play.keywords.tags);
            say(&format!("\n  play #{} ({}): {name}\tTAGS: [{tags}]", number + 1, pattern.join(",")));
            if self.list_hosts {
                say(&format!("    pattern: {pattern:?}").replace('"', "'"));
                match variables.inventory().select(&pattern, limit) {
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
                let tags: Vec<String> = task.keywords.tags.iter().map(|t| t.to_string()).collect();
                !task.implicit && crate::engine::tags::selected(&tags, &only, &skip)
            };
            if self.list_tasks {
                say("    tasks:");
                for task in tasks.iter().filter(wanted) {
                    let name = task.title(task.name.as_deref());
                    say(&format!("      {name}\tTAGS: [{}]", tag_list(&task.keywords.tags)));
                }
            }
            if self.list_tags {
                let mut all: Vec<String> = tasks
                    .iter()
                    .filter(wanted)
                    .flat_map(|t| t.keywords.tags.iter().map(|t| t.to_string()))
                    .collect();
                all.sort();
                all.dedup();
                say(&format!("      TASK TAGS: [{}]", all.join(", ")));
            }
        }
    }
}

async fn run_all(engine: &Engine, files: &[PathBuf], playbooks: &[Loaded], outputs: &Outputs) -> Ending {
    let mut ending = Ending::Fine;
    for (file, playbook) in files.iter().zip(playbooks) {
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

fn tag_list(tags: &[Text]) -> String {
    let mut tags: Vec<&str> = tags.iter().map(|t| t.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.join(", ")
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
