//! `seqn-play lint`.

use std::path::PathBuf;

use clap::Parser;

use crate::lint::output::{self, Format, Style};
use crate::lint::{Report, lint, rules};
use crate::report::{Format as Events, Paint, Settings};
use crate::source::diagnostic::nearest;
use crate::source::{Diagnostic, Diagnostics};

use super::Command;
use super::setup::{self, Outputs};

/// Finds what is wrong in playbooks, roles, inventories and variables. Needs no host, no network
/// and no secret.
#[derive(Debug, Parser)]
#[command(
    name = "seqn-play lint",
    after_help = "Exit status: 0 nothing found, 1 it could not look, 2 something found.\n\
                  `# seqn-play: allow RULE -- why` at or above a line allows what a rule finds there."
)]
pub struct Lint {
    /// Files and folders; by default playbooks/, roles/ and inventory/, or all that is here
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// text, json, or github (annotations of a workflow)
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Warnings are as good as errors
    #[arg(long)]
    strict: bool,
    /// Say nothing but what was found
    #[arg(short, long)]
    quiet: bool,
    /// List the rules and stop
    #[arg(long, conflicts_with = "explain")]
    rules: bool,
    /// Tell what a rule finds and why, and stop
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
}

const NOTHING_FOUND: u8 = 0;
const COULD_NOT_LOOK: u8 = 1;
const FOUND: u8 = 2;

impl Command for Lint {
    const USAGE_ERROR: u8 = COULD_NOT_LOOK;

    fn run(self) -> u8 {
        let outputs = Outputs::new(Events::default(), Settings::default());
        match self.act(&outputs) {
            Ok(code) => code,
            Err(problems) => {
                outputs.problems(problems);
                COULD_NOT_LOOK
            }
        }
    }
}

impl Lint {
    fn act(&self, outputs: &Outputs) -> Result<u8, Diagnostics> {
        let say = |text: &str| outputs.screen.line(Paint::Plain, text);
        if self.rules {
            say(&output::rules::list());
            return Ok(NOTHING_FOUND);
        }
        if let Some(name) = &self.explain {
            say(output::rules::explain(rule(name)?).trim_end());
            return Ok(NOTHING_FOUND);
        }
        let report = lint(&setup::cwd()?, &self.paths)?;
        self.show(&report, outputs);
        Ok(if report.fails(self.strict) { FOUND } else { NOTHING_FOUND })
    }

    fn show(&self, report: &Report, outputs: &Outputs) {
        for secret in &report.secrets {
            outputs.redactor.register(secret);
        }
        let screen = &outputs.screen;
        let style = Style { colour: screen.has_colour(), width: screen.width, quiet: self.quiet };
        let text = output::write(report, self.format, style);
        if !text.is_empty() {
            screen.painted_line(&text);
        }
    }
}

fn rule(name: &str) -> Result<&'static crate::lint::Rule, Diagnostics> {
    rules::find(name).ok_or_else(|| {
        let problem = Diagnostic::global("unknown-rule", format!("there is no rule `{name}`"));
        let near = nearest(name, rules::RULES.iter().map(|rule| rule.name));
        Diagnostics(vec![problem.help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`seqn-play lint --rules` lists them".to_string(),
        })])
    })
}
