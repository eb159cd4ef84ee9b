//! `seqn-play secret`: age-encrypted variable files.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::report::{Format, Paint, Settings};
use crate::secret::{Error, Keys, edit, files, identities};
use crate::source::Diagnostics;

use super::Command;
use super::setup::{self, Outputs, env, secret_problem};

/// Makes, edits and shows age-encrypted files of variables.
#[derive(Debug, Parser)]
#[command(name = "seqn-play secret")]
pub struct SecretCommand {
    #[command(subcommand)]
    action: Action,
    /// Age identity file
    #[arg(long, value_name = "FILE", global = true)]
    age_identity: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Edit an encrypted file, or make one
    Edit {
        file: PathBuf,
        /// Encrypt to this public key too (age1…, ssh-ed25519 …)
        #[arg(short, long)]
        recipient: Vec<String>,
    },
    /// Show what is in an encrypted file
    Show { file: PathBuf },
    /// Encrypt a plain file in place
    Encrypt {
        file: PathBuf,
        #[arg(short, long)]
        recipient: Vec<String>,
    },
    /// Decrypt a file in place
    Decrypt { file: PathBuf },
    /// Make a new identity
    Keygen {
        /// Where to write it
        file: Option<PathBuf>,
    },
}

impl Command for SecretCommand {
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

impl SecretCommand {
    fn act(self, outputs: &Outputs) -> Result<(), Error> {
        let say = |text: &str| outputs.screen.line(Paint::Plain, text);
        let identities = || setup::identities(&self.age_identity);
        let keys = || identities().map(|age| Keys { age, ..Keys::default() });
        match &self.action {
            Action::Edit { file, recipient } => {
                let editor = files::system_editor(&env);
                match edit::edit(file, recipient, &identities()?, &editor)? {
                    edit::Edited::Unchanged => say("unchanged"),
                    edit::Edited::Written { recipients, before } => {
                        let word = if before == 0 { "made" } else { "written" };
                        say(&format!("{word}: {} (opens for {recipients})", file.display()));
                    }
                }
            }
            Action::Show { file } => {
                let plain = edit::show(file, &keys()?)?;
                // Shown because it was asked for: this text alone isn't registered.
                say(plain.expose().unwrap_or("(not text)").trim_end_matches('\n'));
            }
            Action::Encrypt { file, recipient } => {
                edit::encrypt(file, recipient, &identities()?)?;
                say(&format!("encrypted: {}", file.display()));
            }
            Action::Decrypt { file } => {
                edit::decrypt(file, &keys()?)?;
                say(&format!("decrypted: {}", file.display()));
            }
            Action::Keygen { file } => {
                let file = match file {
                    Some(file) => file.clone(),
                    None => identities::default_path(&env).ok_or_else(|| {
                        Error::refused("there is no home directory; name the file to write")
                    })?,
                };
                let public = edit::keygen(&file)?;
                say(&format!("identity: {}\npublic key: {public}", file.display()));
            }
        }
        Ok(())
    }
}
