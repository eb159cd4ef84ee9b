//! `ansible-vault`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::report::{Format, Paint, Settings};
use crate::secret::vault::{self, Password, Passwords};
use crate::secret::{Error, Secret, edit, files};
use crate::source::Diagnostics;

use super::Command;
use super::console::ask_password;
use super::setup::{Outputs, env, secret_problem};

/// Encrypts and decrypts with ansible-vault's format.
#[derive(Debug, Parser)]
#[command(name = "ansible-vault")]
pub struct Vault {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
struct Secrets {
    /// LABEL@FILE or LABEL@prompt
    #[arg(long)]
    vault_id: Vec<String>,
    /// File or script with the password
    #[arg(long, visible_alias = "vault-pass-file")]
    vault_password_file: Vec<PathBuf>,
    /// Ask for the password
    #[arg(short = 'J', long, visible_alias = "ask-vault-pass")]
    ask_vault_password: bool,
    /// Encrypt with the password of this label
    #[arg(long)]
    encrypt_vault_id: Option<String>,
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new encrypted file
    Create {
        #[command(flatten)]
        secrets: Secrets,
        file: PathBuf,
    },
    /// Edit an encrypted file
    Edit {
        #[command(flatten)]
        secrets: Secrets,
        files: Vec<PathBuf>,
    },
    /// Show encrypted files
    View {
        #[command(flatten)]
        secrets: Secrets,
        files: Vec<PathBuf>,
    },
    /// Encrypt files in place
    Encrypt {
        #[command(flatten)]
        secrets: Secrets,
        /// Write here instead
        #[arg(long)]
        output: Option<PathBuf>,
        files: Vec<PathBuf>,
    },
    /// Decrypt files in place
    Decrypt {
        #[command(flatten)]
        secrets: Secrets,
        /// Write here instead
        #[arg(long)]
        output: Option<PathBuf>,
        files: Vec<PathBuf>,
    },
    /// Encrypt with another password
    Rekey {
        #[command(flatten)]
        secrets: Secrets,
        #[arg(long)]
        new_vault_id: Option<String>,
        #[arg(long)]
        new_vault_password_file: Option<PathBuf>,
        files: Vec<PathBuf>,
    },
    /// Encrypt a string for a YAML file
    #[command(name = "encrypt_string")]
    EncryptString {
        #[command(flatten)]
        secrets: Secrets,
        /// The variable's name
        #[arg(short, long)]
        name: Option<String>,
        strings: Vec<String>,
    },
}

impl Command for Vault {
    fn run(self) -> u8 {
        let outputs = Outputs::new(Format::Text, Settings::default());
        match self.act(&outputs) {
            Ok(()) => 0,
            Err(e) => {
                outputs.problems(Diagnostics(vec![secret_problem(&e)]));
                1
            }
        }
    }
}

fn ask(prompt: &str) -> Option<Secret> {
    ask_password(prompt).ok().map(Secret::new)
}

impl Secrets {
    fn passwords(&self) -> Result<Passwords, Error> {
        let mut passwords = Passwords::default();
        for id in &self.vault_id {
            passwords.add(Password::from_vault_id(id, &ask)?);
        }
        let from_env = env("ANSIBLE_VAULT_PASSWORD_FILE").map(PathBuf::from);
        for file in self.vault_password_file.iter().chain(&from_env) {
            passwords.add(Password::from_file("default", file)?);
        }
        if self.ask_vault_password || passwords.is_empty() {
            passwords.add(Password::from_vault_id("prompt_ask_vault_pass", &ask)?);
        }
        Ok(passwords)
    }

    fn encryption(&self, passwords: &Passwords) -> Result<Password, Error> {
        passwords.for_encryption(self.encrypt_vault_id.as_deref()).cloned()
    }
}

impl Vault {
    fn act(self, outputs: &Outputs) -> Result<(), Error> {
        let say = |text: &str| outputs.screen.line(Paint::Plain, text);
        let editor = files::system_editor(&env);
        match self.action {
            Action::Create { secrets, file } => {
                let passwords = secrets.passwords()?;
                edit::vault_create(&file, &secrets.encryption(&passwords)?, &editor)?;
            }
            Action::Edit { secrets, files } => {
                let passwords = secrets.passwords()?;
                for file in &files {
                    edit::vault_edit(file, &passwords, &editor)?;
                }
            }
            Action::View { secrets, files } => {
                let passwords = secrets.passwords()?;
                for file in &files {
                    let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, &e))?;
                    let opened = vault::decrypt(&text, &passwords).map_err(|e| e.about(file))?;
                    say(opened.plaintext.expose().unwrap_or("(not text)").trim_end_matches('\n'));
                }
            }
            Action::Encrypt { secrets, output, files } => {
                let passwords = secrets.passwords()?;
                let password = secrets.encryption(&passwords)?;
                for file in &files {
                    edit::vault_encrypt(file, output.as_deref().unwrap_or(file), &password)?;
                }
                say("Encryption successful");
            }
            Action::Decrypt { secrets, output, files } => {
                let passwords = secrets.passwords()?;
                for file in &files {
                    edit::vault_decrypt(file, output.as_deref().unwrap_or(file), &passwords)?;
                }
                say("Decryption successful");
            }
            Action::Rekey { secrets, new_vault_id, new_vault_password_file, files } => {
                let passwords = secrets.passwords()?;
                let new = match (&new_vault_password_file, &new_vault_id) {
                    (Some(file), _) => Password::from_file("default", file)?,
                    (None, Some(id)) => Password::from_vault_id(id, &ask)?,
                    (None, None) => Password::from_vault_id("default@prompt", &ask)?,
                };
                for file in &files {
                    edit::vault_rekey(file, &passwords, &new)?;
                }
                say("Rekey successful");
            }
            Action::EncryptString { secrets, name, strings } => {
                let passwords = secrets.passwords()?;
                let password = secrets.encryption(&passwords)?;
                for string in &strings {
                    say(&vault::encrypt_string(name.as_deref(), string.as_bytes(), &password)?);
                }
            }
        }
        Ok(())
    }
}
