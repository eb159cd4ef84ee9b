//! How hosts are reached and acted on: flags that every command that runs tasks takes.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

use crate::engine::{ConnectionDefaults, Gathering, Options};
use crate::inventory::Limit;
use crate::report::Settings as ReportSettings;
use crate::source::{Diagnostic, Diagnostics, Map, Text, Val};
use crate::vars::RunInfo;

use super::console::ask_password;
use super::setup;
use super::sources::SecretSources;

/// Flags about hosts and connections.
#[derive(Debug, Args)]
pub struct HostOptions {
    #[command(flatten)]
    pub secrets: SecretSources,
    /// Don't change anything; predict what would change
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show before and after of what changes
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Only hosts that match this pattern too
    #[arg(short = 'l', long, value_name = "SUBSET")]
    pub limit: Option<String>,
    /// How many hosts at once
    #[arg(short = 'f', long, value_name = "FORKS")]
    pub forks: Option<usize>,
    /// Connection: ssh, native or local
    #[arg(short = 'c', long)]
    pub connection: Option<String>,
    /// Connect as this user
    #[arg(short = 'u', long = "user", value_name = "REMOTE_USER")]
    pub remote_user: Option<String>,
    /// Ask for the connection password
    #[arg(short = 'k', long)]
    pub ask_pass: bool,
    /// File with the connection password
    #[arg(long, value_name = "FILE", visible_alias = "conn-pass-file")]
    pub connection_password_file: Option<PathBuf>,
    /// Connect with this key
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    pub private_key: Option<String>,
    /// More arguments for ssh
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// More arguments for ssh only
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// Seconds to wait for a connection
    #[arg(short = 'T', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Act as another user on the host
    #[arg(short = 'b', long = "become")]
    pub become_: bool,
    /// How to become: sudo, su or doas
    #[arg(long, value_name = "METHOD")]
    pub become_method: Option<String>,
    /// Become this user
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,
    /// Ask for the become password
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// File with the become password
    #[arg(long, value_name = "FILE", visible_alias = "become-pass-file")]
    pub become_password_file: Option<PathBuf>,
    /// Tell more; -vvv shows what is said to hosts
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub verbose: u8,
}

impl HostOptions {
    pub fn shown(&self) -> ReportSettings {
        ReportSettings { verbosity: self.verbose, diff: self.diff, check: self.check }
    }

    /// Everything but what is about plays; asks for passwords.
    pub fn options(&self) -> Result<Options, Diagnostics> {
        let ask = |prompt: &str| {
            ask_password(prompt).map_err(|why| Diagnostics(vec![Diagnostic::global("password", why)]))
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
        let cwd = setup::cwd()?;
        let limit = self.limit.as_deref().map(|l| Limit::parse(l, &cwd)).transpose();
        Ok(Options {
            check: self.check,
            diff: self.diff,
            no_log: setup::env_bool("ANSIBLE_NO_LOG").unwrap_or(false),
            forks: self.forks.or_else(|| setup::env("ANSIBLE_FORKS")?.parse().ok()).unwrap_or(5).max(1),
            verbosity: self.verbose,
            gathering: match setup::env("ANSIBLE_GATHERING").as_deref() {
                Some("explicit") => Gathering::Explicit,
                Some("smart") => Gathering::Smart,
                _ => Gathering::Implicit,
            },
            limit: limit.map_err(|d| Diagnostics(vec![d]))?,
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
            ..Options::default()
        })
    }

    pub fn run_info(&self, options: &Options) -> RunInfo {
        RunInfo {
            config_file: None,
            python: setup::program("python3"),
            check_mode: self.check,
            diff_mode: self.diff,
            verbosity: self.verbose,
            forks: options.forks as u32,
            run_tags: if options.tags.is_empty() { vec!["all".into()] } else { options.tags.clone() },
            skip_tags: options.skip_tags.clone(),
            limit: self.limit.clone(),
        }
    }

    pub fn command_line_vars(&self) -> Map {
        self.remote_user.iter().map(|u| (Val::from("ansible_user"), Val::from(u.as_str()))).collect()
    }
}

fn from_file(path: &Path) -> Result<Text, Diagnostics> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Diagnostics(vec![Diagnostic::global("password", format!("can't read {}: {e}", path.display()))])
    })?;
    Ok(Text::secret(text.trim_end_matches(['\n', '\r'])))
}
