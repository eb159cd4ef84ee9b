//! What `ansible` prints for a host: `web1 | CHANGED | rc=0 >>` and what the command said, or the
//! result as JSON.

use crate::engine::event::{Event, Outcome, Status, TaskLabel};
use crate::source::{Map, Val, diagnostic};

use super::terminal::{one_line, pretty, sort_keys};
use super::{Paint, Reporter, Screen, diff};

/// Modules whose output is shown as it came.
const COMMANDS: [&str; 4] = ["command", "shell", "raw", "script"];

pub struct Minimal {
    /// `-o`: one line a host.
    pub one_line: bool,
    pub diff: bool,
}

impl Minimal {
    fn done(&self, screen: &Screen, task: &TaskLabel, host: &str, outcome: &Outcome) {
        let (word, paint) = match outcome.status {
            Status::Ok => ("SUCCESS", Paint::Ok),
            Status::Changed => ("CHANGED", Paint::Changed),
            Status::Skipped => ("SKIPPED", Paint::Skipped),
            Status::Failed => ("FAILED", Paint::Failed),
            Status::Unreachable => ("UNREACHABLE!", Paint::Unreachable),
        };
        if let Some(cause) = &outcome.unknown {
            screen.line(Paint::Warning, &format!("{host} | UNKNOWN ({cause})"));
            return;
        }
        let short = task.action.rsplit('.').next().unwrap_or_default();
        let is_command = COMMANDS.contains(&short) && outcome.get("rc").is_some();
        let text = if is_command && outcome.status != Status::Unreachable {
            self.command(screen, host, word, outcome)
        } else {
            let word = if outcome.status == Status::Failed { "FAILED!" } else { word };
            format!("{host} | {word} => {}", self.json(screen, outcome))
        };
        screen.line(paint, &text);
        if self.diff && outcome.status == Status::Changed {
            for (paint, line) in outcome.diff.iter().flat_map(diff::unified) {
                screen.line(paint, &line);
            }
        }
    }

    fn command(&self, screen: &Screen, host: &str, word: &str, outcome: &Outcome) -> String {
        let redacted = screen.redactor().redact_val(&Val::map(outcome.result.clone()));
        let part = |name: &str| redacted.get(name).map(Val::key_text).unwrap_or_default();
        let rc = part("rc");
        if self.one_line {
            let mut text =
                format!("{host} | {word} | rc={rc} | (stdout) {}", part("stdout").replace('\n', "\\n"));
            if !part("stderr").is_empty() {
                text.push_str(&format!(" (stderr) {}", part("stderr").replace('\n', "\\n")));
            }
            return text;
        }
        let mut text = format!("{host} | {word} | rc={rc} >>\n{}", part("stdout"));
        for more in [part("stderr"), part("msg")] {
            if !more.is_empty() {
                text.push_str(&format!("\n{more}"));
            }
        }
        text
    }

    fn json(&self, screen: &Screen, outcome: &Outcome) -> String {
        let mut result: Map = outcome.result.clone();
        result.retain(|k, _| !k.as_str().is_some_and(|k| k.starts_with("_ansible")));
        for hidden in ["failed", "diff", "invocation", "stdout_lines", "stderr_lines"] {
            result.shift_remove(hidden);
        }
        let sorted = sort_keys(screen.redactor().redact_val(&Val::map(result)).to_json());
        if self.one_line { one_line(&sorted) } else { pretty(&sorted) }
    }
}

impl Reporter for Minimal {
    fn on(&mut self, event: &Event, screen: &Screen) {
        match event {
            Event::InstanceDone { task, host, outcome, .. } => self.done(screen, task, host, outcome),
            Event::Warning { message } => screen.error_line(Paint::Warning, &format!("[WARNING]: {message}")),
            Event::Diagnostic(d) => {
                screen.error_line(Paint::Plain, &diagnostic::render(d, screen.has_colour(), screen.width));
            }
            Event::Exchange { host, text } => screen.line(Paint::Verbose, &format!("<{host}> {text}")),
            Event::Notice { message } => screen.line(Paint::Plain, message),
            _ => {}
        }
    }
}
