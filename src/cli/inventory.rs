//! `ansible-inventory`: what an inventory says.

use clap::Parser;

use crate::report::{Format, Paint, Settings as ReportSettings};
use crate::source::{Diagnostic, Diagnostics, Val};
use crate::vars::dump::Dump;
use crate::vars::{Settings, Variables};

use super::Command;
use super::setup::{self, Common, Outputs};

/// Shows the inventory as it is read.
#[derive(Debug, Parser)]
#[command(name = "seqn-play inventory")]
pub struct Inventory {
    #[command(flatten)]
    common: Common,
    /// Only hosts that match this pattern
    #[arg(short = 'l', long, value_name = "SUBSET")]
    limit: Option<String>,
    /// Everything, as an inventory script would print it
    #[arg(long)]
    list: bool,
    /// The variables of one host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The groups as a tree
    #[arg(long)]
    graph: bool,
    /// YAML instead of JSON
    #[arg(short, long)]
    yaml: bool,
    /// Variables in the tree too
    #[arg(long)]
    vars: bool,
    /// Keep group variables with their groups
    #[arg(long)]
    export: bool,
    /// Write to a file
    #[arg(long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// The group at the top of the tree
    #[arg(value_name = "GROUP")]
    group: Option<String>,
}

impl Command for Inventory {
    fn run(self) -> u8 {
        let outputs = Outputs::new(Format::Text, ReportSettings::default());
        match self.show(&outputs) {
            Ok(()) => 0,
            Err(problems) => {
                outputs.problems(problems);
                1
            }
        }
    }
}

impl Inventory {
    fn show(&self, outputs: &Outputs) -> Result<(), Diagnostics> {
        let wrong = |message: String| Diagnostics(vec![Diagnostic::global("inventory", message)]);
        if [self.list, self.host.is_some(), self.graph].iter().filter(|x| **x).count() != 1 {
            return Err(wrong(
                "No action selected, at least one of --host, --graph or --list needs to be specified.".into(),
            ));
        }
        let cwd = setup::cwd()?;
        let vault = self.common.open_secrets(&outputs.redactor)?.vault();
        let (extra, mut problems) = crate::vars::extra_vars(&self.common.extra_vars, &cwd, &vault);
        let (inventory, found) = self.common.load_inventory(&cwd, &vault);
        problems.0.extend(found.0);
        let (variables, found) = Variables::load(inventory, Settings { extra, vault, ..Settings::default() });
        problems.0.extend(found.0);
        if problems.has_errors() {
            return Err(problems);
        }
        outputs.problems(problems);
        let unknown = |e: crate::inventory::PatternError| wrong(e.to_string());
        let limit = self
            .limit
            .as_deref()
            .map(|l| crate::inventory::Limit::parse(l, &cwd))
            .transpose()
            .map_err(|d| Diagnostics(vec![d]))?;
        let dump = Dump::new(&variables, limit.as_ref(), self.export).map_err(unknown)?;
        let text = if self.graph {
            dump.graph(self.group.as_deref().unwrap_or("all"), self.vars).map_err(unknown)?
        } else {
            let val = match &self.host {
                Some(host) => dump.host(host).map_err(unknown)?,
                None if self.yaml => dump.yaml(),
                None => dump.list(),
            };
            self.render(&outputs.redactor.redact_val(&val)).map_err(wrong)?
        };
        match &self.output {
            Some(file) => {
                std::fs::write(file, text).map_err(|e| wrong(format!("can't write {}: {e}", file.display())))
            }
            None => {
                outputs.screen.line(Paint::Plain, text.trim_end_matches('\n'));
                Ok(())
            }
        }
    }

    fn render(&self, val: &Val) -> Result<String, String> {
        if self.yaml {
            return serde_yaml::to_string(val).map_err(|e| e.to_string());
        }
        use serde::Serialize;
        let mut out = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, indent);
        val.to_json().serialize(&mut serializer).map_err(|e| e.to_string())?;
        String::from_utf8(out).map_err(|e| e.to_string())
    }
}
