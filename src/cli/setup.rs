//! What every command that loads something needs: outputs, secrets, inventory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::engine::event::{Event, Sink};
use crate::inventory::{Inventory, LoadOptions};
use crate::report::{Format, Paint, Reporters, Screen, Settings, reporter};
use crate::secret::identities::{self, Identities};
use crate::secret::vault::{Password, Passwords};
use crate::secret::{Keys, Redactor, Secret};
use crate::source::args::parse_bool;
use crate::source::{Diagnostic, Diagnostics, SourceFile, Text, Val, yaml};
use crate::vars::Vault;

use super::console::{TerminalConsole, ask_password};

/// Flags that name inventories, variables and keys.
#[derive(Debug, Args)]
pub struct Common {
    /// Inventory: a path, a list with a comma, or a bare name in `inventory/`
    #[arg(short = 'i', long = "inventory", visible_alias = "inventory-file", value_name = "INVENTORY")]
    pub inventory: Vec<String>,
    /// Variables as key=value, YAML/JSON, or @FILE
    #[arg(short = 'e', long = "extra-vars", value_name = "EXTRA_VARS")]
    pub extra_vars: Vec<String>,
    /// Age identity file that opens encrypted variables
    #[arg(long, value_name = "FILE")]
    pub age_identity: Vec<PathBuf>,
    /// Vault password: LABEL@FILE, LABEL@prompt
    #[arg(long, value_name = "VAULT_ID")]
    pub vault_id: Vec<String>,
    /// File or script with the vault password
    #[arg(long, visible_alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// Ask for the vault password
    #[arg(short = 'J', long, visible_alias = "ask-vault-pass")]
    pub ask_vault_password: bool,
}

/// What opens encrypted variables.
pub struct Opened {
    pub keys: Keys,
    files: Vec<PathBuf>,
    redactor: Arc<Redactor>,
}

impl Common {
    /// Reads vault passwords and age identities.
    ///
    /// # Errors
    /// A named file is missing or can't be used.
    pub fn open_secrets(&self, redactor: &Arc<Redactor>) -> Result<Opened, Diagnostics> {
        let wrong = |e: crate::secret::Error| Diagnostics(vec![secret_problem(&e)]);
        let ask = |prompt: &str| ask_password(prompt).ok().map(Secret::new);
        let mut passwords = Passwords::default();
        for id in &self.vault_id {
            passwords.add(Password::from_vault_id(id, &ask).map_err(wrong)?);
        }
        let from_env = env("ANSIBLE_VAULT_PASSWORD_FILE").map(PathBuf::from);
        for file in self.vault_password_file.iter().chain(&from_env) {
            passwords.add(Password::from_file("default", file).map_err(wrong)?);
        }
        if self.ask_vault_password {
            passwords.add(Password::from_vault_id("prompt_ask_vault_pass", &ask).map_err(wrong)?);
        }
        let files = identities::default_paths(&self.age_identity, &env);
        let identities = Identities::load(&files, Some(Arc::new(ask))).map_err(wrong)?;
        Ok(Opened { keys: Keys { age: identities, vault: passwords }, files, redactor: redactor.clone() })
    }

    pub fn load_inventory(&self, cwd: &Path, vault: &Vault) -> (Inventory, Diagnostics) {
        let mut sources = self.inventory.clone();
        if sources.is_empty() {
            sources = env("ANSIBLE_INVENTORY")
                .map(|v| v.split(',').map(String::from).collect())
                .unwrap_or_else(|| default_inventory(cwd));
        }
        let open = |envelope: &str| vault(envelope);
        Inventory::load(&sources, &LoadOptions::new(cwd, &open))
    }
}

/// Ansible's own default, if there is one on this machine.
fn default_inventory(_cwd: &Path) -> Vec<String> {
    let system = "/etc/ansible/hosts";
    if Path::new(system).exists() { vec![system.into()] } else { Vec::new() }
}

impl Opened {
    /// Opens ansible-vault and armored age envelopes; what comes out is known to the Redactor.
    pub fn vault(&self) -> Vault {
        let (keys, redactor) = (self.keys.clone(), self.redactor.clone());
        Arc::new(move |envelope| {
            let plain = text_of(&keys.open_text(envelope).map_err(|e| e.to_string())?)?;
            keep_opened(&redactor, &plain);
            Ok(plain)
        })
    }

    /// The identity files' texts, for modules that decrypt on this machine.
    pub fn identities(&self) -> Vec<Text> {
        let texts: Vec<Text> =
            self.files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).map(Text::secret).collect();
        texts.iter().for_each(|t| {
            self.redactor.register(t);
        });
        texts
    }
}

/// What was decrypted is secret: a text as it is; of a file of variables the values, not its lines.
fn keep_opened(redactor: &Redactor, plain: &str) {
    let file = SourceFile::typed("<encrypted>", plain.to_string());
    let node = yaml::load_one(&file, &mut Diagnostics::default());
    let val = node.and_then(|node| node.to_val(&|_| Ok(String::new())).ok());
    let data = val.filter(|val| matches!(val, Val::Map(_) | Val::List(_)));
    if data.is_none() || !plain.trim_end().contains('\n') {
        redactor.register(plain);
    }
    data.iter().for_each(|data| redactor.register_all_of(data));
}

fn text_of(plain: &Secret) -> Result<String, String> {
    String::from_utf8(plain.expose_bytes().to_vec())
        .map_err(|_| "what is inside isn't UTF-8 text".to_string())
}

/// The operator's age identities: of these files, else where they are by default.
///
/// # Errors
/// A file is missing, or holds something else.
pub fn identities(given: &[PathBuf]) -> Result<Identities, crate::secret::Error> {
    let ask = |prompt: &str| ask_password(prompt).ok().map(Secret::new);
    Identities::load(&identities::default_paths(given, &env), Some(Arc::new(ask)))
}

/// As [`secret_problem`], under a code of its own.
pub fn problem(code: &'static str, e: &crate::secret::Error) -> Diagnostics {
    Diagnostics(vec![Diagnostic { code, ..secret_problem(e) }])
}

pub fn secret_problem(e: &crate::secret::Error) -> Diagnostic {
    let mut d = Diagnostic::global("secret", e.to_string());
    d.help = e.help.clone();
    d
}

/// Screen, Redactor and reporters of a command.
pub struct Outputs {
    pub redactor: Arc<Redactor>,
    pub screen: Arc<Screen>,
    pub sink: Arc<dyn Sink>,
    pub reporters: Arc<Reporters>,
}

impl Outputs {
    /// The operator's terminal.
    pub fn console(&self) -> TerminalConsole {
        TerminalConsole { screen: self.screen.clone() }
    }

    pub fn new(format: Format, settings: Settings) -> Outputs {
        let redactor = Arc::new(Redactor::new());
        let screen = Arc::new(Screen::standard(redactor.clone()));
        hide_panics(screen.clone());
        let reporters = Arc::new(Reporters::new(screen.clone(), vec![reporter(format, settings)]));
        Outputs { redactor, screen, sink: reporters.clone(), reporters }
    }

    /// Shows everything that was found.
    pub fn problems(&self, problems: Diagnostics) {
        for problem in problems.0 {
            self.sink.send(Event::Diagnostic(Box::new(problem)));
        }
    }
}

/// A panic is a bug; its message passes the Redactor like everything else.
fn hide_panics(screen: Arc<Screen>) {
    std::panic::set_hook(Box::new(move |panic| {
        screen.error_line(Paint::Failed, &format!("internal error: {panic}\nThis is a bug in seqn-play."));
    }));
}

/// Before there are outputs: a line on standard error.
pub fn complain(message: &str) {
    Screen::standard(Arc::new(Redactor::new())).error_line(Paint::Failed, &format!("error: {message}"));
}

pub fn cwd() -> Result<PathBuf, Diagnostics> {
    std::env::current_dir().map_err(|e| {
        Diagnostics(vec![Diagnostic::global("cwd", format!("the working directory can't be read: {e}"))])
    })
}

/// Two threads are plenty: a run waits for its hosts.
///
/// # Errors
/// This machine gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Diagnostics> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| {
        let why = format!("can't start threads on this machine: {e}");
        Diagnostics(vec![Diagnostic::global("runtime", why)])
    })
}

/// Where a program of this machine is, by PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// An environment variable that is set and not empty.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

pub fn env_bool(name: &str) -> Option<bool> {
    parse_bool(&env(name)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    /// In a process of its own: the hook is everybody's.
    #[test]
    fn a_panic_shows_no_secret() {
        const ALONE: &str = "SEQN_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let alone = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "cli::setup::tests::a_panic_shows_no_secret"])
                .env(ALONE, "1")
                .env("RUST_BACKTRACE", "full")
                .output()
                .unwrap();
            let said = [alone.stdout, alone.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(alone.status.success() && said.contains("1 passed"), "{said}");
            assert!(!said.contains("hunter2hunter2"), "{said}");
            return;
        }
        let mut shown = tempfile::tempfile().unwrap();
        let err = Box::new(shown.try_clone().unwrap());
        let redactor = Arc::new(Redactor::new());
        redactor.register("hunter2hunter2");
        hide_panics(Arc::new(Screen::to(redactor, Box::new(std::io::sink()), err)));
        let panicked = std::thread::spawn(|| panic!("can't use hunter2hunter2")).join().is_err();
        let mut text = String::new();
        shown.rewind().unwrap();
        shown.read_to_string(&mut text).unwrap();
        assert!(panicked && text.contains("can't use ********"), "{text}");
        assert!(text.contains("This is a bug in seqn-play."), "{text}");
    }
}
