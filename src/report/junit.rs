//! `--output junit`: one JUnit document at the end of a run, with the suites and cases of Ansible's
//! `junit` callback: a case for each task on each host, named `[HOST] PLAY: TASK`, in the class of
//! its file and line.

use std::fmt::Write;
use std::path::Path;

use crate::engine::event::{Event, Outcome, Status, TaskLabel};
use crate::run::recorder::now;
use crate::secret::Redactor;
use crate::source::Severity;

use super::markup::escaped;
use super::{Paint, Reporter, Screen};

/// Cases of one kind.
pub struct Suite {
    pub name: String,
    /// As in journals.
    pub timestamp: String,
    pub cases: Vec<TestCase>,
}

pub struct TestCase {
    pub name: String,
    pub class: String,
    pub seconds: f64,
    pub told: Told,
    /// `system-out`; empty for none.
    pub output: String,
}

pub enum Told {
    Well,
    Failure { message: String, text: String },
    Error { message: String, text: String },
    Skipped { message: String },
}

/// The whole document. All texts have passed the Redactor: once they are escaped, it wouldn't know
/// every secret in them.
pub fn document(name: &str, suites: &[Suite]) -> String {
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<testsuites name=\"{}\" {}>\n",
        escaped(name),
        numbers(all())
    );
    for suite in suites {
        let (name, at) = (escaped(&suite.name), escaped(&suite.timestamp));
        let numbers = numbers(suite.cases.iter());
        writeln!(text, "  <testsuite name=\"{name}\" timestamp=\"{at}\" {numbers}>").ok();
        suite.cases.iter().for_each(|case| case.write(&mut text));
        text += "  </testsuite>\n";
    }
    text + "</testsuites>"
}

fn numbers<'a>(cases: impl Iterator<Item = &'a TestCase> + Clone) -> String {
    let count = |is: fn(&Told) -> bool| cases.clone().filter(|case| is(&case.told)).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\"",
        cases.clone().count(),
        count(|told| matches!(told, Told::Failure { .. })),
        count(|told| matches!(told, Told::Error { .. })),
        count(|told| matches!(told, Told::Skipped { .. })),
        cases.map(|case| case.seconds).sum::<f64>(),
    )
}

impl TestCase {
    fn write(&self, to: &mut String) {
        let (name, class) = (escaped(&self.name), escaped(&self.class));
        write!(to, "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{:.3}\">", self.seconds).ok();
        match &self.told {
            Told::Well => {}
            Told::Failure { message, text } => {
                write!(to, "<failure message=\"{}\">{}</failure>", escaped(message), escaped(text)).ok();
            }
            Told::Error { message, text } => {
                write!(to, "<error message=\"{}\">{}</error>", escaped(message), escaped(text)).ok();
            }
            Told::Skipped { message } => {
                write!(to, "<skipped message=\"{}\"/>", escaped(message)).ok();
            }
        }
        if !self.output.is_empty() {
            write!(to, "<system-out>{}</system-out>", escaped(&self.output)).ok();
        }
        *to += "</testcase>\n";
    }
}

/// Collects the cases of a run; written at its end.
#[derive(Default)]
pub struct JUnit {
    playbooks: String,
    begun: String,
    play: String,
    cases: Vec<TestCase>,
}

impl Reporter for JUnit {
    fn on(&mut self, event: &Event, screen: &Screen) {
        let redactor = screen.redactor();
        match event {
            Event::RunStarted { playbooks, .. } => {
                let stem =
                    |name: &String| Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned());
                let names: Vec<String> = playbooks.iter().filter_map(stem).collect();
                self.playbooks = redactor.redact(&names.join(" ")).into_owned();
                self.begun = now();
            }
            Event::PlayStarted { name, .. } => self.play = name.clone(),
            Event::InstanceDone { task, host, outcome, ignored, .. } => {
                let case = case(&self.play, task, host, outcome, *ignored, redactor);
                self.cases.push(case);
            }
            Event::Undone { host, label, error } => {
                let told = match error {
                    None => Told::Well,
                    Some(why) => failure(redactor.redact(why).into_owned()),
                };
                let name = redactor.redact(&format!("[{host}] undo: {label}")).into_owned();
                let (class, output) = ("undo".into(), String::new());
                self.cases.push(TestCase { name, class, seconds: 0.0, told, output });
            }
            Event::Diagnostic(problem) => {
                let at = problem.span.as_ref().map(ToString::to_string).unwrap_or_default();
                let message = redactor.redact(&problem.message).into_owned();
                // Beside the document, which may never come: the run may not even begin.
                screen.error_line(Paint::Failed, &format!("error[{}]: {message} {at}", problem.code));
                if problem.severity == Severity::Error {
                    let text = redactor.redact(problem.help.as_deref().unwrap_or_default()).into_owned();
                    let told = Told::Error { message: message.clone(), text };
                    let class = redactor.redact(&at).into_owned();
                    let name = problem.code.to_string();
                    self.cases.push(TestCase { name, class, seconds: 0.0, told, output: String::new() });
                }
            }
            // One of these comes last; a rollback has no recap, a run without a journal no end.
            Event::Recap(_) => self.write(screen),
            Event::RunEnded { .. } if !self.cases.is_empty() => self.write(screen),
            _ => {}
        }
    }
}

impl JUnit {
    fn write(&mut self, screen: &Screen) {
        let cases = std::mem::take(&mut self.cases);
        let timestamp = if self.begun.is_empty() { now() } else { self.begun.clone() };
        let suite = Suite { name: self.playbooks.clone(), timestamp, cases };
        screen.line(Paint::Plain, &document(&self.playbooks, &[suite]));
    }
}

fn failure(message: String) -> Told {
    Told::Failure { text: message.clone(), message }
}

fn case(
    play: &str,
    task: &TaskLabel,
    host: &str,
    outcome: &Outcome,
    ignored: bool,
    redactor: &Redactor,
) -> TestCase {
    let shown = redactor.redact_val(&crate::source::Val::map(outcome.result.clone()));
    let said = |key: &str| shown.get(key).map(crate::source::Val::key_text).unwrap_or_default();
    let or = |said: String, other: &str| if said.is_empty() { other.to_string() } else { said };
    let dump = shown.to_json().to_string();
    let (told, output) = match outcome.status {
        Status::Failed if !ignored => {
            let message = or(said("msg"), &format!("rc={}", or(said("rc"), "0")));
            (Told::Failure { message, text: dump }, String::new())
        }
        Status::Unreachable if !ignored => (Told::Error { message: said("msg"), text: dump }, String::new()),
        Status::Skipped => (Told::Skipped { message: or(said("skip_reason"), "skipped") }, String::new()),
        _ => (Told::Well, dump),
    };
    TestCase {
        name: redactor.redact(&format!("[{host}] {play}: {}", task.name)).into_owned(),
        class: redactor.redact(&place(task)).into_owned(),
        seconds: outcome.duration.as_secs_f64(),
        told,
        output,
    }
}

/// `FILE:LINE`
fn place(task: &TaskLabel) -> String {
    let at = task.span.to_string();
    at.rsplit_once(':').map_or(at.clone(), |(line, _)| line.to_string())
}
