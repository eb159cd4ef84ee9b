//! `ansible PATTERN -m MODULE -a ARGS`: one task, made from the command line.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};

use crate::engine::Answers;
use crate::report::Format;
use crate::source::{Diagnostic, Diagnostics, SourceFile};

use super::Command;
use super::hosts::HostOptions;
use super::session::Session;
use super::setup::{self, Common, Outputs};

/// Runs one module on hosts.
#[derive(Debug, Parser)]
#[command(name = "seqn-play adhoc", version)]
pub struct AdHoc {
    /// Which hosts
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// The module
    #[arg(short = 'm', long, value_name = "MODULE", default_value = "command")]
    module_name: String,
    /// Its arguments: key=value words, free text, or a JSON mapping
    #[arg(short = 'a', long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    args: String,

    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    hosts: HostOptions,

    /// One line a host
    #[arg(short = 'o', long)]
    one_line: bool,
    /// List the hosts and stop
    #[arg(long)]
    list_hosts: bool,
    /// Files, templates and variables are looked for as if a playbook lay here
    #[arg(long, value_name = "FOLDER")]
    playbook_dir: Option<PathBuf>,
    /// Seconds that the task may take
    #[arg(long, value_name = "SECONDS")]
    task_timeout: Option<u64>,
}

impl Command for AdHoc {
    fn run(self) -> u8 {
        let format = if self.one_line { Format::OneLine } else { Format::Minimal };
        let outputs = Outputs::new(format, self.hosts.shown());
        match self.prepare_and_run(&outputs) {
            Ok(code) => code,
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl AdHoc {
    fn prepare_and_run(&self, outputs: &Outputs) -> Result<u8, Diagnostics> {
        let cwd = setup::cwd()?;
        let dir = match &self.playbook_dir {
            Some(dir) => cwd.join(dir),
            None => setup::env("ANSIBLE_PLAYBOOK_DIR").map_or(cwd, PathBuf::from),
        };
        let file = SourceFile::new(Path::new("(command line)"), self.playbook()?);
        let options = self.hosts.options()?;
        let session = Session::open(&self.common, &self.hosts, options, outputs, |loader, problems| {
            let made = loader.playbook_of(&file, &dir, problems);
            made.map(|playbook| (PathBuf::from("adhoc"), playbook)).into_iter().collect()
        })?;
        let pattern = [self.pattern.clone()];
        let found = session.variables.inventory().select(&pattern, session.options.limit.as_ref());
        let hosts =
            found.map_err(|why| Diagnostics(vec![Diagnostic::global("hosts", why.to_string())]))?.hosts;
        let say = |text: &str| outputs.screen.line(crate::report::Paint::Plain, text);
        if self.list_hosts {
            say(&format!("  hosts ({}):", hosts.len()));
            hosts.iter().for_each(|host| say(&format!("    {host}")));
            return Ok(0);
        }
        if hosts.is_empty() {
            outputs
                .screen
                .error_line(crate::report::Paint::Warning, "[WARNING]: No hosts matched, nothing to do");
            return Ok(0);
        }
        session.run(outputs, false, None, Answers::default())
    }

    /// The play, as YAML that says the same.
    fn playbook(&self) -> Result<String, Diagnostics> {
        let given = self.args.trim();
        let args: Value = match given.starts_with('{') {
            true => match serde_json::from_str(given) {
                Ok(args) => args,
                // `{{ x }}` or a command that begins so.
                Err(_) => json!(self.args),
            },
            false => json!(self.args),
        };
        let mut task = json!({"action": {"module": self.module_name, "args": args}});
        if let Some(seconds) = self.task_timeout {
            task["timeout"] = json!(seconds);
        }
        let play = json!([{
            "name": "Ansible Ad-Hoc",
            "hosts": self.pattern,
            "gather_facts": false,
            "tasks": [task],
        }]);
        Ok(format!("{play}\n"))
    }
}
